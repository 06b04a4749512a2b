"""Deadlines, and the step of the quality ladder that a frame can still afford."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from streamer.clock import Clock
from streamer.errors import ConfigError
from streamer.metrics import percentile

COST_WINDOW_NS = 3_000_000_000
"""What a tier cost longer ago proves nothing: one that was too slow is tried again after it."""

ENOUGH = 4
"""Samples from which on the largest one is left out."""

COST_SAMPLES = 200
"""As many costs are kept at most; the newest ones count."""


class Costs:
    """What something has cost lately, in milliseconds."""

    def __init__(self, clock: Clock, window_ns: int = COST_WINDOW_NS) -> None:
        self._clock = clock
        self._window_ns = window_ns
        self._costs: deque[tuple[int, float]] = deque(maxlen=COST_SAMPLES)

    def add(self, cost_ms: float) -> None:
        self._costs.append((self._clock.now_ns(), cost_ms))

    def p95_ms(self) -> float:
        """The p95 of the window, where one outlier alone never decides; 0 when nothing is known."""
        oldest_ns = self._clock.now_ns() - self._window_ns
        while self._costs and self._costs[0][0] < oldest_ns:
            self._costs.popleft()
        if not self._costs:
            return 0.0
        ordered = sorted(cost for _, cost in self._costs)
        # Below twenty samples the p95 is the maximum: a thread that lost its core once.
        return percentile(ordered[:-1] if len(ordered) >= ENOUGH else ordered, 0.95)


@dataclass(frozen=True, slots=True)
class Tier:
    """One step of the ladder and what it has cost lately."""

    name: str
    costs: Costs


class TierLadder:
    """Picks the best tier whose measured cost still fits before the deadline."""

    def __init__(self, names: Sequence[str], clock: Clock) -> None:
        """``names`` run from best to cheapest; the last one always fits."""
        self.tiers = tuple(Tier(name, Costs(clock)) for name in names)
        self._best = 0
        self._clock = clock

    def limit(self, name: str) -> None:
        """Take ``name`` at best from now on. Raises ``ConfigError`` for a tier there is not."""
        names = [tier.name for tier in self.tiers]
        if name not in names:
            raise ConfigError(f"there is no tier {name!r}; this stream has {', '.join(names)}")
        self._best = names.index(name)

    def choose(self, deadline_ns: int | None) -> Tier:
        """The tier for a frame that must be enhanced by ``deadline_ns``; the best without one."""
        tiers = self.tiers[self._best :]
        if deadline_ns is None:
            return tiers[0]
        left_ms = (deadline_ns - self._clock.now_ns()) / 1e6
        if left_ms <= 0:
            return tiers[-1]
        return next((tier for tier in tiers if tier.costs.p95_ms() <= left_ms), tiers[-1])
