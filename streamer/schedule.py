"""Deadlines, and the step of the quality ladder that a frame can still afford."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from streamer.clock import Clock
from streamer.metrics import Samples

COST_WINDOW = 90
"""Frames over which a tier's cost is learnt: three seconds at 30 fps."""

RETRY_NS = 2_000_000_000
"""A tier that has not run for this long is tried again: its old cost proves nothing."""


@dataclass(slots=True)
class Tier:
    """One step of the ladder and what it has cost lately."""

    name: str
    costs_ms: Samples = field(default_factory=lambda: Samples(COST_WINDOW))
    ran_ns: int | None = None

    def cost_ms(self) -> float:
        """The p95 of its measured costs; 0 before it has run."""
        summary = self.costs_ms.summary()
        return summary.p95 if summary else 0.0


class TierLadder:
    """Picks the best tier whose measured cost still fits before the deadline."""

    def __init__(self, names: Sequence[str], clock: Clock) -> None:
        """``names`` run from best to cheapest; the last one always fits."""
        self.tiers = tuple(Tier(name) for name in names)
        self._clock = clock

    def choose(self, deadline_ns: int | None) -> Tier:
        """The tier for a frame that must be enhanced by ``deadline_ns``; the best without one."""
        if deadline_ns is None:
            return self.tiers[0]
        now_ns = self._clock.now_ns()
        left_ms = (deadline_ns - now_ns) / 1e6
        return next(
            (tier for tier in self.tiers if self._fits(tier, left_ms, now_ns)), self.tiers[-1]
        )

    def learn(self, tier: Tier, cost_ms: float) -> None:
        """Remember what a frame in ``tier`` has just cost."""
        tier.costs_ms.add(cost_ms)
        tier.ran_ns = self._clock.now_ns()

    def _fits(self, tier: Tier, left_ms: float, now_ns: int) -> bool:
        if left_ms <= 0:
            return False
        if tier.ran_ns is not None and now_ns - tier.ran_ns > RETRY_NS:
            return True
        return tier.cost_ms() <= left_ms
