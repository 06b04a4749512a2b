"""WHIP as a source (RFC 9725): the door where a publisher and its stream meet."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any

from streamer.clock import Clock
from streamer.errors import SourceError, SourceLost
from streamer.frame import RTP_TIME_BASE, Packet
from streamer.ice import IceServer
from streamer.link import Link, LinkEnded, Overflow
from streamer.media import AudioInfo, VideoInfo
from streamer.rtc.session import PublisherPresent, Session
from streamer.sources.elementary import describe_video
from streamer.sources.rtc_intake import Arrival
from streamer.sources.rtsp.picture import picture_header

if TYPE_CHECKING:
    from streamer.sources.rtc_publisher import Publisher

log = logging.getLogger(__name__)

WAITING_PACKETS = 160
"""Two seconds of 30 pictures and 50 packets of sound: longer than a new picture size takes to be
described. A reader that is further behind goes on at the next keyframe."""

MAX_BITRATE_BPS = 20_000_000
"""What publishers are told they may send. Without it a browser believes that the line is narrow,
and makes the picture smaller within seconds."""

KEYFRAMES_TRIED = 3
"""How many keyframes in a row may turn out to be unreadable before a publisher is turned away."""

OPUS_RATE_HZ = 48_000


class WhipDoor:
    """Where one stream's publisher comes in; there is at most one at a time.

    The server calls ``answer`` and ``hang_up``, the stream takes ``source`` and takes it again
    when it was lost. Everything runs on one event loop.
    """

    def __init__(
        self,
        name: str,
        *,
        clock: Clock,
        ice_servers: Iterable[IceServer] = (),
        max_bitrate_bps: int = MAX_BITRATE_BPS,
    ) -> None:
        # Loading aiortc takes a good second: here, before the stream runs, and not at the first
        # offer, where it would stop the event loop.
        from streamer.sources import rtc_publisher

        self._rtc = rtc_publisher
        self.name = name
        self._clock = clock
        self._ice_servers = tuple(ice_servers)
        self._max_bitrate_bps = max_bitrate_bps
        self._visit: _Visit | None = None
        self._arrived = asyncio.Event()
        self._ending: set[asyncio.Task[None]] = set()
        self._is_closed = False

    @property
    def is_publishing(self) -> bool:
        """Whether a publisher is connected or on its way."""
        return self._visit is not None

    def statistics(self) -> dict[str, Any]:
        """Counters for display; names no session, since a name is the right to end it."""
        publisher = self._visit.publisher.statistics() if self._visit is not None else {}
        return {"name": self.name, "is_publishing": self.is_publishing, **publisher}

    async def answer(self, offer_sdp: str) -> Session:
        """Let a publisher in. Raises ``OfferInvalid``, ``OfferUnsupported``, or
        ``PublisherPresent`` while there is another one."""
        if self._is_closed:
            raise SourceError(f"the stream {self.name} is closed")
        if self._visit is not None:
            raise PublisherPresent(
                f"the stream {self.name} has a publisher already; end that session first, "
                f"or wait {self._rtc.SILENT_S:.0f} s if its publisher is gone"
            )
        visit = self._visit = self._admit()
        try:
            answer_sdp = await visit.publisher.answer(offer_sdp)
        except BaseException:
            self._end(visit, "its offer was refused")
            raise
        if self._visit is not visit:
            raise SourceError(f"the stream {self.name} closed while a publisher was joining")
        self._arrived.set()
        return Session(id=visit.id, answer_sdp=answer_sdp)

    async def hang_up(self, session_id: str) -> bool:
        """End a session; false if there is no such session (any more)."""
        visit = self._visit
        if visit is None or not secrets.compare_digest(visit.id.encode(), session_id.encode()):
            return False
        await asyncio.shield(self._end(visit, "it ended its session"))
        return True

    async def source(self, *, timeout_s: float | None = None) -> WhipSource:
        """The next publisher, once its first keyframe is here.

        Raises ``SourceError`` where none comes within ``timeout_s``, and when the door closes.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await self._next_source()
        except TimeoutError:
            raise SourceError(
                f"nobody published a picture to /whip/{self.name} within {timeout_s:g} s; "
                "start the publisher, and allow UDP from it to this machine"
            ) from None

    async def close(self) -> None:
        """Send the publisher away and let no other in."""
        self._is_closed = True
        self._arrived.set()
        if self._visit is not None:
            self._end(self._visit, "the stream was closed")
        while self._ending:
            await asyncio.wait(self._ending)

    async def _next_source(self) -> WhipSource:
        while not self._is_closed:
            visit = self._visit
            if visit is None or visit.is_taken:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            source = await self._open(visit)
            if source is not None:
                return source
        raise SourceError(f"the stream {self.name} is closed")

    async def _open(self, visit: _Visit) -> WhipSource | None:
        """The source of this publisher; ``None`` if it went away before it could be seen."""
        visit.is_taken = True
        visit.publisher.begin_reading()
        try:
            for _ in range(KEYFRAMES_TRIED):
                first = await visit.keyframe()
                video = await _described(first)
                if video is not None:
                    return WhipSource(self, visit, first, video)
                visit.publisher.ask_for_keyframe()
        except LinkEnded:
            return None
        except BaseException:
            visit.is_taken = False
            visit.publisher.stop_reading()
            raise
        log.warning("%s: a publisher's picture could not be decoded", self.name)
        self._end(visit, "its picture could not be decoded")
        return None

    def _admit(self) -> _Visit:
        """A place for one publisher, and the connection that will fill it."""
        visit = _Visit(secrets.token_urlsafe(18))
        visit.publisher = self._rtc.Publisher(
            on_arrival=visit.link.put,
            on_gone=partial(self._on_gone, visit),
            clock=self._clock,
            ice_servers=self._ice_servers,
            max_bitrate_bps=self._max_bitrate_bps,
        )
        return visit

    def _on_gone(self, visit: _Visit, why: str) -> None:
        log.info("the publisher of %s is gone: %s", self.name, why)
        self._end(visit, why)

    def _end(self, visit: _Visit, why: str) -> asyncio.Task[None]:
        """Forget this publisher; a new one may come at once."""
        if self._visit is visit:
            self._visit = None
        visit.why_gone = visit.why_gone or why
        ending = asyncio.create_task(_hang_up(visit), name="hang up")
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
        return ending


