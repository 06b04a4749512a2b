"""A live source that stays: watched, reopened when it is lost, on one timeline all the while."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from streamer.clock import Clock
from streamer.config import redacted
from streamer.errors import SourceError, SourceLost, StreamerError
from streamer.frame import Packet
from streamer.media import AudioInfo, VideoInfo
from streamer.metrics import Metrics
from streamer.sources.base import PacketSource
from streamer.sources.silence import Silence
from streamer.sources.timeline_repair import TimelineRepair

log = logging.getLogger(__name__)

_CLOSE_WITHIN_S = 5.0
"""To say good-bye to a peer that is gone."""

State = Literal["connecting", "live", "lost", "closed"]
Opener = Callable[[], Awaitable[PacketSource]]
OnState = Callable[[State, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait for what; seconds."""

    silent_after_s: float = 5.0
    """Without a video packet for so long it is lost, whatever its sockets say."""
    first_wait_s: float = 0.25
    soon_wait_s: float = 1.0
    """At most so long between attempts in the first minute: most outages are a restart or a loose
    cable, and the picture is to be back within a second or two of the camera."""
    soon_s: float = 60.0
    longest_wait_s: float = 15.0
    """From then on."""
    good_after_s: float = 10.0
    """After so long of packets the next loss begins with the shortest wait again."""

    def wait_s(self, failures: int, *, lost_for_s: float, random: Random) -> float:
        """Before the next attempt: full jitter, so that a hundred streams do not come at once."""
        most_s = self.longest_wait_s
        if lost_for_s < self.soon_s:
            most_s = min(most_s, self.soon_wait_s)
        return random.uniform(0, min(most_s, self.first_wait_s * 2 ** min(failures, 32)))

    def silence_s(self, video: VideoInfo) -> float:
        """Longer for a source slower than one picture a second: three of its intervals. A film is not
        given up here, for it would have to begin anew; who reads it knows when its server is gone."""
        if not video.is_live:
            return math.inf
        slowest_s = 3 / float(video.fps) if video.fps else 0.0
        return max(self.silent_after_s, slowest_s)


