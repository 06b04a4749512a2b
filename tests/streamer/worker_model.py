"""A model of the enhance worker: real frames at their times, a short link, one server, true costs."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from streamer.clock import ManualClock
from streamer.metrics import percentile
from streamer.rungs import Rung, Step
from streamer.schedule import TierLadder

MS = 1_000_000
MADE = "made"

Load = Callable[[float], float]
"""By how much everything takes longer at a time in seconds."""


@dataclass(frozen=True)
class Shown:
    """A real frame that left the worker."""

    arrived_s: float
    rung: Rung
    latency_ms: float
    made: int
    waited_ms: float
    """Between its coming and its being begun."""


@dataclass
class Run:
    """What came out of a simulation."""

    shown: list[Shown] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    dropped_s: list[float] = field(default_factory=list)

    def between(self, begin_s: float, end_s: float) -> list[Shown]:
        return [frame for frame in self.shown if begin_s <= frame.arrived_s < end_s]

    def p95_ms(self, begin_s: float, end_s: float) -> float:
        ordered = sorted(frame.latency_ms for frame in self.between(begin_s, end_s))
        return percentile(ordered, 0.95)

    def names(self, begin_s: float, end_s: float) -> list[str]:
        return [frame.rung.name for frame in self.between(begin_s, end_s)]

    def shares(self, begin_s: float, end_s: float) -> dict[str, float]:
        names = self.names(begin_s, end_s)
        return {name: count / len(names) for name, count in Counter(names).most_common()}

    def drops(self, begin_s: float, end_s: float) -> int:
        return sum(begin_s <= dropped_s < end_s for dropped_s in self.dropped_s)

    def reasons(self, begin_s: float, end_s: float) -> Counter[str]:
        return Counter(s.reason for s in self.steps if begin_s <= s.at_ns / 1e9 < end_s)

    def lasting_steps(self, begin_s: float, end_s: float) -> int:
        reasons = self.reasons(begin_s, end_s)
        return reasons["too_slow"] + reasons["recovered"]

    def settled_s(self, name: str, after_s: float) -> float:
        """From when on, counted from ``after_s``, the ladder holds the rung of that name."""
        steps = [step for step in self.steps if step.reason in ("too_slow", "recovered")]
        held = [step for step in steps if step.at_ns / 1e9 >= after_s]
        last = steps[-1].after.name if steps else name
        if last != name:
            return float("inf")
        return held[-1].at_ns / 1e9 - after_s if held else 0.0


@dataclass(frozen=True, kw_only=True)
class Worker:
    """Costs are those of a quiet machine, in milliseconds, best tier first; ``made`` of one frame."""

    costs_ms: Mapping[str, float]
    made_ms: float = 0.0
    made: int = 0
    fps: float = 30.0
    budget_ms: float = 80.0
    encode_ms: float = 10.0
    link_frames: int = 3
    noise: float = 0.0
    seed: int = 1
    deaf: frozenset[str] = frozenset()
    """Tiers that a load does not slow down."""
    alone_ms: Mapping[str, float] = field(default_factory=dict)
    """What networks took alone for a picture of 640x360, which the ladder knows before the first frame."""
    stalls_hz: float = 0.0
    """How often the core is taken away while there is work, for 10 to 50 ms."""

    def run(
        self,
        duration_s: float,
        *,
        load: Load = lambda _: 1.0,
        stall_ms: Callable[[int], float] = lambda _: 0.0,
        size: Callable[[float], tuple[int, int]] = lambda _: (640, 360),
        is_offline: bool = False,
    ) -> Run:
        """``stall_ms`` is added to the cost of the n-th frame; a larger ``size`` costs by its area."""
        clock, run, noise = ManualClock(), Run(), random.Random(self.seed)
        stalls = random.Random(self.seed)
        ladder = TierLadder(
            tuple(self.costs_ms),
            clock,
            makes_frames=bool(self.made),
            on_step=run.steps.append,
            pixel_ns={tier: 1e6 * ms / (640 * 360) for tier, ms in self.alone_ms.items()},
        )
        interval_ms = 1000 / self.fps
        waiting: deque[float] = deque()
        arriving = deque(n * interval_ms for n in range(round(duration_s * self.fps)))
        number = 0

        def cost_ms(quiet_ms: float, area: float, tier: str = MADE) -> float:
            factor = max(0.3, 1 + self.noise * noise.gauss(0, 1))
            slowed = 1.0 if tier in self.deaf else load(clock.now_ns() / 1e9)
            spent_ms = quiet_ms * area * factor * slowed
            if stalls.random() < self.stalls_hz * spent_ms / 1000:
                spent_ms += stalls.uniform(10, 50)
            return spent_ms

        while arriving or waiting:
            now_ms = clock.now_ns() / MS
            if not waiting and arriving[0] > now_ms:
                clock.advance_ms(arriving[0] - now_ms)
                now_ms = clock.now_ns() / MS
            while arriving and arriving[0] <= now_ms + 1e-6:
                waiting.append(arriving.popleft())
                if len(waiting) > self.link_frames:
                    run.dropped_s.append(waiting.popleft() / 1000)
            arrived_ms = waiting.popleft()
            waited_ms = now_ms - arrived_ms
            picture = size(arrived_ms / 1000)
            area = picture[0] * picture[1] / (640 * 360)
            deadline_ns = round((arrived_ms + self.budget_ms - self.encode_ms) * MS)
            rung = ladder.choose(
                None if is_offline else deadline_ns,
                size=picture,
                interval_ms=interval_ms,
                made=self.made,
                is_backlog=bool(waiting),
            )
            spent_ms = cost_ms(self.costs_ms[rung.tier], area, rung.tier) + stall_ms(number)
            number += 1
            clock.advance_ms(spent_ms)
            ladder.spent(rung, spent_ms, size=picture)
            latency_ms = clock.now_ns() / MS - arrived_ms + self.encode_ms
            made = 0
            for _ in range(self.made if rung.makes_frames else 0):
                if not is_offline and not ladder.can_make(deadline_ns, size=picture):
                    break
                spent_ms = cost_ms(self.made_ms, area)
                clock.advance_ms(spent_ms)
                ladder.spent_making(spent_ms, size=picture)
                made += 1
            run.shown.append(Shown(arrived_ms / 1000, rung, latency_ms, made, waited_ms))
        return run
