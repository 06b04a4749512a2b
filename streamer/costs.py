"""What things have cost lately, in milliseconds."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Mapping
from types import MappingProxyType

from streamer.clock import Clock
from streamer.frame import Frame, Origin
from streamer.metrics import percentile

COST_WINDOW_NS = 3_000_000_000
"""Costs count that are at most so much older than the newest."""

COST_SAMPLES = 200
"""As many costs are kept at most; the newest ones count."""

LATEST = 16
"""Samples of a median that follows a load within a third of a second at 30 fps; at 30 % of noise it
is off by 10 %."""

ENOUGH = 4
"""Samples from which on their mean says whether a rung can be kept up."""

SIZES = 8
"""Picture sizes whose costs are kept."""

ALONE = 1.8
"""How many times as long a network takes in a stream as alone: decoder and encoder have the same cores,
and its residual has to be added."""

REST_WINDOW_NS = 1_000_000_000
"""What frames wait for behind their enhancing counts for so long: no better rung is tried while that
leaves no time, and a queue goes with its load."""

FINISHED = "finished"
"""The stamp that says when a frame was enhanced, and those made with it were made."""

STANDING_NS = 200_000_000
"""For so long frames may be over their time one after the other: a stall of the machine is caught up
with by then, five frames of the cheapest rung."""

CALM_NS = 1_000_000_000
"""When nothing was over its time for so long, there is time for all frames again."""

Size = tuple[int, int]


class Costs:
    """What something has cost lately in milliseconds, and until it is done again, what it cost then."""

    def __init__(self, clock: Clock, window_ns: int = COST_WINDOW_NS) -> None:
        self._clock = clock
        self._window_ns = window_ns
        self._costs: deque[tuple[int, float]] = deque(maxlen=COST_SAMPLES)
        self._ordered: list[float] | None = None
        """All but the highest, sorted; ``None`` until somebody asks."""

    def __len__(self) -> int:
        return len(self._costs)

    def add(self, cost_ms: float) -> None:
        now_ns = self._clock.now_ns()
        self._costs.append((now_ns, cost_ms))
        self._ordered = None
        while self._costs[0][0] < now_ns - self._window_ns:
            self._costs.popleft()

    def forget(self) -> None:
        self._costs.clear()
        self._ordered = None

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

    def likely_ms(self) -> float:
        """What the next one hardly exceeds: the p95, or what the last two both took where that is more.
        Of a load that has just come the p95 knows only five frames later; 0 when nothing is known."""
        newest = [cost for _, cost in list(self._costs)[-2:]]
        return max(self.p95_ms(), min(newest) if len(newest) == 2 else 0.0)

    def mean_ms(self) -> float:
        """The mean of what lies not above the p95; 0 when nothing is known."""
        ordered = self._without_outlier()
        usual = ordered[: bisect_right(ordered, self.p95_ms())]
        return sum(usual) / len(usual) if usual else 0.0

    def _without_outlier(self) -> list[float]:
        # A frame asks several times, and sorting each time took 0.1 ms of it.
        if self._ordered is None:
            # Below twenty samples the p95 is the maximum: a thread that lost its core, a first run.
            self._ordered = sorted(cost for _, cost in self._costs)[:-1]
        return self._ordered


class CostBook:
    """What things have cost with pictures of each size, and what tiers that never ran there should.

    A network is expected to cost what it took alone, scaled by the pixels and by what a tier that did
    run has cost beside what it took alone itself: networks slow down alike. ``ALONE`` stands in for that
    ratio while it is not known.
    """

    def __init__(self, clock: Clock, pixel_ns: Mapping[str, float] = MappingProxyType({})) -> None:
        """``pixel_ns``: what a tier's network took alone, in ns per pixel of the input; nothing is
        expected of tiers that are not there."""
        self._clock = clock
        self._pixel_ns = pixel_ns
        self._costs: dict[Size, dict[str, Costs]] = {}
        self._load = ALONE

    def __len__(self) -> int:
        """How many sizes there are."""
        return len(self._costs)

    def __contains__(self, size: Size) -> bool:
        return size in self._costs

    def of(self, what: str, size: Size) -> Costs:
        """Kept until ``SIZES`` others have come."""
        if size not in self._costs and len(self._costs) >= SIZES:
            del self._costs[next(iter(self._costs))]
        costs = self._costs.setdefault(size, {})
        if what not in costs:
            costs[what] = Costs(self._clock)
        return costs[what]

    def clear(self, size: Size) -> None:
        """Forget what things of a size have cost, not how much longer than alone they take."""
        self._costs[size].clear()

    def compare(self, tier: str, size: Size) -> None:
        """Learn from what a tier costs now how much longer than alone networks take; from one that has
        no network, that nothing is known of it."""
        alone_ms, costs = self._alone_ms(tier, size), self.of(tier, size)
        if not alone_ms:
            self._load = ALONE
        elif len(costs) >= ENOUGH:
            self._load = costs.latest_ms() / alone_ms

    def expected_ms(self, tier: str, size: Size) -> float:
        """What it should cost now, whether it ran or not; 0 where nothing is known."""
        return self._load * self._alone_ms(tier, size)

    def _alone_ms(self, tier: str, size: Size) -> float:
        return self._pixel_ns.get(tier, 0.0) * size[0] * size[1] / 1e6


class Budget:
    """Until when a frame has to be enhanced so that it leaves in time, and whether that is worth it.

    Belongs to the event loop. Note [Standing queues]: Where even the cheapest rung takes more than there
    is, frames wait in every link, and each leaves as late as all of them together, for as long as the
    load lasts. A stall leaves a queue as well, which is gone a moment later. So what is over its time
    while the next one waits is left out, but only once frames have been late for ``STANDING_NS``.
    """

    def __init__(self, budget_ms: float, clock: Clock) -> None:
        """``budget_ms``: between the release of a frame and its leaving; it may be changed."""
        self.budget_ms = budget_ms
        self._clock = clock
        self.encode = Costs(clock)
        """What it takes to code a frame, made or not."""
        self._rest = Costs(clock, REST_WINDOW_NS)
        """What real ones take from ``FINISHED`` until they are coded: those before them are first."""
        self._late_since_ns: int | None = None
        self._late_ns: int | None = None
        self._is_standing = False

    def coded(self, frame: Frame, began_ns: int, coded_ns: int) -> None:
        """Note when a frame was given to the encoder, and when it was done with it."""
        self.encode.add((coded_ns - began_ns) / 1e6)
        finished_ns = frame.stamps_ns.get(FINISHED)
        if finished_ns is not None and frame.origin is Origin.DECODED:
            self._rest.add((coded_ns - finished_ns) / 1e6)

    @property
    def hold_ms(self) -> float:
        """For how long after its release a frame may be held at most until it is given to the encoder."""
        return self.budget_ms - self.encode.likely_ms()

    def deadline_ns(self, frame: Frame) -> int:
        """When enhancing it must be done."""
        # With B-frames a picture waits for later packets: that is the sender's, not of the budget.
        released_ns = frame.stamps_ns.get("released", frame.arrived_ns)
        rest_ms = max(self.encode.likely_ms(), self._rest.likely_ms())
        return released_ns + round((self.budget_ms - rest_ms) * 1e6)

    def leaves_out(self, frame: Frame, *, is_waited_for: bool) -> bool:
        """Whether a frame is not worth its time: it is over, and the next one waits, as others did
        before it. Called once for each. See Note [Standing queues]."""
        now_ns = self._clock.now_ns()
        is_late = is_waited_for and self.deadline_ns(frame) <= now_ns
        if is_late:
            self._late_ns = now_ns
            if self._late_since_ns is None:
                self._late_since_ns = now_ns
            self._is_standing |= now_ns - self._late_since_ns >= STANDING_NS
        elif not self._is_standing:
            self._late_since_ns = None
        elif self._late_ns is not None and now_ns - self._late_ns >= CALM_NS:
            self._is_standing, self._late_since_ns = False, None
        return self._is_standing and is_late

    @property
    def is_standing(self) -> bool:
        """Whether frames have been late for so long that some are left out."""
        return self._is_standing