class Lasting:
    """A ``PacketSource`` around ``opener``; made by ``open``, ends with ``close`` only.

    ``video`` is what the present connection shows, ``audio`` what the first one had: the outputs
    were opened with that.
    """

    def __init__(
        self,
        opener: Opener,
        *,
        label: str,
        clock: Clock,
        metrics: Metrics,
        random: Random,
        patience: Patience = Patience(),
        on_state: OnState | None = None,
    ) -> None:
        """``label`` names the source in the log and holds no secret."""
        self._opener = opener
        self._label = label
        self._clock = clock
        self._metrics = metrics
        self._random = random
        self._patience = patience
        self._on_state = on_state
        self._source: PacketSource | None = None
        self._video: VideoInfo | None = None
        self._audio: AudioInfo | None = None
        self._state: State | None = None
        self._repair = TimelineRepair()
        self._closed = asyncio.Event()
        self._failures = 0
        self._lost_ns = 0
        self._told_audio = False
        self.reason = ""
        """Why it was lost last; empty while it never was."""

    @classmethod
    async def open(
        cls,
        opener: Opener,
        *,
        label: str,
        clock: Clock,
        metrics: Metrics,
        random: Random,
        patience: Patience = Patience(),
        on_state: OnState | None = None,
        wait_for_first: bool = False,
    ) -> Lasting:
        """The source, opened once. What that raises is raised, unless ``wait_for_first``."""
        lasting = cls(
            opener,
            label=label,
            clock=clock,
            metrics=metrics,
            random=random,
            patience=patience,
            on_state=on_state,
        )
        lasting._enter("connecting", "")
        if wait_for_first:
            source = await lasting._opened_again()
            assert source is not None, "nobody can close what is not returned yet"
        else:
            source = await opener()
        lasting._take(source)
        lasting._audio = source.audio
        return lasting

    @property
    def video(self) -> VideoInfo:
        assert self._video is not None
        return self._video

    @property
    def audio(self) -> AudioInfo | None:
        return self._audio

    @property
    def state(self) -> State:
        """``lost`` from the loss to the first packet of the next connection."""
        return self._state or "connecting"

    async def request_keyframe(self) -> None:
        """Asks the present connection; without one, the next begins with a keyframe anyway."""
        if self._source is not None:
            with suppress(StreamerError):
                await self._source.request_keyframe()

    async def close(self) -> None:
        """Ends ``packets()``, also while it waits to try again. May be called again."""
        self._closed.set()
        source, self._source = self._source, None
        if source is not None:
            await source.close()
        self._enter("closed", "")

    async def packets(self) -> AsyncIterator[Packet]:
        """The packets of all connections, one after another, on one timeline.

        Each connection begins with a keyframe that says what it shows; from the second on it
        follows a loss. Ends with ``close``, or with a source that is not live.
        """
        while (source := self._source) is not None:
            began_ns = 0
            try:
                async with aclosing(self._usable(source)) as usable:
                    async for packet in usable:
                        began_ns = began_ns or packet.arrived_ns
                        if packet.arrived_ns - began_ns > self._patience.good_after_s * 1e9:
                            self._failures = 0
                        yield self._repair.repaired(packet)
                if not source.video.is_live:
                    return
                raise SourceLost(f"{self._label} has ended")
            except SourceError as error:
                if self._closed.is_set():
                    return
                if not source.video.is_live:
                    raise  # opened again, it would begin anew
                self._lose(str(error))
            await self._release(source)
            following = await self._opened_again()
            if following is None:
                return
            self._repair.reconnected()
            self._take(following)

    async def _usable(self, source: PacketSource) -> AsyncGenerator[Packet, None]:
        """From the first keyframe on; audio only where it is what it was at first."""
        is_first, has_asked = True, False
        has_audio = self._keeps_audio(source.audio)
        async with aclosing(self._watched(source)) as watched:
            async for packet in watched:
                if packet.stream == "audio":
                    if has_audio and not is_first:
                        yield packet
                    continue
                self._video = packet.video or self._video
                if is_first and not packet.is_keyframe:
                    if not has_asked:
                        has_asked = True
                        await self.request_keyframe()
                    continue
                yield self._begins(packet) if is_first else self._described(packet)
                is_first = False

    def _described(self, packet: Packet) -> Packet:
        """After a reconnect every keyframe says again what it shows: a reader that was behind may
        have thrown away the first one."""
        if not packet.is_keyframe or not self._metrics.counted("source.reconnects"):
            return packet
        return replace(packet, video=self._video)

    def _begins(self, packet: Packet) -> Packet:
        """The first packet of a connection, which says that the decoder must start anew."""
        was_lost = self._state == "lost"
        if was_lost:
            waited_ms = (self._clock.now_ns() - self._lost_ns) / 1e6
            self._metrics.count("source.reconnects")
            self._metrics.time("source.reconnect", waited_ms)
            self._enter("live", f"back after {waited_ms / 1000:.1f} s")
            return replace(packet, video=packet.video or self.video, follows_loss=True)
        self._enter("live", "")
        return packet

    async def _watched(self, source: PacketSource) -> AsyncGenerator[Packet, None]:
        """Raises ``SourceLost`` when no video comes, whatever else does.

        Only time spent waiting counts: a reader that takes long is not the source's silence, nor is
        a program that stands still.
        """
        iterator = aiter(source.packets())
        silence = Silence(self._clock)
        try:
            while True:
                limit_s = self._patience.silence_s(source.video)
                try:
                    async with silence.for_at_most(limit_s):
                        packet = await anext(iterator)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    raise SourceLost(f"{self._label} sent no picture for {limit_s:g} s") from None
                if packet.stream == "video":
                    silence.broken()
                yield packet
        finally:
            if isinstance(iterator, AsyncGenerator):
                await iterator.aclose()

    async def _opened_again(self) -> PacketSource | None:
        """The next connection, however long it takes; ``None`` if closed meanwhile."""
        told = ""
        while not await self._closed_within(self._wait_s()):
            self._failures += 1
            try:
                return await self._unless_closed(self._opener())
            except StreamerError as error:
                # The address was right once, or the caller has time: any of these may pass.
                reason = redacted(str(error))
                if reason != told:
                    log.warning("trying on: %s", self._with_label("cannot be opened", reason))
                told = reason
        return None

    def _wait_s(self) -> float:
        lost_for_s = (self._clock.now_ns() - self._lost_ns) / 1e9 if self._lost_ns else 0.0
        return self._patience.wait_s(self._failures, lost_for_s=lost_for_s, random=self._random)

    async def _closed_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._closed.wait()
        except TimeoutError:
            return False
        return True

    async def _unless_closed(self, opening: Awaitable[PacketSource]) -> PacketSource | None:
        """What ``opening`` gives; it is given up, and its result closed, on ``close``."""
        attempt = asyncio.ensure_future(opening)
        closing = asyncio.ensure_future(self._closed.wait())
        try:
            await asyncio.wait({attempt, closing}, return_when=asyncio.FIRST_COMPLETED)
            if not self._closed.is_set():
                return attempt.result()
            return None
        finally:
            closing.cancel()
            if self._closed.is_set() or not attempt.done():
                attempt.cancel()
                with suppress(asyncio.CancelledError, StreamerError):
                    await (await attempt).close()

    def _take(self, source: PacketSource) -> None:
        self._source = source
        self._video = source.video

    async def _release(self, source: PacketSource) -> None:
        if self._source is source:
            self._source = None
        with suppress(StreamerError, TimeoutError):
            async with asyncio.timeout(_CLOSE_WITHIN_S):
                await source.close()

    def _keeps_audio(self, audio: AudioInfo | None) -> bool:
        first = self._audio
        if first is None or audio is None:
            is_same = first is audio
        else:
            is_same = (first.codec, first.rate_hz, first.channels) == (
                *(audio.codec, audio.rate_hz),
                audio.channels,
            )
        if not is_same and not self._told_audio:
            self._told_audio = True
            log.warning(
                "%s: its audio was %s and is now %s; the outputs go on without it",
                self._label,
                _named(first),
                _named(audio),
            )
        return is_same and first is not None

    def _lose(self, reason: str) -> None:
        self.reason = redacted(reason)
        self._lost_ns = self._clock.now_ns()
        self._enter("lost", self.reason)

    def _with_label(self, what: str, reason: str) -> str:
        """One sentence of both that names the source once, as most reasons do themselves."""
        label = self._label
        if reason.startswith(f"{label} "):
            return f"{label} {what}: it{reason.removeprefix(label)}"
        # With its path the reason says more than the label, and what happened.
        return reason if reason.startswith(label) else f"{label} {what}: {reason}"

    def _enter(self, state: State, reason: str) -> None:
        if state == self._state:
            return
        self._state = state
        self._metrics.count(f"source.state.{state}")
        level = logging.WARNING if reason else logging.INFO
        if state == "connecting":
            level = logging.DEBUG  # that of every source, and where it fails the error says more
        text = self._with_label(f"is {state}", reason) if reason else f"{self._label} is {state}"
        log.log(level, "%s", text)
        if self._on_state is not None:
            self._on_state(state, reason)


def _named(audio: AudioInfo | None) -> str:
    if audio is None:
        return "none"
    return f"{audio.codec}, {audio.rate_hz} Hz, {audio.channels} channels"
