"""What every request and response keeps to: bodies in size and time, HEAD, headers for safety."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES: Final = 128 * 1024
"""The largest body there is a use for is an offer with every candidate in it."""

BODY_WITHIN_S: Final = 10.0
"""For all of it: who sends a byte a second holds a connection for ever otherwise."""

THROWN_AWAY_BYTES: Final = 1 << 20
THROW_AWAY_WITHIN_S: Final = 1.0
"""Of a body that is too long: enough for a mistake, too little for an attack."""

CLOSE: Final = {"Connection": "close"}

SAFE_HEADERS: Final = {
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class BoundedBodies:
    """ASGI middleware: a body that is too long or too slow ends in 413 or 408."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        stated = Headers(scope=scope).get("content-length", "0")
        is_stated_too_long = not stated.isdecimal() or int(stated) > MAX_BODY_BYTES
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + BODY_WITHIN_S
        read_bytes = 0
        is_whole = False

        async def bounded() -> Message:
            nonlocal read_bytes, is_whole
            if is_stated_too_long:
                await _throw_away(receive)
                raise _too_long()
            if is_whole:
                return await receive()  # waits for the client to go away; that is not a body
            try:
                async with asyncio.timeout_at(give_up_s):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(
                    408, f"the body did not come within {BODY_WITHIN_S:.0f} s", CLOSE
                ) from None
            read_bytes += len(message.get("body", b""))
            if read_bytes > MAX_BODY_BYTES:
                await _throw_away(receive)
                raise _too_long()
            is_whole = not message.get("more_body", False)
            return message

        await self._app(scope, bounded, send)


def _too_long() -> HTTPException:
    return HTTPException(
        413, f"the body is longer than {MAX_BODY_BYTES // 1024} KiB, which is the most", CLOSE
    )


async def _throw_away(receive: Receive) -> None:
    """Some of what is left of a body: an answer is lost when its connection is closed over unread bytes."""
    left_bytes = THROWN_AWAY_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(THROW_AWAY_WITHIN_S):
            while left_bytes > 0:
                message = await receive()
                left_bytes -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return


class HeadAsGet:
    """ASGI middleware: HEAD is answered as GET is, for whoever only looks; the server sends no body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)


class SafeHeaders:
    """ASGI middleware: headers that a browser's protections need, on every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SAFE_HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)
