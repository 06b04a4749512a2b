"""How much later than its media time a frame may leave so that nearly all are ready by then."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from fractions import Fraction

from streamer.metrics import percentile

WINDOW_NS = 3_000_000_000
READY_SHARE = 0.95
"""Of the frames of the window are ready when they are due."""

FIRST_NS = 1_000_000_000
"""At first the slowest frame decides at once: a picture that stutters for its first second is what
everybody sees."""

UP, DOWN = 0.05, 0.03
"""How fast the offset may change, per unit of time: at 60 fps 0.8 and 0.5 ms a frame, which nobody
sees, where a jump of 15 ms is seen."""

JUMP_NS = 1_000_000_000
"""A frame that is further off than this is on another timeline."""


class Playout:
    """The offset between media time and the clock at which frames leave, learnt from when they were
    ready; a jitter buffer's delay. Follows the drift of the sender's clock."""

    def __init__(self, *, budget_ms: Callable[[], float]) -> None:
        """``budget_ms``: how long after its arrival a frame may leave at most."""
        self._budget_ms = budget_ms
        self._offsets: deque[tuple[int, int]] = deque()
        self._offset_ns: int | None = None
        self._began_ns = self._moved_ns = 0

    def ready(self, time_s: Fraction, now_ns: int, *, arrived_ns: int) -> None:
        """A frame of this media time is ready to leave; what it needs had arrived at ``arrived_ns``."""
        budget_ns = max(0, round(self._budget_ms() * 1e6))
        # Were it to leave later than it may, it would not be waited for.
        offset_ns = min(now_ns, arrived_ns + budget_ns) - nanoseconds(time_s)
        if self._offset_ns is None or abs(offset_ns - self._offset_ns) > JUMP_NS:
            self._offsets.clear()
            self._offset_ns = offset_ns
            self._began_ns = now_ns
        self._offsets.append((now_ns, offset_ns))
        while now_ns - self._offsets[0][0] > WINDOW_NS:
            self._offsets.popleft()
        self._move(self._wanted_ns(budget_ns), now_ns)

    def due_ns(self, time_s: Fraction) -> int | None:
        """When a frame of this media time leaves; ``None`` before the first was ready."""
        return None if self._offset_ns is None else self._offset_ns + nanoseconds(time_s)

    def _wanted_ns(self, budget_ns: int) -> int:
        ordered = sorted(offset_ns for _, offset_ns in self._offsets)
        # What came with a stall is over the budget: nothing waits for such frames again.
        most_ns = ordered[0] + budget_ns
        return round(percentile([each for each in ordered if each <= most_ns], READY_SHARE))

    def _move(self, wanted_ns: int, now_ns: int) -> None:
        assert self._offset_ns is not None
        elapsed_ns, self._moved_ns = now_ns - self._moved_ns, now_ns
        if now_ns - self._began_ns < FIRST_NS:
            self._offset_ns = max(self._offset_ns, wanted_ns)
            return
        change_ns = wanted_ns - self._offset_ns
        self._offset_ns += max(-round(DOWN * elapsed_ns), min(round(UP * elapsed_ns), change_ns))


def nanoseconds(time_s: Fraction) -> int:
    """Media time as the clock counts, rounded once."""
    return round(time_s * 1_000_000_000)
