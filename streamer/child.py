"""A child process and the messages on its pipes: a JSON head and bytes, nothing executable.

libav holds the interpreter lock while it opens a network output, and it parses what strangers send;
both belong into a process that can be killed. Secrets go through the pipe, never into an argument.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import struct
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, BinaryIO

_LENGTHS = struct.Struct(">II")
MAX_HEAD_BYTES = 1 << 20
MAX_PAYLOAD_BYTES = 1 << 26
"""64 MiB: far above any access unit; a longer one is a broken child."""

LAST_WORDS = 20
"""Lines of a child's standard error that are kept for the message about its end."""

_STDERR_BYTES = 4096
_DRAINED_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Message:
    """``head`` is what JSON can say, ``payload`` the bytes it is about."""

    head: Mapping[str, Any]
    payload: bytes = field(default=b"", repr=False)


def as_bytes(message: Message) -> bytes:
    """``message`` as it travels."""
    head = json.dumps(message.head, separators=(",", ":")).encode()
    return _LENGTHS.pack(len(head), len(message.payload)) + head + message.payload


def read_message(stream: BinaryIO) -> Message | None:
    """The next message of a blocking stream, in the child; ``None`` at its end."""
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    head_bytes, payload_bytes = _checked(lengths)
    head, payload = stream.read(head_bytes), stream.read(payload_bytes)
    if len(head) < head_bytes or len(payload) < payload_bytes:
        return None
    return Message(json.loads(head), payload)


def write_message(stream: BinaryIO, message: Message) -> None:
    """Send at once, from the child."""
    stream.write(as_bytes(message))
    stream.flush()


class Child:
    """A child that runs a module of ours; made by ``start``, ended by ``close``."""

    def __init__(self, process: asyncio.subprocess.Process, module: str) -> None:
        self._process = process
        self._last_words: deque[str] = deque(maxlen=LAST_WORDS)
        self._reading = asyncio.Lock()
        self._listening = asyncio.create_task(self._listen(), name=f"stderr of {module}")

    @classmethod
    async def start(cls, module: str) -> Child:
        """Run ``python -m module`` with pipes on all three streams; it imports from where we do.

        Raises ``OSError`` where no descriptor, memory or process is left for it.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            # Without it the folder that the user is in comes first, and a file there named like one
            # of Python's (code.py, queue.py) would be run in its place.
            "-P",
            "-m",
            module,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            # Ctrl-C is for the parent, which finishes its children in order.
            start_new_session=True,
        )
        return cls(process, module)

    @property
    def last_words(self) -> str:
        """The end of what it wrote to standard error. May hold secrets: redact before use."""
        return "\n".join(self._last_words)

    @property
    def is_running(self) -> bool:
        return self._process.returncode is None

    async def send(self, message: Message) -> None:
        """Hand over one message; waits while the child is behind. Raises ``OSError`` if it is gone."""
        assert self._process.stdin is not None
        self._process.stdin.write(as_bytes(message))
        await self._process.stdin.drain()

    async def receive(self) -> Message | None:
        """Its next message; ``None`` when it has ended or sent what is no message."""
        assert self._process.stdout is not None
        try:
            async with self._reading:
                lengths = await self._process.stdout.readexactly(_LENGTHS.size)
                head_bytes, payload_bytes = _checked(lengths)
                head = await self._process.stdout.readexactly(head_bytes)
                payload = await self._process.stdout.readexactly(payload_bytes)
            told = json.loads(head)
            return Message(told, payload) if isinstance(told, dict) else None
        except (asyncio.IncompleteReadError, ValueError):
            return None

    async def close(self, *, within_s: float = 0.0) -> int:
        """Its exit code; it may finish by itself for ``within_s`` seconds, then it is killed."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), within_s)
        except TimeoutError:
            self._kill()
            await self._drain()
        code = await self._process.wait()
        await self._listening
        return code

    async def _drain(self) -> None:
        """Read to its end what nobody wants any more.

        asyncio tells of a process's end after that of its pipes, and sees none behind a full buffer.
        """
        assert self._process.stdout is not None
        async with self._reading:
            while await self._process.stdout.read(_DRAINED_BYTES):
                pass

    def _kill(self) -> None:
        """It and whatever it started: it leads a session of its own."""
        # Not ``Process.kill``: that polls, and may take the exit code from asyncio, which then
        # warns of an unknown process.
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _listen(self) -> None:
        assert self._process.stderr is not None
        rest = b""
        while data := await self._process.stderr.read(_STDERR_BYTES):
            # Whatever it writes is read: a full pipe would stop it.
            *lines, rest = (rest + data).split(b"\n")
            rest = rest[-_STDERR_BYTES:]
            self._last_words.extend(line.decode(errors="replace").rstrip() for line in lines)
        if rest:
            self._last_words.append(rest.decode(errors="replace").rstrip())


def _checked(lengths: bytes) -> tuple[int, int]:
    head_bytes, payload_bytes = _LENGTHS.unpack(lengths)
    if head_bytes > MAX_HEAD_BYTES or payload_bytes > MAX_PAYLOAD_BYTES:
        raise ValueError(f"a message of {head_bytes} + {payload_bytes} bytes is no message")
    return head_bytes, payload_bytes
