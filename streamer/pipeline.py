"""READ FIRST: one stream, the whole way of a frame from top to bottom.

source ─▶ packet link ─▶ decode ─▶ decoded link ─▶ enhance ─▶ enhanced link ─▶ pace ─▶ encode
─▶ leave ─▶ fan-out

``build.open_stream`` opens the parts; here they are linked, run and closed. Three workers, a thread
each: decode, enhance, encode. All else is on the event loop.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from streamer import report
from streamer.clock import Clock
from streamer.config import Changes, StreamSettings
from streamer.costs import FINISHED, Budget
from streamer.decode import Decoder
from streamer.enhance.chain import Chain
from streamer.errors import SinkError, SourceError
from streamer.frame import Frame, Packet
from streamer.gpu.door import Gpu
from streamer.link import Link, Overflow
from streamer.metrics import Metrics
from streamer.outlets import Outlets
from streamer.pace import lead_ms
from streamer.rendition import Rendition
from streamer.rtc.session import Session, View
from streamer.showing import Showing
from streamer.sinks.leaving import Leaving
from streamer.sources.base import FrameSource, PacketSource, Source
from streamer.sources.lasting import Lasting
from streamer.span import Span
from streamer.tally import Tally
from streamer.worker import Worker

LIVE_PACKETS = 60  # Two seconds of a 30 fps camera.
PATIENCE_NS = 1_000_000_000
"""What came at once after a standstill is soon decoded; more waiting for longer never ends."""

LIVE_FRAMES = 3
"""A shared machine stops for 100 ms now and then; at 30 fps nothing is lost then, since whoever has
others waiting behind it takes the cheapest tier. More would only be latency under steady overload."""

OFFLINE_DEPTH = 4  # Nothing is lost; a few items keep all three workers busy.


class Stream:
    """One stream, opened; ``run`` it once."""

    def __init__(
        self,
        settings: StreamSettings,
        *,
        source: Source,
        chain: Chain,
        outlets: Outlets,
        clock: Clock,
        metrics: Metrics,
        gpu: Gpu | None = None,
    ) -> None:
        """``gpu`` is where pictures are to be decoded; ``None``: on the processor."""
        self.settings = settings
        self._gpu = gpu
        self.source = source
        self.chain = chain
        self.metrics = metrics
        self.last_frame: Frame | None = None
        """The latest enhanced frame."""
        self._span = Span(settings.duration_s)
        self._tally = Tally(metrics, clock)
        self._outlets = outlets
        self._budget = Budget(settings.budget_ms, clock)
        self._fanouts = [rendition.fanout for rendition in outlets.renditions]
        self._leaving = Leaving(self._fanouts, settings, self._tally, clock=clock, metrics=metrics)
        self._clock = clock
        self._failure: SourceError | None = None
        self._decoder: Decoder | None = None
        self._stopping = asyncio.Event()
        wait = self._waits = settings.is_offline
        self._packets: Link[Packet] = Link(
            "packet_link",
            capacity=OFFLINE_DEPTH if wait else LIVE_PACKETS,
            overflow=Overflow.WAIT if wait else Overflow.SKIP_TO_KEYFRAME,
            is_keyframe=lambda packet: packet.is_keyframe,
            on_overflow=self._ask_source_for_keyframe,
            patience_ns=PATIENCE_NS,
            clock=clock,
        )
        self._decoded: Link[Frame] = Link(
            "decoded_link",
            capacity=OFFLINE_DEPTH if wait else LIVE_FRAMES,
            overflow=Overflow.WAIT if wait else Overflow.DROP_OLDEST,
        )
        # Waits in every case: a frame that was enhanced is never thrown away.
        self._enhanced: Link[Frame] = Link("enhanced_link", capacity=1, overflow=Overflow.WAIT)
        self._enhancer = Worker("enhance")
        self._showing = Showing.of(
            self._enhanced,
            settings=settings,
            fps=source.video.fps,
            budget_ms=lambda: self._budget.hold_ms,
            lead_ms=partial(lead_ms, self._budget.encode),
            rhythm=lambda: chain.rhythm,
            conceal=lambda time_s: self._enhancer.call(chain.conceal, time_s),
            newest=lambda time_s, shown: self._enhancer.call(chain.newest, time_s, shown),
            clock=clock,
            metrics=metrics,
        )
        self._keyframe_requests: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Move frames until the source ends or ``stop``; then finish every output.

        A source that breaks is an end too: what came before it is enhanced and written, and only
        then its error is raised.
        """
        async with AsyncExitStack() as opened, asyncio.TaskGroup() as tasks:
            opened.push_async_callback(self.source.close)
            opened.push_async_callback(self._enhancer.close)
            opened.push_async_callback(self._enhancer.call, self.chain.close)
            opened.callback(self._outlets.forget)
            tasks.create_task(self._read(), name="read")
            if isinstance(self.source, PacketSource):
                tasks.create_task(self._decode(), name="decode")
            tasks.create_task(self._enhance(), name="enhance")
            tasks.create_task(self._encode(), name="encode")
            tasks.create_task(self._leaving.run(), name="leave")
            for fanout in self._fanouts:
                tasks.create_task(fanout.run(), name="fan-out")
        damage = self._decoder.damage_to(self.settings.source) if self._decoder else None
        for failure in (self._failure, damage, *self._failed_outputs):
            if failure is not None:
                raise failure

    def change(self, changes: Changes) -> None:
        """Take new settings from the next frame on. Raises ``ConfigError``; nothing changes then."""
        if changes.tier is not None:
            self.chain.limit(changes.tier)
        if changes.budget_ms is not None:
            self._budget.budget_ms = changes.budget_ms
            self._leaving.set_budget(changes.budget_ms)
        if changes.bitrate_kbps is not None:
            self._outlets.set_bitrate(changes.bitrate_kbps)

    def stop(self) -> None:
        """End the stream as if its source had ended; outputs are finished."""
        self._stopping.set()

    @property
    def budget_ms(self) -> float:
        """As it holds now."""
        return self._budget.budget_ms

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def state(self) -> str:
        """``connecting``, ``live``, ``lost`` (its source, which is being looked for) or ``closed``."""
        if self._stopping.is_set():
            return "closed"
        return self.source.state if isinstance(self.source, Lasting) else "live"

    @property
    def reason(self) -> str:
        """Why its source is lost; empty while it is not."""
        lasting = self.source if isinstance(self.source, Lasting) else None
        return lasting.reason if lasting is not None and lasting.state == "lost" else ""

    async def answer(self, offer_sdp: str, *, view: View) -> Session:
        """Begin a WebRTC viewer's session; see ``Outlets.answer``."""
        return await self._outlets.answer(offer_sdp, view=view)

    async def hang_up(self, session_id: str) -> bool:
        """End a viewer's session; false if there is none of that name."""
        return await self._outlets.hang_up(session_id)

    def statistics(self) -> Mapping[str, Any]:
        """The numbers of now: timings over the last seconds, rates over the last two."""
        numbers = report.statistics(
            self.metrics,
            dropped=self.dropped,
            source=self.source.video,
            engines=self.chain.engines,
            last_frame=self.last_frame,
            out_fps=self._outlets.fps,
        )
        return numbers | {
            "name": self.name,
            "state": self.state,
            "reason": self.reason,
            "notice": self.notice,
            "reconnects": self.metrics.counted("source.reconnects"),
            "audio": report.describe_audio(self.source.audio),
            "output": {**numbers["output"], "bitrate_kbps": self._tally.bitrate_kbps},
            "fps": self._tally.fps,
            "steps": self.chain.steps.recent(),
            "prediction_gain_db": self.chain.prediction_gain_db,
            "viewers": sum(sink.viewers for sink in self._outlets.webrtc),
            "webrtc": [sink.statistics() for sink in self._outlets.webrtc],
            "uptime_s": self._tally.uptime_s,
        }

    def report(self) -> dict[str, Any]:
        """What ``--report`` writes: the whole run."""
        return {"notice": self.notice} | report.final(
            self.metrics,
            dropped=self.dropped,
            source=self.source.video,
            engines=self.chain.engines,
            media_s=self._tally.media_s,
        )

    @property
    def notice(self) -> str:
        """What the user must see of where things are done, and of outputs that broke while others go
        on; empty where all is as asked for."""
        told = [self.chain.notice, self._decoder.notice if self._decoder is not None else ""]
        return "; ".join(filter(None, [*told, *map(str, self._failed_outputs)]))

    @property
    def _failed_outputs(self) -> list[SinkError]:
        coded = [failure for fanout in self._fanouts for failure in fanout.failures]
        return [*coded, *self._outlets.raw.failures]

    @property
    def dropped(self) -> dict[str, int]:
        """Frames and packets lost so far, by place and reason; only what is not zero."""
        links = {f"{link.name}.full": link.dropped for link in (self._packets, self._decoded)}
        # Not by its protocol: that costs a quarter of a millisecond, and this is asked every second.
        if (skipped := getattr(self.source, "skipped", None)) is not None:
            links["source.skipped"] = skipped
        links["audio_gate.full"] = self._leaving.sound_dropped
        lost = Counter(links | self.metrics.counts("dropped."))
        for rendition in self._outlets.renditions:
            lost.update(rendition.fanout.dropped)
        return dict(+lost)

    async def _read(self) -> None:
        """Source to packet link; audio goes past everything, frames past decode."""
        reading = asyncio.ensure_future(self._read_all())
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            # Live, --duration is counted by the clock, so that a silent source ends as well.
            left_s = None if self.settings.is_offline else self.settings.duration_s
            await asyncio.wait(
                {reading, stopping}, return_when=asyncio.FIRST_COMPLETED, timeout=left_s
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

    async def _read_all(self) -> None:
        if isinstance(self.source, PacketSource):
            await self._read_packets(self.source)
        elif isinstance(self.source, FrameSource):
            async for frame in self.source.frames():
                self._span.begin(frame.time_s)
                if self._span.is_over(frame.time_s):
                    return
                await self._put_decoded([frame])

    async def _read_packets(self, source: PacketSource) -> None:
        async for packet in source.packets():
            if packet.stream == "audio":
                if not self._span.is_over(packet.time_s):
                    await self._leaving.sound(packet)
                continue
            self._span.begin(packet.time_s)
            # By dts: B-frames before the end are coded after a frame that lies behind it.
            if self._span.is_over(packet.dts * packet.time_base):
                return
            self._tally.read(packet)
            if (packet.follows_loss or packet.is_damaged) and not packet.is_keyframe:
                self._ask_source_for_keyframe()
            await self._packets.put(packet)

    async def _decode(self) -> None:
        video, clock, metrics = self.source.video, self._clock, self.metrics
        decoder = Decoder(
            video, low_delay=video.is_live, clock=clock, metrics=metrics, gpu=self._gpu
        )
        self._decoder = decoder
        async with Worker("decode") as worker:
            try:
                async for packet in self._packets:
                    refused = decoder.refused
                    await self._put_decoded(await worker.call(decoder.decode, packet))
                    if decoder.refused > refused:
                        self._ask_source_for_keyframe()
                if not self._stopping.is_set():
                    # Cut in the middle, what it still holds has holes: B-frames that were not read.
                    self._decoded.keep_all()
                    await self._put_decoded(await worker.call(decoder.flush))
            finally:
                await worker.call(decoder.close)
        await self._decoded.close()

    async def _put_decoded(self, frames: list[Frame]) -> None:
        for frame in frames:
            if self._span.is_over(frame.time_s):
                continue
            self._tally.decoded()
            self._showing.came(frame)
            await self._decoded.put(frame)
            self._showing.stir()

    async def _enhance(self) -> None:
        call, budget = self._enhancer.call, self._budget
        async for frame in self._decoded:
            is_backlog = self._has_backlog() and not self._decoded.keeps_all
            if budget.leaves_out(frame, is_waited_for=is_backlog):
                self.metrics.count("dropped.decoded_link.late")
                continue
            ready = await call(
                self.chain.process,
                frame,
                # Offline there is no such time.
                deadline_ns=None if self._waits else budget.deadline_ns(frame),
                with_comparison=self._outlets.is_compared,
                is_backlog=is_backlog,
                shown_s=self._showing.last_time_s,
            )
            finished_ns = self._clock.now_ns()
            for enhanced in ready:
                await self._enhanced.put(enhanced.stamped(FINISHED, finished_ns))
            if budget.is_standing:
                await self._enhanced.until_empty()
            if self.chain.predicts:
                waited, coding_ms = self._has_backlog, lead_ms(budget.encode)
                await call(self.chain.look, is_waited_for=waited, coding_ms=coding_ms)
                if not self._waits:
                    await self._showing.until_idle(unless=waited)
                for made in await call(self.chain.ahead, is_waited_for=waited, coding_ms=coding_ms):
                    await self._enhanced.put(made)
        for again in await call(self.chain.finish):
            await self._enhanced.put(again)
        await self._enhanced.close()

    def _has_backlog(self) -> bool:
        """Whether the next frame waits already, to be caught up with before the link drops it."""
        return not self._waits and bool(self._decoded.depth)

    async def _encode(self) -> None:
        async with Worker("encode") as worker:
            try:
                async for frame in self._shown():
                    if frame is None:
                        await self._leaving.sound_overdue()
                        continue
                    self.last_frame = frame
                    began_ns = self._clock.now_ns()
                    await self._encode_frame(worker, frame)
                    coded_ns = self._clock.now_ns()
                    self._budget.coded(frame, began_ns, coded_ns)
                    self._showing.coded(frame, coded_ns)
            finally:
                await worker.call(self._outlets.raw.close)
            for rendition in self._outlets.renditions:
                packets = await worker.call(rendition.encoder.flush)
                await self._leave(rendition, packets, counts=rendition is self._outlets.enhanced)
        await self._leaving.close()

    def _shown(self) -> AsyncIterator[Frame | None]:
        """Every frame at its time; offline there is no time to keep."""
        return aiter(self._enhanced) if self._waits else self._showing.frames()

    async def _encode_frame(self, worker: Worker, frame: Frame) -> None:
        wanted = self._outlets.wanted(frame)
        if self._outlets.raw:
            await worker.call(self._outlets.raw.write, frame)
        if not wanted:
            self._leaving.left(frame)
        for number, (rendition, planes) in enumerate(wanted):
            packets = await worker.call(rendition.encoder.encode, frame, planes)
            await self._leave(rendition, packets, counts=number == 0)

    async def _leave(self, rendition: Rendition, packets: list[Packet], *, counts: bool) -> None:
        for packet in packets:
            await self._leaving.put(packet, rendition.fanout, counts=counts)

    def _ask_source_for_keyframe(self) -> None:
        task = asyncio.ensure_future(self.source.request_keyframe())
        self._keyframe_requests.add(task)
        task.add_done_callback(self._keyframe_requests.discard)
