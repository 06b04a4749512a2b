"""A camera or server as a source: each picture is handed on when its last packet is in."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

from streamer.clock import Clock
from streamer.errors import SourceError, SourceLost
from streamer.frame import RTP_TIME_BASE, Packet
from streamer.link import Link, Overflow
from streamer.media import AudioInfo, VideoInfo
from streamer.rtp.unit import UnsupportedFormat
from streamer.rtsp.url import RtspUrl, parse_url
from streamer.sources.base import PacketSource
from streamer.sources.elementary import describe_video
from streamer.sources.network import NetworkSource
from streamer.sources.network_address import of_rtsp
from streamer.sources.rtsp.limits import Limits
from streamer.sources.rtsp.picture import measured_fps, picture_header
from streamer.sources.rtsp.reception import Reception
from streamer.sources.rtsp.session import Session
from streamer.sources.silence import Silence
from streamer.worker import Worker

WAITING_PACKETS = 256
"""Two seconds and more of picture and sound; the pipeline's own link is what usually fills."""

_PICTURES_FOR_RATE = 6
_LONGEST_RATE_S = 1.0
_PLI_APART_NS = 500_000_000
_BYE_GRACE_NS = 1_000_000_000

logger = logging.getLogger(__name__)


class RtspSource:
    """An RTSP session that plays; made by ``open``.

    Until ``packets`` is read, only what came since the latest keyframe is kept, so that a reader
    who comes late begins with a picture of now.
    """

    def __init__(self, url: RtspUrl, *, clock: Clock, limits: Limits) -> None:
        self._clock = clock
        self._limits = limits
        self._worker = Worker("describe")
        self._session = Session(
            url,
            limits=limits,
            on_packet=self._receive,
            on_rtcp=self._receive_rtcp,
            on_begin=lambda index, rtptime: self._received_by.begin(index, rtptime),
            on_lost=self._lose,
        )
        self._reception: Reception | None = None
        """What puts the packets together, from PLAY on."""
        self._link = self._new_link()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._video: VideoInfo | None = None
        self._header = b""
        """What describes the picture that ``_video`` tells of."""
        self._keyframe: Packet | None = None
        """The latest one."""
        self._news = asyncio.Event()
        """Something came while ``open`` waits: a packet, a keyframe, the end."""
        self._is_read = False
        self._skipped = False
        self._end: str | None = None
        """Why nothing more comes."""
        self._asked_ns: int | None = None
        self._closed = False

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        clock: Clock,
        may_connect: Callable[[str], bool] | None = None,
        limits: Limits | None = None,
    ) -> PacketSource:
        """The stream at ``url``, once its first keyframe is here and its size known.

        ``may_connect`` judges each address that is connected to, on a thread; without it redirects
        may lead to the same host only. Video that we cannot take apart is then read with libav;
        not with ``may_connect``, which libav would not ask where it is sent on. Raises
        ``ConfigError`` for what is no RTSP address and ``SourceError`` for a stream that does not
        play.
        """
        address = parse_url(url)
        source = cls(address, clock=clock, limits=limits or Limits())
        try:
            await source._start(may_connect)
        except UnsupportedFormat as error:
            await source.close()
            if may_connect is not None:
                raise SourceError(
                    f"{error}, which is read for streams of the settings file only; set the camera "
                    "to H.264 or H.265, or list the stream there"
                ) from error
            logger.info("%s; it is read with libav, one frame later than H.264 or H.265", error)
            return await NetworkSource.open_address(of_rtsp(address), clock=clock)
        except BaseException:
            await source.close()
            raise
        return source

    @property
    def video(self) -> VideoInfo:
        assert self._video is not None, "open() returns after the first keyframe"
        return self._video

    @property
    def audio(self) -> AudioInfo | None:
        return self._received_by.audio

    async def packets(self) -> AsyncIterator[Packet]:
        """Pictures and sound as they arrive, from a keyframe on; raises ``SourceLost`` at the end."""
        self._is_read = True
        async for packet in self._link:
            if self._closed:
                return
            yield await self._described(packet)
        if self._end is not None and not self._closed:
            raise self._failure(self._end)

    async def request_keyframe(self) -> None:
        """Ask the camera for one, at most twice a second, where it listens to such requests."""
        now_ns = self._clock.now_ns()
        if self._asked_ns is not None and now_ns - self._asked_ns < _PLI_APART_NS:
            return
        self._asked_ns = now_ns
        for index, data in self._received_by.picture_loss():
            self._session.send_rtcp(index, data)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._reception is not None:
            self._reception.close()
        await self._link.close()
        await self._session.close()
        await self._worker.close()

    # How it begins.

    async def _start(self, may_connect: Callable[[str], bool] | None) -> None:
        session = self._session
        await session.prepare(may_connect)
        self._reception = Reception(
            [played.track for played in session.tracks],
            is_udp=session.is_udp,
            clock=self._clock,
            on_packet=self._take,
        )
        await session.play()
        self._spawn(self._stay_alive())
        self._spawn(self._report())
        await self._wait_for(
            lambda: self._received_by.last_packet_ns is not None,
            within_s=self._limits.first_packet_s,
            otherwise=self._silence,
        )
        await self.request_keyframe()
        await self._describe_first()
        self._spawn(self._watch())

    async def _describe_first(self) -> None:
        """Wait until a keyframe decodes, which some first ones do not."""
        tried: Packet | None = None
        try:
            async with asyncio.timeout(self._limits.keyframe_s):
                while self._video is None:
                    tried = await self._next_keyframe(tried)
                    self._video = await self._describe(tried, fps=self._stated_fps())
        except TimeoutError as error:
            seen = "none of its keyframes can be decoded" if tried else "no keyframe comes"
            raise SourceError(
                f"{self._session.url.label} sends video, but {seen} within "
                f"{self._limits.keyframe_s:g} s; set a keyframe every 1 or 2 s in the camera"
            ) from error
        if self._video.fps is None:
            self._video = replace(self._video, fps=await self._measured_fps())

    async def _next_keyframe(self, last: Packet | None) -> Packet:
        await self._wait_for(lambda: self._keyframe is not last)
        assert self._keyframe is not None
        return self._keyframe

    async def _measured_fps(self) -> Fraction | None:
        """The rate by the first time stamps, where nobody states one."""
        with contextlib.suppress(TimeoutError):
            await self._wait_for(
                lambda: len(self._received_by.picture_pts) >= _PICTURES_FOR_RATE,
                within_s=_LONGEST_RATE_S,
            )
        return measured_fps(self._received_by.picture_pts, RTP_TIME_BASE)

    def _stated_fps(self) -> Fraction | None:
        return next((p.track.framerate for p in self._session.tracks if p.track.framerate), None)

    async def _wait_for(
        self,
        condition: Callable[[], bool],
        *,
        within_s: float | None = None,
        otherwise: Callable[[], SourceError] | None = None,
    ) -> None:
        """Until ``condition`` holds. Raises what ended the stream, or ``otherwise`` in time."""
        try:
            async with asyncio.timeout(within_s):
                while not condition():
                    if self._end is not None:
                        raise self._failure(self._end)
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError as error:
            if otherwise is None:
                raise
            raise otherwise() from error

    def _silence(self) -> SourceError:
        label, limit_s = self._session.url.label, self._limits.first_packet_s
        seen = f"{label} plays, but no video packet arrives within {limit_s:g} s over"
        if self._session.is_udp:
            is_refused = self._session.url.transport is None  # TCP, which was tried first
            hint = "let it through, TCP is refused" if is_refused else "try ?transport=tcp"
            return SourceError(f"{seen} UDP; a firewall on the way may stop it: {hint}")
        return SourceError(f"{seen} TCP; check the stream in the camera, or try ?transport=udp")

    # What comes in.

    @property
    def _received_by(self) -> Reception:
        assert self._reception is not None, "packets come after PLAY"
        return self._reception

    def _receive(self, index: int, data: bytes) -> None:
        if self._reception is None:
            return  # nobody has asked for it yet
        is_first = self._reception.last_packet_ns is None
        self._reception.receive(index, data)
        if is_first:
            self._news.set()

    def _receive_rtcp(self, index: int, data: bytes) -> None:
        if self._reception is not None:
            self._reception.receive_rtcp(index, data)

    def _take(self, packet: Packet) -> None:
        """Queue a packet; called while the socket is read, so it never waits."""
        if self._closed or self._end is not None:
            return
        if packet.ends_gap:
            self._keyframe = packet
            if not self._is_read:
                self._link = self._new_link()
        if self._keyframe is not None:
            # In order: tasks begin in the order in which they were made, and this link never waits.
            self._spawn(self._put(self._link, packet))
        self._news.set()

    async def _put(self, link: Link[Packet], packet: Packet) -> None:
        if self._skipped and packet.ends_gap:
            self._skipped = False
            packet = replace(packet, follows_loss=True)
        await link.put(packet)

    def _new_link(self) -> Link[Packet]:
        return Link(
            "rtsp",
            capacity=WAITING_PACKETS,
            overflow=Overflow.SKIP_TO_KEYFRAME,
            is_keyframe=lambda packet: packet.ends_gap,
            on_overflow=self._on_overflow,
        )

    def _on_overflow(self) -> None:
        self._skipped = True
        self._spawn(self.request_keyframe())

    async def _described(self, packet: Packet) -> Packet:
        """``packet``, with the picture's description where that is no longer the one before."""
        known = self.video
        if not packet.ends_gap:
            return packet
        header = picture_header(known.codec, packet.payload)
        if header in (b"", self._header):
            return packet
        info = await self._describe(packet, fps=known.fps)
        if info is None or info == known:
            return packet
        self._video = info
        return replace(packet, video=info)

    async def _describe(self, keyframe: Packet, *, fps: Fraction | None) -> VideoInfo | None:
        codec = self._session.tracks[0].track.format.codec
        info = await self._worker.call(
            describe_video, codec, keyframe.payload, fps=fps, time_base=keyframe.time_base
        )
        if info is not None:
            self._header = picture_header(codec, keyframe.payload)
        return info

    # What goes on beside.

    async def _stay_alive(self) -> None:
        """Show the server that we are there, also one that does not count receiver reports."""
        while True:
            await asyncio.sleep(self._session.keep_alive_s)
            try:
                await self._session.keep_alive()
            except SourceError as error:
                # Some cameras answer nothing while they play; the packets tell whether they do.
                logger.debug("%s", error)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(self._limits.report_s)
            for index, data in self._received_by.reports():
                self._session.send_rtcp(index, data)

    async def _watch(self) -> None:
        """Notice a server that stopped sending."""
        silence, heard_ns = Silence(self._clock), 0
        limit_s = self._limits.silent_after(self.video.fps)
        while True:
            await asyncio.sleep(min(0.25, limit_s / 4))
            now_ns, last_ns = self._clock.now_ns(), self._received_by.last_packet_ns or 0
            bye_ns = self._received_by.said_bye_ns
            if last_ns != heard_ns:
                heard_ns = last_ns
                silence.broken()
            if silence.look() > limit_s:
                self._lose(f"no video packet for {limit_s:g} s")
            elif bye_ns is not None and bye_ns >= last_ns and now_ns - bye_ns > _BYE_GRACE_NS:
                self._lose("the server ended it")

    def _lose(self, reason: str) -> None:
        if self._end is None and not self._closed:
            self._end = reason
            self._spawn(self._link.close())
            self._news.set()

    def _failure(self, reason: str) -> SourceError:
        label = self._session.url.label
        if self._video is None:
            return SourceError(
                f"{label} ended before its first picture: {reason}; "
                "check that the stream plays in another player"
            )
        return SourceLost(f"{label} is lost: {reason}; check the device and the network")

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
