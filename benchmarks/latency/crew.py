"""The programs of a measurement: started, listened to, and ended in every case."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any, Self, TypeVar

from benchmarks.latency.sightings import Sighting, from_rows
from streamer.config import redacted
from streamer.errors import StreamerError

Found = TypeVar("Found")

ROOT = Path(__file__).parent.parent.parent
POLL_S = 0.02
LAST_WORDS = 12
"""Lines of a program's standard error that are kept to tell why it ended."""

_TIED = """\
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""
"""Starts a program that the kernel ends when this one is killed; the setting outlives the exec."""


class ProgramFailed(StreamerError):
    """A program of the measurement ended, or did not do its part in time."""


class Program:
    """A running child; what it says on standard output, one JSON object a line, is collected."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], *, listens: bool) -> None:
        self.name = name
        self.events: list[Mapping[str, Any]] = []
        self.process = process
        self._sightings: list[Sighting] = []
        self._last_words: deque[str] = deque(maxlen=LAST_WORDS)
        self._lock = threading.Lock()
        self._threads = [self._thread(self._read_errors, process.stderr)]
        if listens:
            self._threads.append(self._thread(self._read_events, process.stdout))

    @property
    def sightings(self) -> list[Sighting]:
        """Every picture whose counter it has read so far, in the order it saw them."""
        with self._lock:
            return list(self._sightings)

    @property
    def last_words(self) -> str:
        """The end of what it wrote to standard error, on one line, without secrets."""
        return redacted(" | ".join(self._last_words)) or "it said nothing"

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def told(self, event: str) -> Mapping[str, Any] | None:
        """The latest of its messages called ``event``."""
        return next((one for one in reversed(self.events) if one.get("event") == event), None)

    def hear(
        self, event: str, *, within_s: float, what: str, **values: object
    ) -> Mapping[str, Any]:
        """Its latest message called ``event``, waited for until one comes in which ``values`` stand.
        Raises as ``wait_for`` does."""

        def told() -> Mapping[str, Any] | None:
            found = self.told(event)
            return found if found is not None and found.items() >= values.items() else None

        return self.wait_for(told, within_s=within_s, what=what)

    def tell(self, message: Mapping[str, Any]) -> None:
        """One line to its standard input."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # its end is noticed by whoever waits for it
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()

    def wait_for(
        self, condition: Callable[[], Found | None], *, within_s: float, what: str
    ) -> Found:
        """What ``condition`` gives, once that is true; raises ``ProgramFailed`` with ``what`` was
        awaited."""
        give_up = time.monotonic() + within_s
        while not (found := condition()):
            if not self.is_running:
                raise ProgramFailed(
                    f"the {self.name} ended with {self.process.returncode} before {what}: "
                    f"{self.last_words}"
                )
            if time.monotonic() > give_up:
                raise ProgramFailed(
                    f"the {self.name} did not get as far as {what} within {within_s:g} s: "
                    f"{self.last_words}"
                )
            time.sleep(POLL_S)
        return found

    def check(self) -> None:
        """Raises ``ProgramFailed`` if it is not running any more."""
        self.wait_for(lambda: self.is_running, within_s=0, what="the end of the measurement")

    def cpu_s(self) -> float:
        """Processor seconds that it has used, user and system, all threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8")
        # The name in brackets may hold blanks; the 14th and 15th field lie 12 and 13 behind it.
        user, system = fields.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def stop(self, *, within_s: float = 0.0) -> None:
        """End it: asked first where it is given time, then killed."""
        if within_s and self.is_running:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(within_s)
        self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join(5)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _thread(
        self, work: Callable[[IO[bytes]], None], pipe: IO[bytes] | None
    ) -> threading.Thread:
        assert pipe is not None
        thread = threading.Thread(target=work, args=(pipe,), name=self.name, daemon=True)
        thread.start()
        return thread

    def _read_errors(self, pipe: IO[bytes]) -> None:
        for line in pipe:
            if text := line.decode(errors="replace").strip():
                self._last_words.append(text)

    def _read_events(self, pipe: IO[bytes]) -> None:
        for line in pipe:
            try:
                message = json.loads(line)
            except ValueError:
                self._last_words.append(line.decode(errors="replace").strip())
                continue
            with self._lock:
                self._sightings += from_rows(message.pop("seen", ()))
            if message:
                self.events.append(message)


class Crew:
    """``with Crew() as crew``: whatever it started has ended when the block is left.

    Ctrl-C, SIGTERM and SIGHUP leave the block; where this process itself is killed, the kernel
    ends the programs. Use it on the main thread.
    """

    def __init__(self) -> None:
        self._programs: list[Program] = []
        self._before: dict[int, Any] = {}

    def start(
        self,
        name: str,
        *command: str,
        stdin: IO[bytes] | int | None = subprocess.DEVNULL,
        listens: bool = True,
    ) -> Program:
        """Run ``command``; with ``listens`` its standard output is JSON lines, else it is raw."""
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _TIED, str(os.getpid()), *command],
            cwd=ROOT,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Ctrl-C is for this process, which ends the others in order.
            start_new_session=True,
        )
        program = Program(name, process, listens=listens)
        self._programs.append(program)
        return program

    def start_module(self, name: str, module: str, *arguments: object, **options: Any) -> Program:
        """Run a module of ours with this interpreter."""
        texts = [str(argument) for argument in arguments]
        return self.start(name, sys.executable, "-m", module, *texts, **options)

    @property
    def programs(self) -> tuple[Program, ...]:
        """Those that were started and not stopped, in order."""
        return tuple(self._programs)

    def check(self) -> None:
        """Raises ``ProgramFailed`` if a program that was not stopped has ended."""
        for program in self._programs:
            program.check()

    def run_for(self, seconds: float) -> tuple[int, int]:
        """Wait while all programs run; the instants of the monotonic clock at both ends."""
        began_ns = time.monotonic_ns()
        while (left_s := seconds - (time.monotonic_ns() - began_ns) / 1e9) > 0:
            self.check()
            time.sleep(min(left_s, 0.25))
        return began_ns, time.monotonic_ns()

    def stop(self, *programs: Program, within_s: float = 0.0) -> None:
        """End these, and forget them."""
        for program in programs:
            program.stop(within_s=within_s)
            self._programs.remove(program)

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._before[number] = signal.signal(number, _interrupt)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with _undisturbed():
            # The last one started reads from those before it.
            for program in reversed(self._programs):
                program.stop()
            self._programs.clear()
        for number, handler in self._before.items():
            signal.signal(number, handler)


def free_port() -> int:
    """A TCP port of this machine that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepts(port: int) -> bool:
    """Whether something of this machine accepts connections there."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C must not leave programs behind."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
