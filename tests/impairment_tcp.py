"""A TCP proxy that delays, stalls and cuts connections, by a seed and on command."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, Self

from tests.impairment_fates import (
    CLEAR,
    Address,
    Controlled,
    Direction,
    Done,
    Fates,
    Impairment,
)

SEGMENT_BYTES = 1460
"""A TCP stream has no packets a proxy could see: fates are drawn for every so many bytes."""

READ_BYTES = 16_384
QUEUED_CHUNKS = 64


class TcpProxy(Controlled):
    """Connections to ``address`` go on to ``target``."""

    def __init__(
        self,
        target: Address,
        *,
        seed: int = 1,
        to_target: Impairment = CLEAR,
        to_client: Impairment = CLEAR,
        cut_after_bytes: int = 0,
        stall_after_bytes: int = 0,
        port: int = 0,
    ) -> None:
        """Of an ``Impairment``, delay, jitter and bandwidth apply.

        ``cut_after_bytes`` resets each connection once so much has gone in both directions
        together; ``stall_after_bytes`` stalls the proxy then, once.
        """
        self.target = target
        self.seed = seed
        self.impairments: dict[Direction, Impairment] = {
            "to_target": to_target,
            "to_client": to_client,
        }
        self.done = Done()
        self.mode: Literal["open", "stalled", "blackhole", "refusing"] = "open"
        self.address: Address = ("127.0.0.1", port)
        self.accepted = 0
        self.cut_after_bytes = cut_after_bytes
        self.stall_after_bytes = stall_after_bytes
        self._server: asyncio.Server | None = None
        self._talks: set[_Talk] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._moving = asyncio.Event()

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._moving.set()
        await self._listen()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for talk in list(self._talks):
            talk.end("reset")
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # Their sockets are closed in the loop's next round.
        await asyncio.sleep(0)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def stall(self) -> None:
        """Move nothing further; connections stay, new ones are accepted and wait."""
        self._now(self._set_stalled)

    def blackhole(self) -> None:
        """Read and throw away, so that senders see nothing wrong, until ``resume``."""
        self._now(self._set_blackhole)

    def cut(self, how: Literal["reset", "finish"] = "reset") -> None:
        """End every connection, by RST or by FIN; new ones are accepted at once."""
        self._now(lambda: self._end_all(how))

    def refuse(self, how: Literal["reset", "finish"] = "reset") -> None:
        """As ``cut``, and new connections are refused until ``resume``."""
        self._now(lambda: self._set_refusing(how))

    def resume(self) -> None:
        """Move again. From the proxy's own loop, a refused port is open one round later."""
        self._now(self._set_open)

    async def _listen(self) -> None:
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(self.address)
        self.address = listening.getsockname()[:2]
        self._server = await asyncio.start_server(self._accept, sock=listening)

    async def _set_stalled(self) -> None:
        self.mode = "stalled"
        self._moving.clear()

    async def _set_blackhole(self) -> None:
        self.mode = "blackhole"
        self._moving.set()

    async def _set_refusing(self, how: Literal["reset", "finish"]) -> None:
        self.mode = "refusing"
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._end_all(how)

    async def _set_open(self) -> None:
        self.mode = "open"
        self._moving.set()
        if self._server is None:
            task = self._loop.create_task(self._listen())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _end_all(self, how: Literal["reset", "finish"]) -> None:
        for talk in list(self._talks):
            talk.end(how)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        number, self.accepted = self.accepted, self.accepted + 1
        try:
            await self._moving.wait()
            await self._carry(number, reader, writer, task)
        except asyncio.CancelledError:
            # Cut or closed. It ends here: asyncio's own handler would log it as an error.
            if not writer.transport.is_closing():
                writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _carry(
        self,
        number: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        task: asyncio.Task[None],
    ) -> None:
        try:
            target_reader, target_writer = await asyncio.open_connection(*self.target)
        except OSError:
            _abort(writer)
            return
        talk = _Talk(writer, target_writer, task)
        self._talks.add(talk)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pump("to_target", number, reader, target_writer, talk))
                tasks.create_task(self._pump("to_client", number, target_reader, writer, talk))
        except* OSError:
            # One side was reset: so is the other.
            talk.end("reset")
        finally:
            self._talks.discard(talk)
            for side in (writer, target_writer):
                side.close()

    async def _pump(
        self,
        direction: Direction,
        number: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        talk: _Talk,
    ) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUED_CHUNKS)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._collect(direction, number, reader, queue))
            tasks.create_task(self._deliver(direction, queue, writer, talk))

    async def _collect(
        self,
        direction: Direction,
        number: int,
        reader: asyncio.StreamReader,
        queue: asyncio.Queue[tuple[float, bytes]],
    ) -> None:
        """Chunks with the time at which each may leave; an empty one at the end."""
        fates = Fates(self.seed, f"{direction} {number}")
        delay_ms, left, due_s = 0.0, 0, 0.0
        while True:
            data = await reader.read(READ_BYTES)
            self.done.add(direction, "received")
            impairment = self.impairments[direction]
            while left < len(data):
                delay_ms = fates.next(impairment).delay_ms
                left += SEGMENT_BYTES
            left -= len(data)
            due_s = max(due_s, self._loop.time() + delay_ms / 1000)
            await queue.put((due_s, data))
            if not data:
                return

    async def _deliver(
        self,
        direction: Direction,
        queue: asyncio.Queue[tuple[float, bytes]],
        writer: asyncio.StreamWriter,
        talk: _Talk,
    ) -> None:
        while True:
            due_s, data = await queue.get()
            await asyncio.sleep(max(0.0, due_s - self._loop.time()))
            await self._moving.wait()
            if not data:
                if writer.can_write_eof():
                    writer.write_eof()
                return
            if self.mode == "blackhole":
                self.done.add(direction, "swallowed")
                continue
            await self._spend(direction, len(data))
            writer.write(data)
            await writer.drain()
            self.done.add(direction, "sent")
            self.done.add(direction, "bytes", len(data))
            self._act_after(talk, len(data))

    async def _spend(self, direction: Direction, size_bytes: int) -> None:
        rate_kbps = self.impairments[direction].bandwidth_kbps
        if rate_kbps:
            await asyncio.sleep(size_bytes * 8 / (rate_kbps * 1000))

    def _act_after(self, talk: _Talk, size_bytes: int) -> None:
        talk.bytes_moved += size_bytes
        if 0 < self.stall_after_bytes <= talk.bytes_moved:
            self.stall_after_bytes = 0
            self.stall()
        if 0 < self.cut_after_bytes <= talk.bytes_moved:
            talk.end("reset")


@dataclass(slots=True, eq=False)
class _Talk:
    """The two sockets of one proxied connection, and the task that moves its bytes."""

    client: asyncio.StreamWriter
    target: asyncio.StreamWriter
    task: asyncio.Task[None]
    bytes_moved: int = 0

    def end(self, how: Literal["reset", "finish"]) -> None:
        for writer in (self.client, self.target):
            if how == "reset":
                _abort(writer)
            else:
                writer.close()
        self.task.cancel()


def _abort(writer: asyncio.StreamWriter) -> None:
    """Close with RST: linger for no time at all."""
    connection = writer.get_extra_info("socket")
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
