"""The rungs of the quality ladder, what a frame asks of them, and steps between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

SHARE = 0.9
"""Of the interval between real frames: what one may take on average. The rest works off a backlog:
a frame that waits for a whole interval is caught up with in ten."""

EASY_SHARE = 0.6
"""The same for a network above ``lite``. All frames leave as late as the slowest of them,
and what such a one gives beside the next, 0.06 dB at crf 28, nobody sees: it is for machines that
hardly notice it."""

LITE = "lite"
"""The network for real time on two cores."""

CAUTION = 0.1
"""So much less on trial for a rung that was lost right after its last one, or it would come and go."""

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


def most_share(rung: Rung, tiers: Sequence[str]) -> float:
    """Of the interval: what a rung may take on average, where there are these tiers, from best to
    cheapest. What is larger than ``lite`` has to fit easily, unless it was asked for alone."""
    larger = tiers[: tiers.index(LITE)] if LITE in tiers else ()
    return EASY_SHARE if rung.tier in larger else SHARE


@dataclass(frozen=True, slots=True)
class Step:
    """A frame, or all from now on, got another rung than the one before.

    ``late`` and ``backlog`` are for one frame: the next one has the old rung again. The others last.
    """

    at_ns: int
    before: Rung
    after: Rung
    reason: Reason
