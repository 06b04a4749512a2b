"""The client at the other end of an RTSP connection: what its URLs name, and what it has begun."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from streamer.rtsp.message import Headers, Response
from streamer.server.rtsp_session import RtspSession
from streamer.server.rtsp_ways import Address


class Refusal(Exception):
    """An answer other than 200, with the header fields that explain it."""

    def __init__(self, status: int, *fields: tuple[str, str], reason: str = "") -> None:
        super().__init__(status)
        self.response = Response(status, Headers(fields), reason=reason)


@dataclass(frozen=True, slots=True)
class Place:
    """What a URL names: a stream, or one of its tracks."""

    path: str
    track: int | None
    base: str
    """The stream's URL with a slash at its end, without user and query."""


def locate(url: str) -> Place:
    """The place that ``url`` names; raises ``Refusal`` for what is no URL of ours."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise Refusal(400) from None
    host = parts.netloc.rpartition("@")[2]
    if parts.scheme not in ("rtsp", "rtsps") or not re.fullmatch(r"[\w.:%\[\]-]*", host):
        raise Refusal(400)
    found = re.search(r"trackID=(\d{1,3})\Z", parts.path)
    # Cut off by hand: an expression for all of it takes seconds for a path of ten thousand slashes.
    path = unquote((parts.path[: found.start()] if found else parts.path).strip("/"))
    base = f"{parts.scheme}://{host}/{quote(path)}/" if path else f"{parts.scheme}://{host}/"
    return Place(path, int(found[1]) if found else None, base)


class Caller:
    """The sessions that were begun on one connection, and their channels on it."""

    def __init__(self, writer: asyncio.StreamWriter, *, hang_up: Callable[[], None]) -> None:
        self.writer = writer
        self.hang_up = hang_up
        self._peer: Address = writer.get_extra_info("peername")
        self.own_address: Address = writer.get_extra_info("sockname")
        self.sessions: dict[str, RtspSession] = {}
        self._channels: dict[int, RtspSession] = {}

    def heard(self, channel: int, rtcp: bytes) -> None:
        """An interleaved packet has come; on RTP's channels nothing sensible does."""
        session = self._channels.get(channel)
        if session is not None:
            session.take_rtcp(rtcp)

    @property
    def host(self) -> str:
        """Where the client is."""
        return str(self._peer[0])

    def address(self, port: int) -> Address:
        """A port of the client's host."""
        return (self._peer[0], port, *self._peer[2:])

    def free_channels(self, wanted: tuple[int, int] | None) -> tuple[int, int] | None:
        """``wanted`` if nobody has them, else the first pair that is free."""
        pairs = [wanted] if wanted is not None and wanted[0] != wanted[1] else []
        pairs += [(first, first + 1) for first in range(0, 256, 2)]
        return next((pair for pair in pairs if self._channels.keys().isdisjoint(pair)), None)

    def begin(self, session: RtspSession) -> None:
        self.sessions[session.id] = session

    def assign(self, channels: tuple[int, int], session: RtspSession) -> None:
        self._channels.update(dict.fromkeys(channels, session))

    def free(self, channels: Iterable[int]) -> None:
        for channel in channels:
            self._channels.pop(channel, None)

    def forget(self, session: RtspSession) -> None:
        """A session has ended, by whatever end."""
        self.sessions.pop(session.id, None)
        for channel in [one for one, owner in self._channels.items() if owner is session]:
            del self._channels[channel]
