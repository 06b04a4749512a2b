"""The rungs of the quality ladder, what a frame asks of them, and steps between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Reason = Literal["late", "backlog", "too_slow", "recovered", "limited"]


@dataclass(frozen=True, slots=True)
class Rung:
    """A step of the ladder: the tier of a real frame, and whether frames are made between them."""

    tier: str
    makes_frames: bool = False

    @property
    def name(self) -> str:
        return f"{self.tier}+made" if self.makes_frames else self.tier


@dataclass(frozen=True, slots=True)
class Demand:
    """Of a real frame: time until its deadline, time until the next one, frames made between."""

    left_ms: float
    interval_ms: float | None
    made: int


def rungs_of(tiers: Sequence[str], *, makes_frames: bool) -> tuple[Rung, ...]:
    """The ladder of ``tiers``, which run from best to cheapest; of several the cheapest makes no frames.

    Made frames go with cheaper networks before they are given up: of two networks the cheaper one
    loses 0.1 dB, half the pictures everybody sees.
    """
    made = (tiers[:-1] or tiers) if makes_frames else ()
    return (*(Rung(tier, makes_frames=True) for tier in made), *map(Rung, tiers))


@dataclass(frozen=True, slots=True)
class Step:
    """A frame, or all from now on, got another rung than the one before.

    ``late`` and ``backlog`` are for one frame: the next one has the old rung again. The others last.
    """

    at_ns: int
    before: Rung
    after: Rung
    reason: Reason
