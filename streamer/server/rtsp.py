"""The RTSP server: ``rtsp://host:port/NAME`` for clients that pull, up to ``MAX_CONNECTIONS`` of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Self

from streamer.clock import Clock
from streamer.server.listening import BACKLOG, listen, place_here
from streamer.server.rtsp_connection import RtspConnection
from streamer.server.rtsp_desk import RtspDesk
from streamer.sinks.rtsp_mount import RtspMount

_log = logging.getLogger(__name__)

MAX_CONNECTIONS = 64
"""Of all streams together; as many sessions there are at most (``rtsp_desk.MAX_SESSIONS``)."""

ROUNDS_APART_S = 0.5
"""How late a timeout, a removed mount or a sender report may be noticed."""

CLOSED_WITHIN_S = 2.0


class RtspServer:
    """``async with RtspServer(mounts, ...) as server`` listens until the block ends.

    ``mounts`` maps paths to what is served there and may change while it runs: clients of a mount
    that is gone have their session ended. ``users`` maps names to passwords; without any, all may
    watch. Port 0 takes any free one; ``port`` and ``url`` then tell which. Raises ``ConfigError``
    where the address cannot be had.
    """

    def __init__(
        self,
        mounts: Mapping[str, RtspMount],
        *,
        host: str = "127.0.0.1",
        port: int,
        users: Mapping[str, str] | None = None,
        clock: Clock,
    ) -> None:
        self.host = host
        self.port = port
        self._desk = RtspDesk(mounts, users=users, clock=clock)
        self._clock = clock
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._rounds: asyncio.Task[None] | None = None
        self._is_closing = False
        self._complained_ns: int | None = None

    @property
    def url(self) -> str:
        """Where a player on this machine finds the streams: add a mount's name."""
        return f"rtsp://{place_here(self.host, self.port)}/"

    async def __aenter__(self) -> Self:
        listeners = await listen(self.host, self.port)
        self.port = listeners[0].getsockname()[1]
        for listener in listeners:
            self._servers.append(
                await asyncio.start_server(self._accept, sock=listener, backlog=BACKLOG)
            )
        self._rounds = asyncio.create_task(self._make_rounds(), name="rtsp rounds")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_closing = True
        for server in self._servers:
            server.close()
        if self._rounds is not None:
            self._rounds.cancel()
        self._desk.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSED_WITHIN_S)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_closing or len(self._tasks) >= MAX_CONNECTIONS:
            if not self._is_closing:
                self._complain()
            writer.transport.abort()
            return
        task = asyncio.create_task(RtspConnection(self._desk, reader, writer).run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _complain(self) -> None:
        now_ns = self._clock.now_ns()
        if self._complained_ns is None or now_ns - self._complained_ns >= 1_000_000_000:
            self._complained_ns = now_ns
            _log.warning(
                "an RTSP client was turned away: %d connections are open, the limit",
                MAX_CONNECTIONS,
            )

    async def _make_rounds(self) -> None:
        while True:
            await asyncio.sleep(ROUNDS_APART_S)
            self._desk.make_rounds()
