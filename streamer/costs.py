"""What things have cost lately, in milliseconds."""

from __future__ import annotations

from collections import deque

from streamer.clock import Clock
from streamer.metrics import percentile

COST_WINDOW_NS = 3_000_000_000
"""Costs count that are at most so much older than the newest."""

COST_SAMPLES = 200
"""As many costs are kept at most; the newest ones count."""

LATEST = 16
"""Samples of a median that follows a load within a third of a second at 30 fps; at 30 % of noise it
is off by 10 %."""


class Costs:
    """What something has cost lately in milliseconds, and until it is done again, what it cost then."""

    def __init__(self, clock: Clock, window_ns: int = COST_WINDOW_NS) -> None:
        self._clock = clock
        self._window_ns = window_ns
        self._costs: deque[tuple[int, float]] = deque(maxlen=COST_SAMPLES)

    def __len__(self) -> int:
        return len(self._costs)

    def add(self, cost_ms: float) -> None:
        now_ns = self._clock.now_ns()
        self._costs.append((now_ns, cost_ms))
        while self._costs[0][0] < now_ns - self._window_ns:
            self._costs.popleft()

    def forget(self) -> None:
        self._costs.clear()

    @property
    def are_old(self) -> bool:
        """Whether the newest lies outside the window, or there is none."""
        return not self._costs or self._clock.now_ns() - self._costs[-1][0] > self._window_ns

    @property
    def newest_ms(self) -> float:
        """0 when nothing is known."""
        return self._costs[-1][1] if self._costs else 0.0

    def latest_ms(self) -> float:
        """The median of the newest ``LATEST``; 0 when nothing is known."""
        newest = sorted(cost for _, cost in list(self._costs)[-LATEST:])
        return percentile(newest, 0.5) if newest else 0.0

    def p95_ms(self) -> float:
        """The p95, where one outlier alone never decides; 0 when nothing is known."""
        ordered = self._without_outlier()
        return percentile(ordered, 0.95) if ordered else 0.0

    def mean_ms(self) -> float:
        """The mean of what lies not above the p95; 0 when nothing is known."""
        p95_ms = self.p95_ms()
        usual = [cost for cost in self._without_outlier() if cost <= p95_ms]
        return sum(usual) / len(usual) if usual else 0.0

    def _without_outlier(self) -> list[float]:
        # Below twenty samples the p95 is the maximum: a thread that lost its core, a first run.
        return sorted(cost for _, cost in self._costs)[:-1]
