"""The dialogue with an RTSP server, from the address to playing tracks, and to the end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass

from streamer.errors import SourceError, StreamerError
from streamer.rtsp.auth import ClientAuth
from streamer.rtsp.message import Response
from streamer.rtsp.sdp import parse_sdp
from streamer.rtsp.transport import Transport
from streamer.rtsp.url import RtspUrl
from streamer.sources.rtsp.answers import (
    granted,
    is_same_track,
    redirected,
    refuse,
    rtp_info,
    transport_refusal,
)
from streamer.sources.rtsp.connection import Connection
from streamer.sources.rtsp.limits import Limits
from streamer.sources.rtsp.tracks import Track, aggregate_url, choose_tracks
from streamer.sources.rtsp.udp import UdpPair

MAX_REDIRECTS = 5
DEFAULT_SESSION_S = 60
"""What RFC 2326 assumes where a server names no timeout."""

logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class PlayedTrack:
    """A track that was set up, and its way back to the server."""

    track: Track
    channels: tuple[int, int] | None
    """Of the connection, for RTP and RTCP; ``None`` over UDP."""
    ports: UdpPair | None = None


class Session:
    """One RTSP session. ``prepare``, then ``play``; ``close`` in every case.

    ``on_packet`` and ``on_rtcp`` get what arrives, with the index of its track; ``on_begin`` the
    RTP timestamp at which a track begins, where the server says it, before the track's packets.
    """

    def __init__(
        self,
        url: RtspUrl,
        *,
        limits: Limits,
        on_packet: Callable[[int, bytes], None],
        on_rtcp: Callable[[int, bytes], None],
        on_begin: Callable[[int, int], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self.tracks: list[PlayedTrack] = []
        self.url = url
        """Of the server that plays, where there were redirects."""
        self._limits = limits
        self._on_packet = on_packet
        self._on_rtcp = on_rtcp
        self._on_begin = on_begin
        self._on_lost = on_lost
        self._connection: Connection | None = None
        self._auth = ClientAuth(url.credentials)
        self._methods: frozenset[str] = frozenset()
        self._base_url = url.request_url
        self._session_id = ""
        self._session_s = DEFAULT_SESSION_S
        self._channels: dict[int, tuple[int, bool]] = {}
        """Track and whether it is RTCP, by channel of the connection."""

    @property
    def is_udp(self) -> bool:
        return any(played.ports is not None for played in self.tracks)

    @property
    def keep_alive_s(self) -> float:
        """How often to show that we are there: three times within the server's patience."""
        return max(0.3, self._session_s / 3)

    async def prepare(self, may_connect: Callable[[str], bool] | None) -> None:
        """Connect, follow redirects, and set the tracks up.

        ``may_connect`` judges every address that is connected to; without it redirects may lead to
        the same host only. Raises ``SourceError``, and its ``UnsupportedFormat`` for video that is
        not read here.
        """
        description = await self._describe(may_connect)
        # The encoding is UTF-8 by the book; whatever else is in there is in names.
        session = parse_sdp(description.body.decode("utf-8", "replace"))
        self._base_url = self._base_of(description)
        tracks = choose_tracks(session, base_url=self._base_url, label=self.url.label)
        lower = self.url.transport or "tcp"
        for index, track in enumerate(tracks):
            try:
                if not await self._set_up(index, track, lower):
                    lower = "udp"
                    logger.info("%s: the server refuses TCP, UDP is used", self.url.label)
                    await self._set_up(index, track, lower)
            except SourceError as error:
                if track.kind == "video":
                    raise
                logger.warning("%s; the picture is taken without sound", error)
        self._base_url = aggregate_url(session, base_url=self._base_url)

    async def play(self) -> None:
        """Start the packets. Raises ``SourceError`` where the server refuses."""
        for played in self.tracks:
            if played.ports is not None:
                played.ports.punch()
        headers = {"Range": "npt=0.000-"}
        answer = await self._ask("PLAY", self._base_url, headers, on_answer=self._take_rtp_info)
        refuse(self.url, "PLAY", answer)

    def send_rtcp(self, index: int, data: bytes) -> None:
        """Send a report or request for the track at ``index``."""
        played = self.tracks[index]
        if played.ports is not None:
            played.ports.send_rtcp(data)
        elif played.channels is not None and self._connection is not None:
            self._connection.send_packet(played.channels[1], data)

    async def keep_alive(self) -> None:
        """One sign of life. Raises ``SourceError`` where the server no longer knows us."""
        for played in self.tracks:
            if played.ports is not None:
                played.ports.punch()
        method = "GET_PARAMETER" if "GET_PARAMETER" in self._methods else "OPTIONS"
        answer = await self._ask(method, self._base_url, {})
        if answer.status in (405, 501, 551):
            self._methods -= {method}
        if answer.status == 454:
            raise SourceError(f"{self.url.label} ended our session; open it again")

    async def close(self) -> None:
        """Say goodbye, without waiting long, and close everything."""
        connection = self._connection
        try:
            if connection is not None and self._session_id:
                connection.on_lost = lambda _reason: None
                with contextlib.suppress(StreamerError, TimeoutError):
                    async with asyncio.timeout(0.5):
                        await self._ask("TEARDOWN", self._base_url, {})
        finally:
            for played in self.tracks:
                if played.ports is not None:
                    played.ports.close()
            if connection is not None:
                await connection.close()

    # The steps.

    async def _describe(self, may_connect: Callable[[str], bool] | None) -> Response:
        for _ in range(MAX_REDIRECTS + 1):
            self._connection = await Connection.open(
                self.url, self._limits, may_connect=may_connect
            )
            self._connection.on_packet = self._take_packet
            self._connection.on_lost = self._on_lost_while_preparing
            options = await self._ask("OPTIONS", self.url.request_url, {})
            if options.status < 300:
                names = options.headers.get("public", "").upper()
                self._methods = frozenset(re.findall(r"[A-Z_]+", names))
            answer = options
            if not 300 <= options.status < 400:
                answer = await self._ask(
                    "DESCRIBE", self.url.request_url, {"Accept": "application/sdp"}
                )
            if not 300 <= answer.status < 400:
                refuse(self.url, "DESCRIBE", answer)
                self._connection.on_lost = self._on_lost
                self._connection.on_redirect = self._on_redirect
                return answer
            location = answer.headers.get("location", "")
            self.url = redirected(self.url, location, may_leave=may_connect is not None)
            self._auth = ClientAuth(self.url.credentials)
            await self._connection.close()
        raise SourceError(
            f"{self.url.label} redirects more than {MAX_REDIRECTS} times; use the final address"
        )

    async def _set_up(self, index: int, track: Track, lower: str) -> bool:
        """Set one track up; false where the server wants UDP instead of TCP."""
        assert self._connection is not None
        ports = None
        if lower == "udp":
            ports = UdpPair(
                self._connection.local_host,
                lambda data: self._on_packet(index, data),
                lambda data: self._on_rtcp(index, data),
            )
            wanted = Transport(lower="udp", profile=track.profile, client_port=ports.ports)
        else:
            channels = (2 * index, 2 * index + 1)
            wanted = Transport(lower="tcp", profile=track.profile, interleaved=channels)
        try:
            answer = await self._ask("SETUP", track.control_url, {"Transport": str(wanted)})
            if answer.status == 461:
                if lower == "tcp" and index == 0 and self._may_use_udp():
                    return False
                raise SourceError(transport_refusal(self.url, lower))
            refuse(self.url, "SETUP", answer)
            self._take_session(answer)
            self._begin(index, track, granted(answer, wanted, self.url.label), ports)
        except BaseException:
            if ports is not None:
                ports.close()
            raise
        return True

    def _may_use_udp(self) -> bool:
        """Not where TCP was asked for, nor where TLS was: the packets would not be encrypted."""
        return self.url.transport is None and not self.url.is_tls

    def _begin(self, index: int, track: Track, granted: Transport, ports: UdpPair | None) -> None:
        assert self._connection is not None
        if ports is None:
            asked = (2 * index, 2 * index + 1)
            channels = granted.interleaved or asked
            if not self._channels.keys().isdisjoint(channels):
                # Some name those of the first track for each, and send as they were asked to.
                channels = asked
            self._channels[channels[0]] = (index, False)
            self._channels[channels[1]] = (index, True)
            self.tracks.append(PlayedTrack(track=track, channels=channels))
            return
        ports.listen(self._connection.peer_host, granted.server_port, granted.source)
        self.tracks.append(PlayedTrack(track=track, channels=None, ports=ports))

    def _take_session(self, answer: Response) -> None:
        identity, _, rest = answer.headers.get("session", "").partition(";")
        self._session_id = identity.strip() or self._session_id
        if timeout := re.search(r"timeout\s*=\s*(\d{1,6})", rest, re.IGNORECASE):
            self._session_s = int(timeout[1]) or DEFAULT_SESSION_S

    def _take_rtp_info(self, answer: Response) -> None:
        for url, rtptime in rtp_info(answer.headers.get("rtp-info", "")):
            for index, played in enumerate(self.tracks):
                if is_same_track(url, played.track.control_url):
                    self._on_begin(index, rtptime)

    async def _ask(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        *,
        on_answer: Callable[[Response], None] | None = None,
    ) -> Response:
        """The answer, asked again with a password where the server wants one."""
        assert self._connection is not None
        for _ in range(3):
            sent = dict(headers)
            if self._session_id:
                sent["Session"] = self._session_id
            authorization = self._auth.authorization(method, url)
            if authorization is not None:
                sent["Authorization"] = authorization
            answer = await self._connection.request(method, url, sent, on_answer=on_answer)
            if answer.status != 401:
                if authorization is not None:
                    self._auth.accepted()
                return answer
            if not self._auth.take_challenge(answer.headers.all("www-authenticate")):
                break
        return answer

    def _take_packet(self, channel: int, payload: bytes) -> None:
        index, is_rtcp = self._channels.get(channel, (None, False))
        if index is None:
            return  # a track that was not asked for
        (self._on_rtcp if is_rtcp else self._on_packet)(index, payload)

    def _on_redirect(self, _location: str) -> None:
        # Reconnecting goes through the first address again, which knows where to send us.
        self._on_lost("the server sends its viewers elsewhere")

    def _on_lost_while_preparing(self, _reason: str) -> None:
        """The request that waits says it."""

    def _base_of(self, answer: Response) -> str:
        for name in ("content-base", "content-location"):
            text = answer.headers.get(name, "").strip()
            if re.fullmatch(r"rtsps?://[^\s]+", text, re.IGNORECASE):
                return text
        return self.url.request_url
