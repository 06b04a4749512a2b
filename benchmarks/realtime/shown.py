"""Pictures as a viewer got them, with their time stamps, and what they say of the stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from benchmarks.latency.sightings import Sighting
from streamer.metrics import percentile
from streamer.rtp.packet import Unwrapper

TICKS_PER_MS = 90
"""Of RTP's clock for video."""

MOST_OFF = 0.35
"""Of an interval: a picture whose counter and time stamp disagree by more is not the one it reads
as. A made picture halfway is off by 0.5 where it took its counter from a neighbour."""

NEW_CHANGE = 0.1
"""Code values, mean over the picture: what differs less from the one before is the same again. A
picture that is shown again is coded as nothing at all, so that it differs by 0."""

WINDOW_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Shown:
    """One picture, real or made."""

    ticks: int
    """Its RTP timestamp; unwrapped, so that it rises."""
    arrived_ns: int
    """When its last packet was there, by the monotonic clock."""
    frame_number: int
    """As burnt in; -1 where the counter could not be read, as in most made pictures."""
    counter_ms: int
    change: float
    """Mean absolute difference of its luma from that of the picture before, in code values."""

    @property
    def time_ms(self) -> float:
        """Media time, from the sender's own zero."""
        return self.ticks / TICKS_PER_MS


def from_rows(rows: Iterable[Sequence[float]]) -> list[Shown]:
    """Pictures as they travel in JSON, in the order they were shown."""
    ticks_of = Unwrapper().unwrap
    return [
        Shown(ticks_of(int(ticks)), int(arrived_ns), int(number), int(counter_ms), float(change))
        for ticks, arrived_ns, number, counter_ms, change in rows
    ]


def within(shown: Iterable[Shown], spans_ns: Sequence[tuple[int, int]]) -> list[Shown]:
    """Those that came in one of the spans."""
    return [one for one in shown if any(low <= one.arrived_ns < high for low, high in spans_ns)]


def real_pictures(shown: Sequence[Shown], *, interval_ms: float) -> list[Sighting]:
    """The pictures that the camera drew, each once, in order of time.

    A made picture may read as one of its neighbours. Among all that read as the same number, the
    real one is that whose time stamp fits its counter best; none where none fits.
    """
    read = [one for one in shown if one.frame_number >= 0]
    if not read:
        return []
    offsets = sorted(_offset_ms(one) for one in read)
    offset_ms = percentile(offsets, 0.5)

    def off_ms(one: Shown) -> float:
        return abs(_offset_ms(one) - offset_ms)

    by_number = sorted(read, key=lambda one: one.frame_number)
    best = [min(group, key=off_ms) for _, group in groupby(by_number, lambda one: one.frame_number)]
    kept = [one for one in best if off_ms(one) <= MOST_OFF * interval_ms]
    return [
        Sighting(one.frame_number, one.counter_ms, one.arrived_ns)
        for one in sorted(kept, key=lambda one: one.arrived_ns)
    ]


def cadence_errors_ms(shown: Sequence[Shown]) -> list[float]:
    """Between neighbours: by how much the distance in time differs from that of the time stamps."""
    late_ms = [one.arrived_ns / 1e6 - one.time_ms for one in shown]
    return [abs(after - before) for before, after in pairwise(late_ms)]


def waits_ms(shown: Sequence[Shown], span_ns: tuple[int, int]) -> list[float]:
    """The times for which the same picture stood, in order; the last one to the end of the span."""
    began_ns, ended_ns = span_ns
    fresh = [one.arrived_ns for one in shown if one.change >= NEW_CHANGE]
    instants = [began_ns, *(at_ns for at_ns in fresh if began_ns <= at_ns < ended_ns), ended_ns]
    return [(after - at) / 1e6 for at, after in pairwise(instants)]


def slope_ms_per_minute(seen: Sequence[Sighting]) -> float | None:
    """Of the line of least squares through latency over time; ``None`` for fewer than two instants."""
    if not seen:
        return None
    minutes = [(one.at_ns - seen[0].at_ns) / 60e9 for one in seen]
    mean_at = sum(minutes) / len(minutes)
    mean_ms = sum(one.latency_ms for one in seen) / len(seen)
    spread = sum((at - mean_at) ** 2 for at in minutes)
    if not spread:
        return None
    pairs = zip(minutes, seen, strict=True)
    return sum((at - mean_at) * (one.latency_ms - mean_ms) for at, one in pairs) / spread


def windows(seen: Sequence[Sighting], span_ns: tuple[int, int]) -> Iterator[list[float]]:
    """The latencies of each whole second of the span, in ms; it may be empty."""
    began_ns, ended_ns = span_ns
    for low in range(began_ns, ended_ns - WINDOW_NS + 1, WINDOW_NS):
        yield [one.latency_ms for one in seen if low <= one.at_ns < low + WINDOW_NS]


def _offset_ms(one: Shown) -> float:
    """How far the time stamp lies from the counter, each from a zero of its own."""
    # The counter wraps after 49 days of uptime; a run that spans that moment is measured again.
    return one.time_ms - one.counter_ms