class WhipSource:
    """One publisher's packets; made by ``WhipDoor.source``."""

    def __init__(self, door: WhipDoor, visit: _Visit, first: Arrival, video: VideoInfo) -> None:
        self.video = video
        self._door = door
        self._visit = visit
        self._first = replace(first.packet, video=video)
        self._header = first.codec, picture_header(first.codec, first.packet.payload)
        self._is_closed = False

    @property
    def audio(self) -> AudioInfo | None:
        """Opus, where the publisher offered sound."""
        if not self._visit.publisher.has_audio:
            return None
        return AudioInfo(
            codec="opus",
            rate_hz=OPUS_RATE_HZ,
            channels=2,
            time_base=Fraction(1, OPUS_RATE_HZ),
            extradata=self._visit.publisher.audio_header(),
        )

    async def packets(self) -> AsyncIterator[Packet]:
        """Picture and sound as they arrive, from a keyframe on. Raises ``SourceLost`` at the end.

        Where the picture changes its size, the keyframe says what it is from there on.
        """
        yield self._first
        async for arrival in self._visit.link:
            yield await self._with_description(arrival)
        if not self._is_closed:
            raise SourceLost(
                f"the publisher of {self._door.name} is gone ({self._visit.why_gone}); "
                f"publish to /whip/{self._door.name} again"
            )

    async def request_keyframe(self) -> None:
        """Ask the publisher for one, soon; many requests are one."""
        self._visit.publisher.ask_for_keyframe()

    async def close(self) -> None:
        """Send the publisher away; the door takes the next one."""
        if not self._is_closed:
            self._is_closed = True
            await asyncio.shield(self._door._end(self._visit, "the stream was closed"))

    async def _with_description(self, arrival: Arrival) -> Packet:
        packet = arrival.packet
        if packet.stream != "video" or not packet.is_keyframe:
            return packet
        header = arrival.codec, picture_header(arrival.codec, packet.payload)
        if header == self._header:
            return packet
        video = await _described(arrival)
        if video is None:
            return packet  # the decoder refuses it as well, and asks for another one
        self._header = header
        self.video = video
        return replace(packet, video=video)


class _Visit:
    """One publisher at the door: its connection, and its packets on their way to the stream."""

    publisher: Publisher

    def __init__(self, session_id: str) -> None:
        self.id = session_id
        self.is_taken = False
        self.why_gone = ""
        self.link: Link[Arrival] = Link(
            "whip_link",
            capacity=WAITING_PACKETS,
            overflow=Overflow.SKIP_TO_KEYFRAME,
            # Sound stands alone, but only a keyframe of the picture ends a gap.
            is_keyframe=lambda one: one.packet.ends_gap,
            on_overflow=lambda: self.publisher.ask_for_keyframe(),
        )

    async def keyframe(self) -> Arrival:
        """The next keyframe; what comes before it is dropped. Raises ``LinkEnded``."""
        while True:
            arrival = await self.link.get()
            if arrival.packet.ends_gap:
                return arrival


async def _hang_up(visit: _Visit) -> None:
    await visit.link.close()
    await visit.publisher.close()


async def _described(arrival: Arrival) -> VideoInfo | None:
    """What the keyframe shows, decoded off the loop; ``None`` if that fails."""
    return await asyncio.to_thread(
        describe_video, arrival.codec, arrival.packet.payload, time_base=RTP_TIME_BASE
    )
