"""Counters and windowed percentiles of one stream; no I/O."""

from __future__ import annotations

import math
import threading
from array import array
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

WINDOW = 100_000
"""Samples kept for a whole run's percentiles: 27 minutes at 60 fps, 0.8 MB a name."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A named sample in milliseconds: its size and its percentiles."""

    n: int
    p50: float
    p95: float
    p99: float
    max: float

    def as_dict(self) -> dict[str, float]:
        return {
            "n": self.n,
            "p50": round(self.p50, 3),
            "p95": round(self.p95, 3),
            "p99": round(self.p99, 3),
            "max": round(self.max, 3),
        }


def percentile(ordered: Sequence[float] | NDArray[np.float64], q: float) -> float:
    """The smallest value with at least ``q`` of the sorted sample at or below it."""
    return float(ordered[max(0, math.ceil(len(ordered) * q) - 1)])


def summary_of(values: Sequence[float] | NDArray[np.float64]) -> Summary:
    """Their number and percentiles; all zero where there are none."""
    # Unlike Python's own sort, which would stand still whatever else runs for 13 ms.
    ordered = np.sort(np.asarray(values, np.float64))
    if not len(ordered):
        return Summary(0, 0.0, 0.0, 0.0, 0.0)
    return Summary(
        n=len(ordered),
        p50=percentile(ordered, 0.50),
        p95=percentile(ordered, 0.95),
        p99=percentile(ordered, 0.99),
        max=float(ordered[-1]),
    )


class Samples:
    """The last ``window`` values of one measurement; safe to add to from any thread."""

    def __init__(self, window: int = WINDOW) -> None:
        self._window = window
        self._values = array("d")
        """The value that was added as number n lies at n modulo the window."""
        self._count = 0
        self._lock = threading.Lock()

    def add(self, value: float) -> None:
        with self._lock:
            if self._count < self._window:
                self._values.append(value)
            else:
                self._values[self._count % self._window] = value
            self._count += 1

    def summary(self, last: int | None = None) -> Summary | None:
        """Percentiles over the window, or over its ``last`` values; ``None`` while empty.

        ``n`` counts every value ever added, ``max`` is that of the values looked at.
        """
        with self._lock:
            values, count = self._newest(last), self._count
        return replace(summary_of(values), n=count) if count else None

    def _newest(self, last: int | None) -> NDArray[np.float64]:
        """Those that were added last, in any order; all that are kept where ``last`` is ``None``."""
        kept = len(self._values)
        if last is None or last >= kept:
            return np.array(self._values)
        # The numbers of now are asked for several times a second: nothing else is copied.
        begin = (self._count - last) % kept
        newest = self._values[begin : begin + last]
        newest += self._values[: last - len(newest)]
        return np.array(newest)


class Rate:
    """An amount per second over the last two seconds of a clock: of frames, or of bits."""

    def __init__(self, window_ns: int = 2_000_000_000) -> None:
        self._window_ns = window_ns
        self._ticks: deque[tuple[int, int]] = deque()

    def tick(self, now_ns: int, amount: int = 1) -> None:
        self._ticks.append((now_ns, amount))
        self._forget(now_ns)

    def per_second(self, now_ns: int) -> float:
        """0 when fewer than two ticks lie in the window."""
        self._forget(now_ns)
        if len(self._ticks) < 2:
            return 0.0
        span_ns = self._ticks[-1][0] - self._ticks[0][0]
        # The first tick opens the span; what it brought belongs to the time before.
        amount = sum(amount for _, amount in islice(self._ticks, 1, None))
        return amount * 1e9 / span_ns if span_ns else 0.0

    def _forget(self, now_ns: int) -> None:
        while self._ticks and now_ns - self._ticks[0][0] > self._window_ns:
            self._ticks.popleft()


class Metrics:
    """All that one stream counts and times."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._samples: dict[str, Samples] = {}
        # The garbage collector may free memory of a device in here, and that counts as well.
        self._lock = threading.RLock()

    def count(self, name: str, amount: int = 1) -> None:
        with self._lock:
            self._counts[name] += amount

    def counted(self, name: str) -> int:
        with self._lock:
            return self._counts[name]

    def counts(self, prefix: str) -> dict[str, int]:
        """Every count whose name begins with ``prefix``, without the prefix."""
        with self._lock:
            items = list(self._counts.items())
        return {name[len(prefix) :]: n for name, n in items if name.startswith(prefix) and n}

    def time(self, name: str, milliseconds: float) -> None:
        with self._lock:
            samples = self._samples.setdefault(name, Samples())
        samples.add(milliseconds)

    def timings(self, last: int | None = None) -> dict[str, Summary]:
        """The summary of every measurement that has a value."""
        with self._lock:
            samples = list(self._samples.items())
        summaries = ((name, sample.summary(last)) for name, sample in samples)
        return {name: summary for name, summary in summaries if summary is not None}
