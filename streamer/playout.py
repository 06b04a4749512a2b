"""How much later than its media time a frame may leave so that nearly all are ready by then."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from fractions import Fraction

from streamer.metrics import percentile

DUE = "due"
"""The stamp that says when a frame, or the packet it becomes, is to leave, by the stream's clock."""

WINDOW_NS = 3_000_000_000
READY_SHARE = 0.97
"""Of the frames of the window are ready when they are due."""

FIRST_NS = 1_000_000_000
"""At first the slowest frame decides at once: a picture that stutters for its first second is what
everybody sees."""

UP, DOWN = 0.05, 0.03
"""How fast the offset may change, per unit of time: at 60 fps 0.8 and 0.5 ms a frame, which nobody
sees, where a jump of 15 ms is seen."""

JUMP_NS = 1_000_000_000
"""A frame that is further off than this is on another timeline."""


class Offsets:
    """How far the clock is ahead of media time when something happens to frames, lately."""

    def __init__(self) -> None:
        self._seen: deque[tuple[int, int]] = deque()
        self._found: dict[tuple[float, int | None], int] = {}

    def add(self, time_s: Fraction, at_ns: int, *, now_ns: int) -> bool:
        """It happened to a frame of this media time at ``at_ns``; true where that begins another
        timeline."""
        offset_ns = at_ns - nanoseconds(time_s)
        is_new = not self._seen or abs(offset_ns - self._seen[-1][1]) > JUMP_NS
        if is_new:
            self._seen.clear()
        self._seen.append((now_ns, offset_ns))
        self._found.clear()
        while now_ns - self._seen[0][0] > WINDOW_NS:
            self._seen.popleft()
        return is_new

    def keep_newest(self) -> None:
        """Whatever was seen before says nothing any more."""
        while len(self._seen) > 1:
            self._seen.popleft()
        self._found.clear()

    def at(self, share: float, *, most_ns: int | None = None) -> int:
        """The offset that this share of the frames had at most. With ``most_ns``, of those that came
        no later than so much after the earliest. At least one has to have been added."""
        key = (share, most_ns)
        if key not in self._found:
            ordered = sorted(offset_ns for _, offset_ns in self._seen)
            if most_ns is not None:
                ordered = [each for each in ordered if each <= ordered[0] + most_ns]
            self._found[key] = round(percentile(ordered, share))
        return self._found[key]

    def __bool__(self) -> bool:
        return bool(self._seen)


class Playout:
    """The offset between media time and the clock at which frames leave, learnt from when they were
    ready; a jitter buffer's delay. Follows the drift of the sender's clock."""

    def __init__(self, *, budget_ms: Callable[[], float]) -> None:
        """``budget_ms``: how long after its arrival a frame may leave at most."""
        self._budget_ms = budget_ms
        self._offsets, self._arrived = Offsets(), Offsets()
        self._offset_ns: int | None = None
        self._began_ns = self._moved_ns = 0
        self._is_first = True

    def ready(
        self,
        time_s: Fraction,
        now_ns: int,
        *,
        arrived_ns: int,
        lead_ns: int = 0,
        most_ns: int | None = None,
    ) -> None:
        """A frame of this media time is ready, and can leave ``lead_ns`` later; what it needs had
        arrived at ``arrived_ns``. With ``most_ns`` no frame waits longer than that for slower ones.
        """
        budget_ns = max(0, round(self._budget_ms() * 1e6))
        # Were it to leave later than it may, it would not be waited for.
        at_ns = min(now_ns + lead_ns, arrived_ns + budget_ns)
        if self._offsets.add(time_s, at_ns, now_ns=now_ns):
            self._offset_ns = at_ns - nanoseconds(time_s)
            self._began_ns, self._is_first = now_ns, True
        elif self._is_first and now_ns - self._began_ns >= FIRST_NS:
            # What frames took while caches were cold would be waited for as long as the window lasts.
            self._is_first = False
            self._offsets.keep_newest()
        # What came with a stall is over the budget: nothing waits for such frames again.
        most_ns = budget_ns if most_ns is None else min(budget_ns, most_ns)
        self._move(self._offsets.at(READY_SHARE, most_ns=most_ns), now_ns)
        # A made frame is of a time before that of the frame it came with, and what came late at first
        # says nothing of what comes sooner: none is held beyond its own budget.
        self._arrived.add(time_s, arrived_ns, now_ns=now_ns)
        assert self._offset_ns is not None
        self._offset_ns = min(self._offset_ns, self._arrived.at(0) + budget_ns)

    def due_ns(self, time_s: Fraction) -> int | None:
        """When a frame of this media time leaves; ``None`` before the first was ready."""
        return None if self._offset_ns is None else self._offset_ns + nanoseconds(time_s)

    def _move(self, wanted_ns: int, now_ns: int) -> None:
        assert self._offset_ns is not None
        elapsed_ns, self._moved_ns = now_ns - self._moved_ns, now_ns
        if self._is_first:
            self._offset_ns = max(self._offset_ns, wanted_ns)
            return
        change_ns = wanted_ns - self._offset_ns
        self._offset_ns += max(-round(DOWN * elapsed_ns), min(round(UP * elapsed_ns), change_ns))


def nanoseconds(time_s: Fraction) -> int:
    """Media time as the clock counts, rounded once."""
    return round(time_s * 1_000_000_000)
