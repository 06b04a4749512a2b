"""Standard input, named pipes and terminals, read so that whoever waits for more can be let go."""

from __future__ import annotations

import logging
import os
import select
import stat
import sys

STANDARD_INPUT = "-"

QUIET_S = 5.0
"""So long a first byte is waited for without a word. What fills a pipe may have to start first."""

log = logging.getLogger(__name__)


class Pipe:
    """What libav reads from instead of a name: its own way of reading ends when the other side writes
    or goes away, and by nothing else."""

    def __init__(self, number: int, *, name: str) -> None:
        """Takes the open descriptor ``number`` over; ``name`` is what messages call it."""
        self._number = number
        self._name = name
        self._is_quiet = True
        """Nothing has come yet, and nobody was told."""
        self._stopped, stop = os.pipe()
        self._stop: int | None = stop
        self._waiting = select.poll()
        self._waiting.register(number, select.POLLIN)
        self._waiting.register(self._stopped, select.POLLIN)

    def read(self, size: int) -> bytes:
        """What there is, ``size`` bytes at most; nothing at the end or after ``stop``."""
        ready = self._waiting.poll(QUIET_S * 1000 if self._is_quiet else None)
        if not ready:
            log.info("nothing has come from %s yet; waiting for who fills it", self._name)
            ready = self._waiting.poll()
        self._is_quiet = False
        is_stopped = any(number == self._stopped for number, _ in ready)
        return b"" if is_stopped else os.read(self._number, size)

    def stop(self) -> None:
        """Let whoever reads go, now and from now on."""
        stop, self._stop = self._stop, None
        if stop is not None:
            # The other end sees that, as it would see a byte.
            os.close(stop)

    def close(self) -> None:
        """Once nobody reads any more."""
        self.stop()
        os.close(self._number)
        os.close(self._stopped)


def opened_pipe(path: str) -> Pipe | None:
    """The pipe, terminal, device or socket of that name; ``None`` where libav can read it by its name."""
    try:
        if path == STANDARD_INPUT:
            is_file = sys.stdin is None or stat.S_ISREG(os.fstat(0).st_mode)
            return None if is_file else Pipe(os.dup(0), name="standard input")
        mode = os.stat(path).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
            # Otherwise this would wait for somebody who writes, or for a modem.
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
            return Pipe(os.open(path, flags), name=path)
    except (OSError, ValueError):
        return None
    return None
