"""When a batch begins and who is in it: arithmetic on times alone, without threads or a clock of its own.

A request waits for others at most for the window, never so long that its deadline would pass, and
not at all where nobody else can come.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from streamer.clock import Clock
from streamer.costs import Costs

LONGEST_WINDOW_NS = 2_000_000
"""What a request waits for others at most: a fifteenth of an interval at 30 fps."""

BUSY_NS = 1_000_000_000
"""How far back it counts how much of its time an engine was running."""


@dataclass(frozen=True, slots=True)
class Request:
    """One picture of one stream that has to go through a network."""

    arrived_ns: int
    deadline_ns: int | None = None
    """``None`` where nobody waits."""

    def misses(self, done_ns: int) -> bool:
        """Whether it is too late then."""
        return self.deadline_ns is not None and done_ns > self.deadline_ns


class Joining(Enum):
    """What becomes of a request that comes while a batch is waiting."""

    JOINS = "it is one more of the batch"
    FOLLOWS = "the batch begins without it, which would come too late with it"
    GOES_ALONE = "it is run alone and next: with the others it would come too late"


class BatchCosts:
    """What runs of each batch size have cost lately, and what another one will."""

    def __init__(self, sizes: Sequence[int], clock: Clock) -> None:
        """``sizes`` ascend from 1; a batch in between is run as one of the next larger size."""
        self.sizes = tuple(sizes)
        self._costs = {size: Costs(clock) for size in sizes}
        # Asked for several times a picture, and a p95 has to sort.
        self._learnt_ns: dict[int, int] = {}

    def size_for(self, number: int) -> int:
        """The size that so many pictures are run as."""
        return next(size for size in self.sizes if size >= number)

    def spent(self, size: int, cost_ns: int) -> None:
        costs = self._costs[size]
        costs.add(cost_ns / 1e6)
        # Of a single run there is no p95.
        self._learnt_ns[size] = round((costs.p95_ms() or costs.newest_ms) * 1e6)

    def foreseen_ns(self, number: int) -> int:
        """Of a run with so many pictures; more than one run where there is no size for them.

        The p95 of the last seconds. A size that was not run lately costs what it cost then, but at
        most in proportion to a smaller one: a stall while it ran would keep it from being run again.
        """
        most = self.sizes[-1]
        if number > most:
            return self.foreseen_ns(most) + self.foreseen_ns(number - most)
        size = self.size_for(number)
        if not self._costs[size].are_old:
            return self._learnt_ns[size]
        known = [other for other in self._learnt_ns if other <= size]
        return min((self._learnt_ns[other] * size // other for other in known), default=0)


class Business:
    """The share of its time that an engine was running, lately; 0..1."""

    def __init__(self, now_ns: int) -> None:
        self.share = 0.0
        self._counted_ns = now_ns

    def ran(self, began_ns: int, ended_ns: int) -> None:
        """Runs follow each other; what lies between them was idle."""
        passed_ns = max(1, ended_ns - self._counted_ns)
        weight = 1 - math.exp(-passed_ns / BUSY_NS)
        ran = min(1.0, (ended_ns - began_ns) / passed_ns)
        self.share += weight * (ran - self.share)
        self._counted_ns = ended_ns

    @property
    def window_ns(self) -> int:
        """How long to wait for others: waiting saves the device's time, which an idle one has."""
        return round(LONGEST_WINDOW_NS * self.share)


def joining(
    waiting: Sequence[Request], request: Request, *, costs: BatchCosts, begins_ns: int
) -> Joining:
    """Whether a request joins those waiting, if the engine can begin with them at ``begins_ns``.

    Who is too late in any case holds nobody back, and is held back by nobody.
    """
    if not waiting:
        return Joining.JOINS
    together_ns = begins_ns + costs.foreseen_ns(len(waiting) + 1)
    alone_ns = begins_ns + costs.foreseen_ns(1)
    if request.misses(together_ns) and not request.misses(alone_ns):
        return Joining.GOES_ALONE
    without_ns = begins_ns + costs.foreseen_ns(len(waiting))
    if any(one.misses(together_ns) and not one.misses(without_ns) for one in waiting):
        return Joining.FOLLOWS
    return Joining.JOINS


def closes_ns(waiting: Sequence[Request], *, costs: BatchCosts, window_ns: int, others: int) -> int:
    """When those waiting, at least one, are run though there is place for more.

    ``others`` is how many more could come. With one more of them the batch costs more, so that it
    begins while even the larger one would be done at the earliest deadline.
    """
    first_ns = waiting[0].arrived_ns
    if others <= 0 or len(waiting) >= costs.sizes[-1]:
        return first_ns
    larger_ns = costs.foreseen_ns(len(waiting) + 1)
    deadlines = [one.deadline_ns for one in waiting if one.deadline_ns is not None]
    return min((first_ns + window_ns, *(deadline - larger_ns for deadline in deadlines)))
