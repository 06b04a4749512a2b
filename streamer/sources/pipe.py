"""Standard input and named pipes, read so that whoever waits for more can be let go."""

from __future__ import annotations

import os
import select
import stat
import sys

STANDARD_INPUT = "-"


class Pipe:
    """What libav reads from instead of a name: its own way of reading ends when the other side writes
    or goes away, and by nothing else."""

    def __init__(self, number: int) -> None:
        """Takes the open descriptor ``number`` over."""
        self._number = number
        self._stopped, stop = os.pipe()
        self._stop: int | None = stop
        self._waiting = select.poll()
        self._waiting.register(number, select.POLLIN)
        self._waiting.register(self._stopped, select.POLLIN)

    def read(self, size: int) -> bytes:
        """What there is, ``size`` bytes at most; nothing at the end or after ``stop``."""
        ready = [number for number, _ in self._waiting.poll()]
        return b"" if self._stopped in ready else os.read(self._number, size)

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
    """The pipe, terminal or socket of that name; ``None`` where libav can read it by its name."""
    try:
        if path == STANDARD_INPUT:
            is_file = sys.stdin is None or stat.S_ISREG(os.fstat(0).st_mode)
            return None if is_file else Pipe(os.dup(0))
        if stat.S_ISFIFO(os.stat(path).st_mode):
            # Otherwise this would wait for somebody who writes.
            return Pipe(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    except (OSError, ValueError):
        return None
    return None
