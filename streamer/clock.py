"""Time, as nanoseconds that never run backwards; tests drive it by hand."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where instants come from. Wall-clock time is never used for intervals."""

    def now_ns(self) -> int: ...


class MonotonicClock:
    """The machine's monotonic clock; comparable between processes of one machine."""

    def now_ns(self) -> int:
        return time.monotonic_ns()


class ManualClock:
    """A clock that moves only when a test moves it."""

    def __init__(self, start_ns: int = 0) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        return self._now_ns

    def advance_ms(self, milliseconds: float) -> None:
        self._now_ns += round(milliseconds * 1_000_000)
