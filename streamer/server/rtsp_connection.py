"""One RTSP connection: what comes in is read with patience and within limits, and answered in order."""

from __future__ import annotations

import asyncio
import contextlib

from streamer.rtsp.message import (
    Headers,
    Interleaved,
    Item,
    MessageError,
    MessageParser,
    Request,
    Response,
    response_bytes,
)
from streamer.server.rtsp_answers import Answers
from streamer.server.rtsp_caller import Caller
from streamer.server.rtsp_desk import RtspDesk
from streamer.server.rtsp_ways import ClientGone, drained, limit_buffers

MAX_BODY_BYTES = 8 << 10
"""Clients that only pull send parameter names at most."""

READ_BYTES = 64 << 10

WHOLE_WITHIN_S = 10.0
"""From a request's first byte to its last, and from connecting to the first request."""

IDLE_S = 60.0
"""Without a session a connection may be silent for so long."""

HANG_UP_WITHIN_S = 2.0
"""What a closing connection may still take to deliver what was written."""


class RtspConnection:
    """Made for each accepted connection; ``run`` returns when it is over."""

    def __init__(
        self, desk: RtspDesk, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._desk = desk
        self._reader = reader
        self._writer = writer
        self._caller = Caller(writer, hang_up=self.hang_up)
        self._answers = Answers(desk, self._caller)
        self._parser = MessageParser(max_body_bytes=MAX_BODY_BYTES)
        self._has_asked = False
        self._heard_s = asyncio.get_running_loop().time()
        self._item_began_s: float | None = None

    async def run(self) -> None:
        """Serve the client until it leaves, breaks a limit or is hung up on."""
        limit_buffers(self._writer)
        # A lost connection and a client out of time end the same way: silently.
        try:
            with contextlib.suppress(ClientGone, OSError, TimeoutError):
                await self._serve()
        finally:
            self._leave_sessions()
            self.hang_up()

    def hang_up(self) -> None:
        """Close once what was written has left; cut off if it does not leave soon."""
        if not self._writer.is_closing():
            self._writer.close()
            loop = asyncio.get_running_loop()
            loop.call_later(HANG_UP_WITHIN_S, self._writer.transport.abort)

    async def _serve(self) -> None:
        while not self._writer.is_closing():
            try:
                async with asyncio.timeout(self._patience_s()):
                    data = await self._reader.read(READ_BYTES)
            except TimeoutError:
                if self._item_began_s is None and self._caller.sessions:
                    continue  # the sessions' own timeout watches
                return
            if not data:
                return
            try:
                is_over = await self._take(data)
            except MessageError:
                # Whatever it was: the next message cannot be found any more.
                self._writer.write(response_bytes(Response(400, Headers({"Connection": "close"}))))
                return
            if is_over:
                return

    async def _take(self, data: bytes) -> bool:
        """Deal with what ``data`` completed; whether the connection is over."""
        loop = asyncio.get_running_loop()
        for item in self._parser.feed(data):
            if not await self._handle(item):
                return True
            if isinstance(item, Request):
                self._heard_s = loop.time()
            self._item_began_s = None
        if not self._parser.pending_bytes:
            self._item_began_s = None
        elif self._item_began_s is None:
            self._item_began_s = loop.time()
        return False

    async def _handle(self, item: Item) -> bool:
        """Whether to go on."""
        if isinstance(item, Interleaved):
            self._caller.heard(item.channel, item.payload)
        elif isinstance(item, Request):
            self._has_asked = True
            response = await self._answers.answer(item)
            self._writer.write(response_bytes(response))
            await drained(self._writer)
            return self._answers.is_welcome
        return True

    def _patience_s(self) -> float:
        """How long to wait for more; with sessions, before looking whether they are still there."""
        now_s = asyncio.get_running_loop().time()
        if self._item_began_s is not None:
            return max(0.0, self._item_began_s + WHOLE_WITHIN_S - now_s)
        if self._caller.sessions:
            return IDLE_S
        # Counted from the last request: empty lines or packets in between are no sign of life.
        return max(0.0, self._heard_s + (IDLE_S if self._has_asked else WHOLE_WITHIN_S) - now_s)

    def _leave_sessions(self) -> None:
        for session in list(self._caller.sessions.values()):
            if session.way.is_tcp:
                self._desk.end(session)
            else:
                session.abandon()
