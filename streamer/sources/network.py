"""Network inputs through libav, in a child process that may hang, die or be killed."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from fractions import Fraction
from typing import Any

from streamer.child import Child, Message
from streamer.clock import Clock
from streamer.config import redacted
from streamer.errors import SourceError, SourceLost
from streamer.frame import RTP_TIME_BASE, Packet
from streamer.media import AudioInfo, Color, VideoInfo
from streamer.sources.network_address import (
    OPEN_WITHIN_S,
    PACKET_WITHIN_S,
    NetworkAddress,
    parse,
)
from streamer.sources.network_pace import Paced
from streamer.sources.silence import Silence

log = logging.getLogger(__name__)

KEYFRAME_WITHIN_S = 20.0
"""Encoders send one every 1 to 10 seconds; before it there is no picture."""

SEGMENT_WITHIN_S = 30.0
"""HLS comes a segment at a time, of 2 to 10 seconds each."""

_CHILD = "streamer.sources.demux_child"
_GRACE_S = 2.0
"""The child's own time limits come first: they know more about what happened."""

MayConnect = Callable[[str], bool]


class NetworkSource:
    """RTMP, HTTP and HLS, UDP, SRT, and RTSP where nothing better reads it; made by ``open``."""

    def __init__(self, address: NetworkAddress, child: Child, *, clock: Clock) -> None:
        self._address = address
        self._child = child
        self._clock = clock
        self._may_connect: MayConnect | None = None
        self._video: VideoInfo | None = None
        self._audio: AudioInfo | None = None
        self._is_paced = False
        self._changed: VideoInfo | None = None
        self._is_closed = False

    @classmethod
    async def open(
        cls, url: str, *, clock: Clock, may_connect: MayConnect | None = None
    ) -> NetworkSource:
        """The source at ``url``, once its first keyframe has come.

        ``may_connect`` judges every host that HTTP leads to; it runs on a thread. An address that
        listens waits for its peer for ever. Raises ``ConfigError`` and ``SourceError``.
        """
        return await cls.open_address(parse(url), clock=clock, may_connect=may_connect)

    @classmethod
    async def open_address(
        cls, address: NetworkAddress, *, clock: Clock, may_connect: MayConnect | None = None
    ) -> NetworkSource:
        """``open``, for an address that was taken apart already."""
        try:
            child = await Child.start(_CHILD)
        except OSError as error:
            raise SourceError(
                f"the process that reads {address.label} could not be started ({error.strerror}); "
                "allow more open files and processes (ulimit), or run fewer streams"
            ) from error
        source = cls(address, child, clock=clock)
        source._may_connect = may_connect
        try:
            await source._begin()
        except BaseException:
            await source.close()
            raise
        return source

    @property
    def video(self) -> VideoInfo:
        assert self._video is not None
        return self._video

    @property
    def audio(self) -> AudioInfo | None:
        return self._audio

    async def request_keyframe(self) -> None:
        """None of these protocols has a way to ask."""

    async def close(self) -> None:
        """Ends the child at once. May be called again."""
        if not self._is_closed:
            self._is_closed = True
            await self._child.close()

    async def packets(self) -> AsyncIterator[Packet]:
        """Packets of 1/90000 as they arrive; files and HLS, which come faster, at their own rate.

        Ends with a file; raises ``SourceLost`` where a live source ends or falls silent.
        """
        if not self._is_paced:
            async for packet in self._received():
                yield packet
            return
        on_skip = self._on_skip if self.video.is_live else None
        async with Paced(self._received(), clock=self._clock, on_skip=on_skip) as paced:
            async for packet in paced:
                yield packet

    def _on_skip(self, skipped_s: float) -> None:
        label = self._address.label
        log.info("%s had fallen behind; %.1f s of it are left out", label, skipped_s)

    async def _received(self) -> AsyncIterator[Packet]:
        while True:
            try:
                message = await self._next(self._packet_within_s)
            except SourceError:
                if self._is_closed:
                    return
                raise
            kind = message.head["is"]
            if kind == "packet":
                yield self._as_packet(message)
            elif kind == "stream":
                self._describe(message.head)
                self._changed = self._video
            elif kind == "end":
                if not self.video.is_live:
                    return
                raise SourceLost(f"{self._address.label} has ended; start its sender again")

    async def _begin(self) -> None:
        address = self._address
        await self._tell(
            {
                "reader": address.reader,
                "url": address.url,
                "format": address.format,
                "options": dict(address.options),
                "settings": dict(address.settings),
                "waits_for_peer": address.waits_for_peer,
                "open_within_s": OPEN_WITHIN_S,
                "packet_within_s": PACKET_WITHIN_S,
                "asks": self._may_connect is not None,
            }
        )
        if address.waits_for_peer:
            log.info("waiting for a sender at %s", address.label)
        within_s = None if address.waits_for_peer else OPEN_WITHIN_S
        while (message := await self._next(within_s)).head["is"] != "opened":
            self._refuse_end(message)
        try:
            async with asyncio.timeout(KEYFRAME_WITHIN_S):
                while (message := await self._next(None)).head["is"] != "stream":
                    self._refuse_end(message)
        except TimeoutError:
            raise SourceError(
                f"{address.label} sent no keyframe within {KEYFRAME_WITHIN_S:g} s; set its encoder "
                "to one every 1 or 2 seconds"
            ) from None
        self._describe(message.head)
        self._is_paced = bool(message.head["is_paced"])

    @property
    def _packet_within_s(self) -> float:
        if self._address.reader == "http":
            return SEGMENT_WITHIN_S
        return PACKET_WITHIN_S

    def _within(self, seconds: float | None) -> AbstractAsyncContextManager[None]:
        """Gives up where the child is silent for longer than it may be itself."""
        if seconds is None:
            return nullcontext()
        return Silence(self._clock).for_at_most(seconds + _GRACE_S)

    async def _next(self, within_s: float | None) -> Message:
        """The child's next message but notes and questions. Raises ``SourceError``."""
        while True:
            try:
                async with self._within(within_s):
                    message = await self._child.receive()
            except TimeoutError:
                raise self._lost(f"has sent nothing for {within_s:g} s") from None
            if message is None:
                raise self._broken()
            kind = message.head.get("is")
            if kind == "note":
                log.warning("%s: %s", self._address.label, message.head["text"])
            elif kind == "ask":
                await self._answer(str(message.head["host"]))
            elif kind == "failed":
                raise self._failure(message.head)
            else:
                return message

    async def _answer(self, host: str) -> None:
        may = self._may_connect is None or await asyncio.to_thread(self._may_connect, host)
        await self._tell({"may": may})

    async def _tell(self, head: Mapping[str, Any]) -> None:
        try:
            await self._child.send(Message(head))
        except OSError:
            raise self._broken() from None

    def _refuse_end(self, message: Message) -> None:
        if message.head["is"] == "end":
            raise SourceError(
                f"{self._address.label} ended before a picture came; check what it sends"
            )

    def _failure(self, head: Mapping[str, Any]) -> SourceError:
        if "text" in head:
            kind = SourceError if self._video is None else SourceLost
            return kind(redacted(f"{self._address.label} {head['text']}"))
        number = int(head.get("errno") or 0)
        return self._lost(_REASONS.get(number, f"could not be read ({head['reason']})"))

    def _broken(self) -> SourceError:
        # The kind of error only: its text may hold the address.
        kind = self._child.last_words.rpartition("\n")[2].partition(":")[0]
        log.debug("%s: the child that reads it died of %s", self._address.label, kind)
        return self._lost("broke the program that reads it")

    def _lost(self, what: str) -> SourceError:
        """``what`` happened, which before the first packet means that it never worked."""
        label = self._address.label
        if self._video is None:
            return SourceError(f"{label} {what}; check the address, and that it is sending")
        return SourceLost(f"{label} {what}; check that it is still sending")

    def _describe(self, head: Mapping[str, Any]) -> None:
        self._video = _video(head["video"])
        if self._audio is None and head["audio"] is not None:
            self._audio = _audio(head["audio"])

    def _as_packet(self, message: Message) -> Packet:
        head = message.head
        changed, self._changed = self._changed, None
        return Packet(
            payload=message.payload,
            pts=head["pts"],
            dts=head["dts"],
            time_base=RTP_TIME_BASE,
            duration=head["for"],
            arrived_ns=head["at"],
            is_keyframe=head["key"],
            stream="video" if head["v"] else "audio",
            video=changed,
            follows_loss=head["lost"],
        )


