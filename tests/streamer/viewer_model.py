"""A model of what a viewer sees of a camera behind a lossy line: the real pacer, the real showing, and
by a virtual clock the worker that enhances and the encoder."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise

from streamer.clock import ManualClock
from streamer.costs import Costs
from streamer.enhance.cadence import Cadence
from streamer.enhance.chain import Rhythm
from streamer.frame import RTP_TIME_BASE, Damage, Frame, Origin
from streamer.hold import Hold
from streamer.link import Link, Overflow
from streamer.metrics import Metrics
from streamer.pace import Pacer, Pacing
from streamer.showing import Showing
from tests.streamer import virtual_time
from tests.streamer.pictures import empty, frame_of

PLANES = empty(width=16, height=16)


@dataclass(frozen=True)
class Arrival:
    """A picture that reached the decoder."""

    number: int
    at_ms: float
    is_damaged: bool = False


@dataclass(frozen=True, kw_only=True)
class Line:
    """Packets of ``fps`` pictures a second, of which a line loses some in bursts (Gilbert); a gap is
    waited for before what lies behind it is handed on."""

    fps: int = 30
    packets: int = 6
    """Of each picture; they come within 2 ms."""
    share: float = 0.05
    burst: float = 4.0
    reorder_ms: float = 50.0
    jitter_ms: float = 1.0
    seed: int = 1

    def arrivals(self, count: int) -> list[Arrival]:
        numbers, is_losing = random.Random(self.seed), False
        enter = self.share / self.burst / (1 - self.share)
        found: list[Arrival] = []
        open_unit: tuple[int, int] | None = None
        was_lost, released_ms = False, 0.0
        for number in range(count):
            late_ms = numbers.uniform(0, self.jitter_ms)
            for index in range(self.packets):
                is_losing = numbers.random() < (1 - 1 / self.burst if is_losing else enter)
                if is_losing and number >= self.fps:
                    was_lost = True
                    continue
                at_ms = 1000 * number / self.fps + late_ms + 2 * index / self.packets
                released_ms = max(released_ms, at_ms + (self.reorder_ms if was_lost else 0))
                was_lost = False
                if open_unit is not None and open_unit[0] != number:
                    found.append(Arrival(open_unit[0], released_ms, is_damaged=True))
                    open_unit = None
                got = 1 if open_unit is None else open_unit[1] + 1
                open_unit = (number, got)
                if index == self.packets - 1:
                    found.append(Arrival(number, released_ms, is_damaged=got < self.packets))
                    open_unit = None
        return found


# Without repr: asyncio prints what its main task has come to, pictures and all.
@dataclass(repr=False)
class Seen:
    """What the viewer got."""

    shown: list[tuple[Frame, float]] = field(default_factory=list)
    """Frames and when they were encoded, in ms."""

    @property
    def stands_ms(self) -> list[float]:
        """For how long each picture stood."""
        return [after - at for (_, at), (_, after) in pairwise(self.shown)]

    def count(self, origin: Origin) -> int:
        return sum(frame.origin is origin for frame, _ in self.shown)


@dataclass(kw_only=True)
class Stream:
    """Costs in ms: of a real frame, of mending a damaged one, of a plain one, of one that stands in.
    Each differs by ``spread``, of the natural logarithm."""

    fps: int = 30
    real_ms: float = 10.0
    mend_ms: float = 15.0
    plain_ms: float = 3.0
    stand_in_ms: float = 10.0
    encode_ms: float = 8.0
    spread: float = 0.0
    conceals: bool = True

    def __post_init__(self) -> None:
        self.clock, self.metrics, self.cadence = ManualClock(), Metrics(), Cadence()
        self._random = random.Random(7)
        self._stand_in_costs = Costs(self.clock)
        self._decoded: deque[Arrival] = deque()
        self._decoded_s: Fraction | None = None
        self._link: Link[Frame] = Link("enhanced_link", capacity=1, overflow=Overflow.WAIT)
        self._pacer = Pacer(
            Pacing(is_even=False, conceals=self.conceals, budget_ms=lambda: 70, lead_ms=lambda: 0),
            rhythm=self._rhythm,
            clock=self.clock,
            metrics=self.metrics,
        )

    def watch(self, arrivals: list[Arrival]) -> Seen:
        return virtual_time.run(self._watch(arrivals), self.clock)

    async def _watch(self, arrivals: list[Arrival]) -> Seen:
        self._came, self._worker = asyncio.Event(), asyncio.Lock()
        seen = Seen()
        showing = Showing(
            self._link,
            pacer=self._pacer,
            hold=Hold(self.clock, fps=Fraction(self.fps)),
            conceal=self._conceal,
            clock=self.clock,
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._arrive(arrivals))
            tasks.create_task(self._enhance(len(arrivals)))
            async for frame in showing.frames():
                if frame is not None:
                    await self._spend(self.encode_ms)
                    seen.shown.append((frame, self.clock.now_ns() / 1e6))
        return seen

    async def _arrive(self, arrivals: list[Arrival]) -> None:
        for arrival in arrivals:
            await asyncio.sleep(max(0.0, arrival.at_ms / 1000 - self.clock.now_ns() / 1e9))
            time_s = Fraction(arrival.number, self.fps)
            if self._decoded_s is not None:
                self.cadence.see(time_s - self._decoded_s)
            self._decoded_s = time_s
            self._decoded.append(arrival)
            self._came.set()

    async def _enhance(self, count: int) -> None:
        for _ in range(count):
            while not self._decoded:
                self._came.clear()
                await self._came.wait()
            arrival = self._decoded.popleft()
            time_s, last_s = Fraction(arrival.number, self.fps), self._pacer.last_time_s
            is_past = last_s is not None and time_s <= last_s
            cost_ms = self.plain_ms if is_past or self._decoded else self.real_ms
            cost_ms += self.mend_ms if arrival.is_damaged else 0
            async with self._worker:
                await self._spend(cost_ms)
            frame = self._frame(time_s, Origin.DECODED, arrival.at_ms)
            damage = Damage(pictures_since=0) if arrival.is_damaged else None
            await self._link.put(replace(frame, damage=damage))
        await self._link.close()

    async def _conceal(self, time_s: Fraction) -> Frame | None:
        assert self._decoded_s is not None
        if self._decoded_s > time_s - Fraction(1, 2 * self.fps):
            return None
        async with self._worker:
            self._stand_in_costs.add(await self._spend(self.stand_in_ms))
        return self._frame(time_s, Origin.PREDICTED, self.clock.now_ns() / 1e6)

    async def _spend(self, usual_ms: float) -> float:
        """What it took this time, in ms."""
        cost_ms = usual_ms * self._random.lognormvariate(0, self.spread)
        await asyncio.sleep(cost_ms / 1000)
        return cost_ms

    def _frame(self, time_s: Fraction, origin: Origin, arrived_ms: float) -> Frame:
        return replace(
            frame_of(PLANES, pts=round(time_s / RTP_TIME_BASE)),
            time_base=RTP_TIME_BASE,
            origin=origin,
            arrived_ns=round(arrived_ms * 1e6),
        )

    def _rhythm(self) -> Rhythm:
        costs = self._stand_in_costs
        return Rhythm(
            interval_s=self.cadence.interval_s,
            step_s=self.cadence.interval_s,
            is_regular=self.cadence.is_regular,
            spread_s=self.cadence.spread_s,
            stand_in_s=Fraction(max(costs.p95_ms(), costs.newest_ms) or self.stand_in_ms) / 1000,
        )
