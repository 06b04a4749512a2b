"""A model of all that a doubled picture passes: the real ladder, links, pacer and leaving, with decoding,
enhancing, making and coding that take their time by a virtual clock."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

from streamer.clock import ManualClock
from streamer.config import SinkSpec, StreamSettings
from streamer.costs import FINISHED, Budget
from streamer.frame import RTP_TIME_BASE, Frame, Origin, Packet
from streamer.hold import Hold
from streamer.link import Link, Overflow
from streamer.metrics import Metrics, percentile
from streamer.pace import Pacer, Pacing, lead_ms
from streamer.pipeline import LIVE_FRAMES
from streamer.rungs import Step
from streamer.schedule import TierLadder
from streamer.showing import Showing
from streamer.sinks.fanout import FanOut
from streamer.sinks.leaving import Leaving
from streamer.tally import Tally
from tests.streamer.pictures import empty, frame_of
from tests.streamer.test_pace import Steady
from tests.streamer.virtual_time import run

PLANES = empty(width=16, height=16)
SIZE = (640, 360)
BUDGET_MS = 80.0
INTERVAL_MS = 1000 / 30
QUICK = (("lite", 16.0), ("nano", 8.0), ("plain", 2.0))
"""The best and a made frame take three quarters of the interval on a quiet machine."""


@dataclass
class Left:
    """What left, and when; a sink."""

    clock: ManualClock
    metrics: Metrics
    packets: list[tuple[Packet, int]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    overflowed: int = 0
    """Frames that the link of decoded ones lost."""

    async def send(self, packet: Packet) -> None:
        self.packets.append((packet, self.clock.now_ns()))

    async def close(self) -> None:
        """Nothing is open."""

    @property
    def left_out(self) -> int:
        """Frames that were not worth their time."""
        return self.metrics.counted("dropped.decoded_link.late")

    def latencies_ms(self, begin_s: float, end_s: float) -> list[float]:
        """From arrived to left, of the real frames that arrived within; sorted."""
        return sorted(
            (at_ns - packet.arrived_ns) / 1e6
            for packet, at_ns in self.packets
            if packet.origin is Origin.DECODED and begin_s <= packet.arrived_ns / 1e9 < end_s
        )

    def worst_p95_ms(self, begin_s: float, end_s: float, *, window_s: float = 5.0) -> float:
        """The highest of windows that begin every half second."""
        count = int((end_s - begin_s - window_s) * 2) + 1
        begins_s = [begin_s + number / 2 for number in range(count)]
        return max(percentile(self.latencies_ms(at, at + window_s), 0.95) for at in begins_s)

    def settled_s(self, name: str, after_s: float) -> float:
        """From when on, counted from ``after_s``, the rung of that name is held."""
        lasting = [step for step in self.steps if step.reason in ("too_slow", "recovered")]
        if not lasting or lasting[-1].after.name != name:
            return 0.0 if not lasting else float("inf")
        return max(0.0, lasting[-1].at_ns / 1e9 - after_s)


@dataclass(kw_only=True)
class Doubled:
    """A camera at 30 fps whose frames are doubled; costs in ms on a quiet machine."""

    costs_ms: Mapping[str, float] = field(default_factory=lambda: dict(QUICK))
    made_ms: float = 8.0
    decode_ms: float = 2.0
    encode_ms: float = 7.0
    noise: float = 0.2
    late_ms: Callable[[int], float] = lambda _: 0.0
    """How much later than it was sent a frame arrives."""
    load: Callable[[float], float] = lambda _: 1.0
    """By how much everything takes longer at a time in seconds."""
    seed: int = 1

    def run(self, seconds: float) -> Left:
        clock = ManualClock()
        left = Left(clock, Metrics())
        run(_Play(self, clock, left).all(round(seconds * 30)), clock)
        return left


class _Play:
    """One run."""

    def __init__(self, model: Doubled, clock: ManualClock, left: Left) -> None:
        self._model = model
        self._clock = clock
        self._left = left
        self._noise = random.Random(model.seed)
        self._budget = Budget(BUDGET_MS, clock)
        self._decoded: Link[Frame] = Link(
            "decoded_link", capacity=LIVE_FRAMES, overflow=Overflow.DROP_OLDEST
        )
        self._enhanced: Link[Frame] = Link("enhanced_link", capacity=1, overflow=Overflow.WAIT)
        self._ladder = TierLadder(
            tuple(model.costs_ms), clock, makes_frames=True, on_step=left.steps.append
        )
        pacing = Pacing(
            is_even=True,
            conceals=False,
            budget_ms=lambda: self._budget.hold_ms,
            lead_ms=lambda: lead_ms(self._budget.encode),
        )
        self._showing = Showing(
            self._enhanced,
            pacer=Pacer(pacing, rhythm=self._rhythm, clock=clock, metrics=left.metrics),
            hold=Hold(clock, fps=Fraction(30)),
            conceal=nothing,
            clock=clock,
        )
        self._fanout = FanOut([("left", left)], may_drop=True, request_keyframe=lambda: None)
        self._leaving = Leaving(
            [self._fanout],
            StreamSettings(
                source="rtsp://camera/", sinks=(SinkSpec(kind="null"),), budget_ms=BUDGET_MS
            ),
            Tally(left.metrics, clock),
            clock=clock,
            metrics=left.metrics,
        )

    async def all(self, count: int) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._shoot(count))
            tasks.create_task(self._enhance())
            tasks.create_task(self._leaving.run())
            tasks.create_task(self._fanout.run())
            async for frame in self._showing.frames():
                if frame is None:
                    continue
                began_ns = self._clock.now_ns()
                await self._spend(self._model.encode_ms)
                await self._leaving.put(packet_of(frame), self._fanout, counts=True)
                coded_ns = self._clock.now_ns()
                self._budget.coded(frame, began_ns, coded_ns)
                self._showing.coded(frame, coded_ns)
            await self._leaving.close()
        self._left.overflowed = self._decoded.dropped

    async def _shoot(self, count: int) -> None:
        for number in range(count):
            due_s = (number * INTERVAL_MS + self._model.late_ms(number)) / 1000
            await asyncio.sleep(max(0.0, due_s - self._clock.now_ns() / 1e9))
            arrived_ns = self._clock.now_ns()
            await self._spend(self._model.decode_ms)
            await self._decoded.put(frame_at(Fraction(number, 30), arrived_ns))
        await self._decoded.close()

    async def _enhance(self) -> None:
        """As the pipeline and the chain do it."""
        last: Frame | None = None
        async for frame in self._decoded:
            is_backlog = bool(self._decoded.depth)
            if self._budget.leaves_out(frame, is_waited_for=is_backlog):
                self._left.metrics.count("dropped.decoded_link.late")
                continue
            ready = await self._processed(frame, last, is_backlog=is_backlog)
            finished_ns, last = self._clock.now_ns(), frame
            for each in ready:
                await self._enhanced.put(each.stamped(FINISHED, finished_ns))
            if self._budget.is_standing:
                await self._enhanced.until_empty()
        await self._enhanced.close()

    async def _processed(
        self, frame: Frame, last: Frame | None, *, is_backlog: bool
    ) -> list[Frame]:
        deadline_ns, ladder = self._budget.deadline_ns(frame), self._ladder
        rung = ladder.choose(
            deadline_ns, size=SIZE, interval_ms=INTERVAL_MS, made=1, is_backlog=is_backlog
        )
        ladder.spent(rung, await self._spend(self._model.costs_ms[rung.tier]), size=SIZE)
        if last is None or not (rung.makes_frames and ladder.can_make(deadline_ns, size=SIZE)):
            return [frame]
        ladder.spent_making(await self._spend(self._model.made_ms), size=SIZE)
        pts = (last.pts + frame.pts) // 2
        return [replace(frame, pts=pts, origin=Origin.INTERPOLATED), frame]

    async def _spend(self, quiet_ms: float) -> float:
        factor = max(0.3, 1 + self._model.noise * self._noise.gauss(0, 1))
        spent_ms = quiet_ms * factor * self._model.load(self._clock.now_ns() / 1e9)
        await asyncio.sleep(spent_ms / 1000)
        return spent_ms

    def _rhythm(self) -> Steady:
        makes_frames = self._ladder.rung.makes_frames
        return Steady(step_s=Fraction(1, 60 if makes_frames else 30), makes_frames=makes_frames)


async def nothing(_: Fraction) -> None:
    """No frame stands in for a missing one."""


def frame_at(time_s: Fraction, arrived_ns: int) -> Frame:
    frame = frame_of(PLANES, pts=round(time_s / RTP_TIME_BASE))
    return replace(frame, time_base=RTP_TIME_BASE, arrived_ns=arrived_ns)


def packet_of(frame: Frame) -> Packet:
    return Packet(
        payload=b"x",
        pts=frame.pts,
        dts=frame.pts,
        time_base=frame.time_base,
        arrived_ns=frame.arrived_ns,
        origin=frame.origin,
        stamps_ns=frame.stamps_ns,
    )
