"""READ FIRST: one stream, the whole way of a frame from top to bottom.

source ─▶ packet link ─▶ decode ─▶ decoded link ─▶ enhance ─▶ enhanced link ─▶ encode ─▶ fan-out

``build.open_stream`` opens the parts; here they are linked, run and closed. Three workers, a thread each: decode, enhance, encode. All else is on the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from streamer import report
from streamer.clock import Clock
from streamer.config import StreamSettings
from streamer.decode import Decoder
from streamer.encode import Encoder
from streamer.enhance.chain import Chain
from streamer.errors import SinkError, SourceError, SourceLost
from streamer.frame import Frame, Origin, Packet, Planes
from streamer.link import Link, Overflow
from streamer.metrics import Metrics, Rate
from streamer.schedule import Costs
from streamer.sinks.fanout import FanOut
from streamer.sinks.raw import Y4mSink
from streamer.sinks.rtc_session import Session
from streamer.sinks.webrtc import WebRtcSink
from streamer.sources.base import FrameSource, PacketSource, Source
from streamer.worker import Worker

LIVE_PACKETS = 60
"""Two seconds of a 30 fps camera: decoding is fast, so more waiting only means it never ends."""

LIVE_FRAMES = 3
"""A shared machine stops for 100 ms now and then; at 30 fps nothing is lost then, since whoever has
others waiting behind it takes the cheapest tier. More would only be latency under steady overload."""

OFFLINE_DEPTH = 4
"""Offline nothing is lost; a few items keep all three workers busy."""


@dataclass(slots=True)
class Rendition:
    """One encode of the enhanced pictures, for all sinks that take it."""

    name: str
    encoder: Encoder
    fanout: FanOut
    webrtc: WebRtcSink | None
    is_for_viewers_only: bool
    """Whether nothing but WebRTC takes it."""

    @property
    def is_watched(self) -> bool:
        return self.webrtc is not None and self.webrtc.viewers > 0


class Stream:
    """One stream, opened; ``run`` it once."""

    def __init__(
        self,
        settings: StreamSettings,
        *,
        source: Source,
        chain: Chain,
        enhanced: Rendition | None,
        comparison: Rendition | None,
        raw_sinks: Sequence[Y4mSink],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """``enhanced`` is ``None`` where every output takes pictures instead of packets."""
        self.settings = settings
        self.source = source
        self.chain = chain
        self.metrics = metrics
        self.enhanced = enhanced
        self.comparison = comparison
        self.last_frame: Frame | None = None
        """The latest enhanced frame, for statistics."""
        self.media_s = (Fraction(0), Fraction(0))
        """Times of the first and of the last frame sent."""
        self._end_s: Fraction | None = None
        """Time of the first frame that ``--duration`` leaves out; known from the first on."""
        self._began_ns = clock.now_ns()
        self._rate_in = Rate()
        self._rate_out = Rate()
        self._bits_out = Rate()
        self._encode_costs = Costs(clock)
        self._raw_sinks = raw_sinks
        self._clock = clock
        self._failure: SourceError | None = None
        self._decoder: Decoder | None = None
        self._stopping = asyncio.Event()
        wait = settings.is_offline
        self._packets: Link[Packet] = Link(
            "packet_link",
            capacity=OFFLINE_DEPTH if wait else LIVE_PACKETS,
            overflow=Overflow.WAIT if wait else Overflow.SKIP_TO_KEYFRAME,
            is_keyframe=lambda packet: packet.is_keyframe,
            on_overflow=self._ask_source_for_keyframe,
        )
        self._decoded: Link[Frame] = Link(
            "decoded_link",
            capacity=OFFLINE_DEPTH if wait else LIVE_FRAMES,
            overflow=Overflow.WAIT if wait else Overflow.DROP_OLDEST,
        )
        # Waits in every case: a frame that was enhanced is never thrown away.
        self._enhanced: Link[Frame] = Link("enhanced_link", capacity=1, overflow=Overflow.WAIT)
        self._keyframe_requests: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Move frames until the source ends or ``stop``; then finish every output.

        A source that breaks is an end too: what came before it is enhanced and written, and only
        then its error is raised.
        """
        fanouts = [r.fanout for r in (self.enhanced, self.comparison) if r is not None]
        async with AsyncExitStack() as opened, asyncio.TaskGroup() as tasks:
            opened.push_async_callback(self.source.close)
            tasks.create_task(self._read(), name="read")
            if isinstance(self.source, PacketSource):
                tasks.create_task(self._decode(), name="decode")
            tasks.create_task(self._enhance(), name="enhance")
            tasks.create_task(self._encode(), name="encode")
            for fanout in fanouts:
                tasks.create_task(fanout.run(), name="fan-out")
        failures = [failure for fanout in fanouts for failure in fanout.failures]
        for failure in (self._failure, self._damage(), *failures):
            if failure is not None:
                raise failure

    def stop(self) -> None:
        """End the stream as if its source had ended; outputs are finished."""
        self._stopping.set()

    @property
    def name(self) -> str:
        return self.settings.name

    async def answer(self, offer_sdp: str, *, view: Literal["enhanced", "compare"]) -> Session:
        """Begin a WebRTC viewer's session. Raises ``SinkError`` where there is no such output."""
        rendition = self.comparison if view == "compare" else self.enhanced
        if rendition is None or rendition.webrtc is None:
            raise SinkError(f"the stream {self.name} has no WebRTC output; start it with webrtc:")
        return await rendition.webrtc.answer(offer_sdp)

    async def hang_up(self, session_id: str) -> bool:
        """End a viewer's session; false if there is none of that name."""
        for rendition in filter(None, (self.enhanced, self.comparison)):
            if rendition.webrtc is not None and await rendition.webrtc.hang_up(session_id):
                return True
        return False

    def statistics(self) -> Mapping[str, Any]:
        """The numbers of now: timings over the last seconds, rates over the last two."""
        now_ns = self._clock.now_ns()
        numbers = report.statistics(
            self.metrics,
            dropped=self.dropped,
            source=self.source.video,
            engines=self.chain.engines,
            last_frame=self.last_frame,
        )
        webrtc = [r.webrtc for r in (self.enhanced, self.comparison) if r and r.webrtc]
        return {
            **numbers,
            "name": self.name,
            "output": {
                **numbers["output"],
                "bitrate_kbps": round(self._bits_out.per_second(now_ns) / 1000),
            },
            "fps": {
                "in": round(self._rate_in.per_second(now_ns), 2),
                "out": round(self._rate_out.per_second(now_ns), 2),
            },
            "viewers": sum(sink.viewers for sink in webrtc),
            "webrtc": [sink.statistics() for sink in webrtc],
            "uptime_s": round((now_ns - self._began_ns) / 1e9, 1),
        }

    def report(self) -> dict[str, Any]:
        """What ``--report`` writes: the whole run."""
        return report.final(
            self.metrics,
            dropped=self.dropped,
            source=self.source.video,
            engines=self.chain.engines,
            media_s=self.media_s,
        )

    @property
    def dropped(self) -> dict[str, int]:
        """Frames and packets lost so far, by place and reason; only what is not zero."""
        links = {f"{link.name}.full": link.stats.dropped for link in (self._packets, self._decoded)}
        if isinstance(self.source, FrameSource):
            links["source.skipped"] = self.source.skipped
        lost = {name: number for name, number in links.items() if number}
        return {**lost, **self.metrics.counts("dropped.")}

    async def _read(self) -> None:
        """Source to packet link; audio goes past everything, frames past decode."""
        reading = asyncio.ensure_future(self._read_all())
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait(
                {reading, stopping}, return_when=asyncio.FIRST_COMPLETED, timeout=self._time_left_s
            )
            if reading.done():
                reading.result()
        except SourceError as error:
            self._failure = error
        finally:
            for task in (reading, stopping):
                task.cancel()
            await asyncio.gather(reading, stopping, return_exceptions=True)
            await self._packets.close()
            if isinstance(self.source, FrameSource):
                await self._decoded.close()

    @property
    def _time_left_s(self) -> float | None:
        """Live, ``--duration`` is counted by the clock, so that a silent source ends as well."""
        return self.settings.duration_s if not self.settings.is_offline else None

    async def _read_all(self) -> None:
        if isinstance(self.source, PacketSource):
            await self._read_packets(self.source)
        elif isinstance(self.source, FrameSource):
            async for frame in self.source.frames():
                self._begin_duration(frame.time_s)
                if self._is_over(frame.time_s):
                    return
                await self._put_decoded([frame])

    async def _read_packets(self, source: PacketSource) -> None:
        async for packet in source.packets():
            if packet.stream == "audio":
                if self.enhanced is not None and not self._is_over(packet.time_s):
                    await self.enhanced.fanout.send(packet)
                continue
            self._begin_duration(packet.time_s)
            # By dts: B-frames before the end are coded after a frame that lies behind it.
            if self._is_over(packet.dts * packet.time_base):
                return
            self.metrics.count("read")
            self.metrics.count("read.after_loss", packet.follows_loss)
            await self._packets.put(packet)

    async def _decode(self) -> None:
        low_delay = self.source.video.is_live
        decoder = Decoder(
            self.source.video, low_delay=low_delay, clock=self._clock, metrics=self.metrics
        )
        self._decoder = decoder
        async with Worker("decode") as worker:
            async for packet in self._packets:
                await self._put_decoded(await worker.call(decoder.decode, packet))
            if not self._stopping.is_set():
                # Cut in the middle, what it still holds has holes: B-frames that were not read.
                await self._put_decoded(await worker.call(decoder.flush))
        await self._decoded.close()

    async def _put_decoded(self, frames: list[Frame]) -> None:
        for frame in frames:
            if self._is_over(frame.time_s):
                continue
            self.metrics.count("decoded")
            self._rate_in.tick(self._clock.now_ns())
            await self._decoded.put(frame)

    def _begin_duration(self, first_s: Fraction) -> None:
        if self._end_s is None and self.settings.duration_s is not None:
            self._end_s = first_s + Fraction(self.settings.duration_s)

    def _is_over(self, time_s: Fraction) -> bool:
        """Whether ``--duration`` has ended by then."""
        return self._end_s is not None and time_s >= self._end_s

    async def _enhance(self) -> None:
        async with Worker("enhance") as worker:
            async for frame in self._decoded:
                ready = await worker.call(
                    self.chain.process,
                    frame,
                    deadline_ns=self._deadline_ns(frame),
                    with_comparison=self.comparison is not None and self.comparison.is_watched,
                )
                for enhanced in ready:
                    await self._enhanced.put(enhanced)
            await worker.call(self.chain.close)
        await self._enhanced.close()

    def _deadline_ns(self, frame: Frame) -> int | None:
        """When enhancing must be done so that the encoded frame leaves within the budget."""
        if self.settings.is_offline:
            return None
        if self._decoded.depth:
            # The next one waits already: catch up before the link is full and drops it.
            return self._clock.now_ns()
        left_ms = self.settings.budget_ms - self._encode_costs.p95_ms()
        return frame.arrived_ns + round(left_ms * 1_000_000)

    async def _encode(self) -> None:
        async with Worker("encode") as worker:
            try:
                async for frame in self._enhanced:
                    self.last_frame = frame
                    began_ns = self._clock.now_ns()
                    await self._encode_frame(worker, frame)
                    self._encode_costs.add((self._clock.now_ns() - began_ns) / 1e6)
            finally:
                for sink in self._raw_sinks:
                    await worker.call(sink.close)
            for rendition in filter(None, (self.enhanced, self.comparison)):
                packets = await worker.call(rendition.encoder.flush)
                await self._send(rendition, packets, counts=rendition is self.enhanced)
                await rendition.fanout.close()

    async def _encode_frame(self, worker: Worker, frame: Frame) -> None:
        wanted = self._wanted(frame)
        for sink in self._raw_sinks:
            await worker.call(sink.write, frame)
        if not wanted:
            self._count_sent(frame)
        for number, (rendition, planes) in enumerate(wanted):
            packets = await worker.call(rendition.encoder.encode, frame, planes)
            await self._send(rendition, packets, counts=number == 0)

    def _wanted(self, frame: Frame) -> list[tuple[Rendition, Planes]]:
        """What is encoded now: the comparison while it is watched, and the enhanced picture
        unless the comparison is all that anybody looks at."""
        wanted = []
        comparison, enhanced = self.comparison, self.enhanced
        is_compared = comparison is not None and comparison.is_watched and frame.comparison
        if enhanced is not None and not (
            is_compared and enhanced.is_for_viewers_only and not enhanced.is_watched
        ):
            wanted.append((enhanced, frame.planes))
        if comparison is not None and is_compared and frame.comparison is not None:
            wanted.append((comparison, frame.comparison))
        return wanted

    async def _send(self, rendition: Rendition, packets: list[Packet], *, counts: bool) -> None:
        for packet in packets:
            await rendition.fanout.send(packet)
            self._bits_out.tick(self._clock.now_ns(), 8 * len(packet.payload))
            if counts:
                self._count_sent(packet)

    def _count_sent(self, item: Packet | Frame) -> None:
        first_s = self.media_s[0] if self.metrics.counted("sent") else item.time_s
        self.media_s = (first_s, item.time_s)
        self._rate_out.tick(self._clock.now_ns())
        self.metrics.count("sent")
        self.metrics.count(f"sent.{item.origin.value}")
        name = (
            "arrived_to_sent" if item.origin is Origin.DECODED else f"{item.origin.value}_to_sent"
        )
        self.metrics.time(name, (self._clock.now_ns() - item.arrived_ns) / 1e6)

    def _damage(self) -> SourceLost | None:
        if self._decoder is None or not self._decoder.refused or self.source.video.is_live:
            return None
        return SourceLost(
            f"{self.settings.source} is damaged: {self._decoder.refused} of its packets could not "
            "be decoded in full; the output has every other frame, copy the file again for the rest"
        )

    def _ask_source_for_keyframe(self) -> None:
        task = asyncio.ensure_future(self.source.request_keyframe())
        self._keyframe_requests.add(task)
        task.add_done_callback(self._keyframe_requests.discard)
