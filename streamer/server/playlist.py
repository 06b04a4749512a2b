"""HLS playlists for players that gave their token in the address."""

from __future__ import annotations

import re
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Send

PLAYLISTS: Final = ("application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/mpegurl")


def with_query(playlist: str, query: str) -> str:
    """The playlist with ``query`` at every address in it.

    A player resolves the addresses of segments against the playlist's own, which drops its query:
    without this it would ask for them without a token.
    """
    lines = []
    for line in playlist.splitlines():
        if line.startswith("#"):
            lines.append(re.sub(r'URI="([^"]+)"', lambda uri: f'URI="{_add(uri[1], query)}"', line))
        else:
            lines.append(_add(line, query) if line.strip() else line)
    return "\n".join(lines) + "\n"


def _add(address: str, query: str) -> str:
    # Only what this server serves itself: the token is for nobody else.
    if "://" in address or address.startswith("//"):
        return address
    return f"{address}{'&' if '?' in address else '?'}{query}"


class PlaylistSender:
    """Stands before ``send``: a playlist is held until it is whole, then sent with the query."""

    def __init__(self, send: Send, query: str) -> None:
        self._send = send
        self._query = query
        self._start: Message | None = None
        self._body = bytearray()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            kind = Headers(raw=message["headers"]).get("content-type", "").partition(";")[0]
            if message["status"] == 200 and kind.strip().lower() in PLAYLISTS:
                self._start = message
                return
        elif self._start is not None:
            self._body += message.get("body", b"")
            if message.get("more_body"):
                return
            await self._finish(self._start)
            return
        await self._send(message)

    async def _finish(self, start: Message) -> None:
        body = with_query(self._body.decode("utf-8", "replace"), self._query).encode()
        headers = MutableHeaders(raw=list(start["headers"]))
        headers["content-length"] = str(len(body))
        del headers["etag"]
        await self._send({**start, "headers": headers.raw})
        await self._send({"type": "http.response.body", "body": body})