def _tag(letters: str) -> int:
    """libav's number for an error of its own: four characters, where X is none."""
    first = 0xF8 if letters[0] == "X" else ord(letters[0])
    return first | ord(letters[1]) << 8 | ord(letters[2]) << 16 | ord(letters[3]) << 24


_REASONS: Mapping[int, str] = {
    errno.ENETUNREACH: "could not be reached (no route to its network)",
    errno.EHOSTUNREACH: "could not be reached (no route to it)",
    errno.ECONNREFUSED: "could not be reached (connection refused)",
    errno.ETIMEDOUT: "did not answer in time",
    errno.EIO: "refused the stream, or broke off",
    errno.ECONNRESET: "broke off (connection reset)",
    errno.EPIPE: "broke off (connection closed)",
    errno.EACCES: "may not be used by this user",
    errno.EADDRINUSE: "cannot be listened on (another program does)",
    errno.EADDRNOTAVAIL: "cannot be listened on (not an address of this machine)",
    _tag("INDA"): "sent what is no stream of this kind",
    _tag("EOF "): "ended before a picture came",
    _tag("EXIT"): "did not answer in time",
    _tag("X401"): "wants a user and the right password",
    _tag("X403"): "forbids it to this user",
    _tag("X404"): "has no stream of this name",
}


def _video(told: Mapping[str, Any]) -> VideoInfo:
    return VideoInfo(
        codec=told["codec"],
        width=told["size"][0],
        height=told["size"][1],
        fps=None if told["fps"] is None else Fraction(*told["fps"]),
        time_base=RTP_TIME_BASE,
        color=Color(**told["color"]),
        sample_aspect=Fraction(*told["aspect"]),
        pix_fmt=told["pix_fmt"],
        is_live=told["is_live"],
        notes=tuple(told["notes"]),
        extradata=bytes.fromhex(told["extradata"]),
    )


def _audio(told: Mapping[str, Any]) -> AudioInfo:
    return AudioInfo(
        codec=told["codec"],
        rate_hz=told["rate_hz"],
        channels=told["channels"],
        time_base=RTP_TIME_BASE,
        extradata=bytes.fromhex(told["extradata"]),
    )
