"""Readings of the burnt-in counter, and what they say about latency and loss."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from streamer.metrics import Summary, summary_of

_WRAP_MS = 1 << 32
"""The counter holds the low 32 bits of the milliseconds."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One picture as somebody saw it."""

    frame_number: int
    """As burnt in; -1 where the counter could not be read."""
    counter_ms: int
    """The drawing side's monotonic clock when it was burnt in, whole milliseconds, 32 bits."""
    at_ns: int
    """The same clock when the decoded picture was in the reader's hands."""

    @property
    def latency_ms(self) -> float:
        """From drawing to seeing. The counter is rounded down: up to 1 ms too high, never too low."""
        return (self.at_ns / 1e6 - self.counter_ms) % _WRAP_MS


def from_rows(rows: Iterable[Sequence[int]]) -> list[Sighting]:
    """Sightings as they travel in JSON: number, counter and instant."""
    return [Sighting(*row) for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What one reader saw between two instants."""

    name: str
    seen: Sequence[Sighting]
    """The first sighting of each picture, in order of the instants."""
    missing: int
    """Pictures that lie between the first and the last one seen and never came."""
    repeated: int
    unreadable: int
    began_ns: int
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> Summary:
        """Of the latencies; all zero where nothing was seen."""
        return summary_of([one.latency_ms for one in self.seen])

    @property
    def loss_ratio(self) -> float:
        """Of the pictures drawn, the share that was never seen."""
        drawn = len(self.seen) + self.missing
        return self.missing / drawn if drawn else 1.0

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "latency_ms": self.summary.as_dict(),
            "loss_ratio": round(self.loss_ratio, 5),
            "frames": {
                "seen": len(self.seen),
                "missing": self.missing,
                "repeated": self.repeated,
                "unreadable": self.unreadable,
            },
            **self.extra,
        }


def measure(
    name: str,
    sightings: Iterable[Sighting],
    *,
    between_ns: Sequence[tuple[int, int]],
    **extra: Any,
) -> Measurement:
    """What was seen within these spans of time; the frame numbers must rise throughout.

    Whatever lies between two spans is neither seen nor missing.
    """
    everything = list(sightings)
    known: set[int] = set()
    kept: list[Sighting] = []
    missing = repeated = unreadable = 0
    for began_ns, ended_ns in between_ns:
        within = [one for one in everything if began_ns <= one.at_ns < ended_ns]
        numbers = [one.frame_number for one in within if one.frame_number >= 0]
        unreadable += len(within) - len(numbers)
        fresh = sorted(set(numbers) - known)
        repeated += len(numbers) - len(fresh)
        if fresh:
            missing += fresh[-1] - fresh[0] + 1 - len(fresh)
        for one in within:
            if one.frame_number >= 0 and one.frame_number not in known:
                known.add(one.frame_number)
                kept.append(one)
    return Measurement(
        name=name,
        seen=kept,
        missing=missing,
        repeated=repeated,
        unreadable=unreadable,
        began_ns=between_ns[0][0],
        extra=extra,
    )
