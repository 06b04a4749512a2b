"""Who may ask: one token for everything but the page's own files, and few guesses at it."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import math
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from streamer.addresses import is_loopback
from streamer.clock import Clock
from streamer.server.playlist import PlaylistSender

HLS: Final = "/hls/"

GUESSES: Final = 10
"""Wrong tokens that one address may send at once."""

GUESS_EVERY_S: Final = 6.0
"""After that, one in so many seconds."""

ADDRESSES: Final = 4096
"""Remembered at most; the one that was quiet for the longest is forgotten first."""


class Guesses:
    """Counts wrong tokens per address: a bucket of ``GUESSES`` that fills up again.

    The same one again is no other guess: a player that goes on with an old token would keep out all
    who share its address, with the right one too.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._spent: OrderedDict[str, tuple[float, int, bytes]] = OrderedDict()
        """Per address: guesses spent, when that was true, in ns, and the hash of the last one."""

    def wait_s(self, client: str) -> float:
        """How long this address must wait before its token is looked at; 0 for at once."""
        return max(0.0, (self._spent_by(_network(client)) - GUESSES + 1) * GUESS_EVERY_S)

    def count(self, client: str, token: str) -> None:
        """It sent a wrong token."""
        key, guess = _network(client), hashlib.sha256(token.encode()).digest()
        if key in self._spent and self._spent[key][2] == guess:
            return
        self._spent[key] = (self._spent_by(key) + 1, self._clock.now_ns(), guess)
        self._spent.move_to_end(key)
        if len(self._spent) > ADDRESSES:
            self._spent.popitem(last=False)

    def _spent_by(self, key: str) -> float:
        spent, when_ns, _ = self._spent.get(key, (0.0, 0, b""))
        return max(0.0, spent - (self._clock.now_ns() - when_ns) / 1e9 / GUESS_EVERY_S)


class Gate:
    """ASGI middleware: asks for ``Authorization: Bearer TOKEN``.

    Players of HLS cannot send headers, so that under ``/hls/`` ``?token=`` does as well. Without a
    token the server is for this machine only: then it answers to this machine's names only, or any
    page in the user's browser could reach it by a name of its own (DNS rebinding).
    """

    def __init__(
        self, app: ASGIApp, *, token: str | None, public_paths: Iterable[str], clock: Clock
    ) -> None:
        self._app = app
        self._token = None if token is None else token.encode()
        self._public = frozenset(public_paths)
        self._guesses = Guesses(clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        in_query = _query_token(scope)
        if in_query is not None:
            # It is neither seen by what comes next nor written to any log.
            scope = {**scope, "query_string": _without_token(scope)}
            send = PlaylistSender(send, urlencode({"token": in_query}))
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        if self._token is None:
            return None if _is_for_here(scope) else _not_for_here()
        if scope["path"] in self._public and scope["method"] in ("GET", "HEAD"):
            return None
        client = scope["client"][0] if scope.get("client") else ""
        given = _header_token(scope) or _query_token(scope)
        if given is None:
            return _unauthorised("send the token as: Authorization: Bearer TOKEN")
        wait_s = self._guesses.wait_s(client)
        if wait_s > 0:
            return PlainTextResponse(
                "too many wrong tokens came from this address; wait before the next\n",
                status_code=429,
                headers={"Retry-After": str(math.ceil(wait_s))},
            )
        if not hmac.compare_digest(given.encode(), self._token):
            self._guesses.count(client, given)
            return _unauthorised("this token is wrong", error="invalid_token")
        return None


def _header_token(scope: Scope) -> str | None:
    scheme, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def _query_token(scope: Scope) -> str | None:
    if not scope["path"].startswith(HLS):
        return None
    query = parse_qsl(scope["query_string"].decode("latin-1"))
    return next((value for key, value in query if key == "token"), None)


def _without_token(scope: Scope) -> bytes:
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    return urlencode([pair for pair in query if pair[0] != "token"]).encode()


def _unauthorised(sentence: str, *, error: str = "") -> PlainTextResponse:
    detail = f', error="{error}"' if error else ""
    return PlainTextResponse(
        f"{sentence}\n",
        status_code=401,
        headers={"WWW-Authenticate": f'Bearer realm="streamer"{detail}'},
    )


def _is_for_here(scope: Scope) -> bool:
    host = Headers(scope=scope).get("host", "")
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    return name is not None and is_loopback(name)


def _not_for_here() -> PlainTextResponse:
    return PlainTextResponse(
        "this server is for its own machine only; open it as http://127.0.0.1, or give it a token\n",
        status_code=421,
    )


def _network(client: str) -> str:
    """Whom an address belongs to: an IPv6 user has a whole /64 of them."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return client
    if address.version == 6:
        return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
    return str(address)
