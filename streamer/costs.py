"""What things have cost lately, in milliseconds, and when what cost too much may be tried again.

Note [Trials that need not be]: What a rung of the ladder costs beside the one that is held, as a
share of that one's cost, hardly depends on the load: both slow down alike. So what a lost rung would
cost now can be told without trying it. While that does not fit it is tried once in ``UNLIKELY_NS``
at most; when the held rung has become visibly cheaper, at once.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Self

from streamer.clock import Clock
from streamer.metrics import percentile

COST_WINDOW_NS = 3_000_000_000
"""Costs count that are at most so much older than the newest."""

COST_SAMPLES = 200
"""As many costs are kept at most; the newest ones count."""

LATEST = 16
"""Samples of a median that follows a load within a third of a second at 30 fps; at 30 % of noise it
is off by 10 %."""

FIRST_PAUSE_NS = 1_000_000_000
PAUSE_NS = 2_500_000_000
"""The pauses between trials, which double from the first to this where the load may go away again."""

LASTING = 10
"""What was lost for long is tried less often: pauses may grow to this part of the time since."""

UNKEPT_NS, HOPELESS_NS = 30_000_000_000, 60_000_000_000
"""They double up to the first where a rung was never kept: no load is known of that could go away.
Up to the second where a frame of it takes longer than it has: each trial loses frames then."""

UNLIKELY_NS = 30_000_000_000
"""From trial to trial of what cannot be expected to fit."""

EASED = 0.7
"""Of what the held rung has cost at the last trial: from here on the load has gone."""


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


@dataclass(frozen=True, slots=True)
class Beside:
    """What a lost rung has cost beside the one that is held; see Note [Trials that need not be]."""

    held: str
    """The tier that is held."""
    held_ms: float
    shares: tuple[float, float]
    """Of what is new with the lost rung in the held one's cost, as measured the last two times. The
    smaller one counts: one trial may meet a machine that stops for a moment."""

    @classmethod
    def of(cls, new_ms: float, held_ms: float, *, held: str, last: Self | None) -> Self:
        """Measured anew; without a ``last`` one, this is taken for certain."""
        share = new_ms / held_ms
        is_same = last is not None and last.held == held
        return cls(
            held, held_ms, (last.shares[1] if last is not None and is_same else share, share)
        )

    def doubted(self) -> Self:
        """The same where it was measured only once, by a frame or two: nothing is expected of it."""
        return type(self)(self.held, self.held_ms, (0.0, self.shares[1]))

    def expected_ms(self, held_ms: float) -> float:
        """What is new with the rung would cost, where the held one costs ``held_ms`` now."""
        return held_ms * min(self.shares)


@dataclass(slots=True)
class Loss:
    """Of a rung: when it was lost, when it may be tried again, and when it is whatever it may cost."""

    lost_ns: int
    retry_ns: int
    unlikely_ns: int
    pause_ns: int = FIRST_PAUSE_NS
    has_relapsed: bool = False
    beside: Beside | None = None

    @classmethod
    def now(cls, now_ns: int) -> Self:
        return cls(now_ns, now_ns + FIRST_PAUSE_NS, now_ns + UNLIKELY_NS)

    def put_off(self, now_ns: int, *, is_kept: bool, is_hopeless: bool) -> None:
        """It was tried and did not fit. ``is_kept``: it did for a while, before it was lost."""
        if is_kept:
            longest_ns = min(UNKEPT_NS, max(PAUSE_NS, (now_ns - self.lost_ns) // LASTING))
        else:
            longest_ns = HOPELESS_NS if is_hopeless else UNKEPT_NS
        self.pause_ns = min(2 * self.pause_ns, longest_ns)
        self.retry_ns = now_ns + self.pause_ns
        self.unlikely_ns = now_ns + max(UNLIKELY_NS, longest_ns)

    def hurry(self, now_ns: int) -> None:
        """The load that took it has gone."""
        self.pause_ns, self.retry_ns = FIRST_PAUSE_NS, min(self.retry_ns, now_ns)
