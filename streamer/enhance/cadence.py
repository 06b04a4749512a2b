"""The rhythm of a source: how far apart its frames are, and whether the next one can be expected."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from fractions import Fraction

RECENT = 24
"""Intervals from which the rhythm is learnt."""

ENOUGH, MOST_UNEVEN = 8, Fraction(8, 5)
"""A source is regular from so many intervals on, up to this ratio of their p90 and p10: above that of
film on a 60 Hz grid, whose frames last two and three ticks in turn, in whole milliseconds 33 and 50."""

UNIT_SHARE = 0.3
"""Quantile at which a single interval is looked for: a loss only ever makes intervals longer, so
that this one is single while seven of ten frames follow the one before them."""

NEAR = 0.2
"""Of a single interval: how near a multiple of it one lies that spans lost frames. Film's three
ticks are 1.5 times its two."""

LEAST_SINGLE = 0.4
"""Where fewer intervals are single, nobody can tell lost frames from frames that come as they like."""


class Cadence:
    """Learns from the distances of real frames, by time stamps; belongs to one thread.

    An interval that spans lost frames is a multiple of the single one. It says nothing of the
    rhythm, and is left out.
    """

    def __init__(self) -> None:
        self._recent: deque[Fraction] = deque(maxlen=RECENT)
        self.interval_s: Fraction | None = None
        """Between neighbours: the median of the single intervals; ``None`` while there was none."""
        self.spread_s = Fraction(0)
        """By how much the p90 of the single intervals is longer than that."""
        self.is_regular = False
        """Whether the next frame can be expected an interval after the last one."""

    def see(self, interval_s: Fraction) -> None:
        """The time from one frame to the next that came, above 0."""
        self._recent.append(interval_s)
        ordered = sorted(self._recent, key=float)
        unit_s = float(_at(ordered, UNIT_SHARE))
        single = [each for each in ordered if not _spans_lost(float(each) / unit_s)]
        short_s, self.interval_s, long_s = (_at(single, share) for share in (0.1, 0.5, 0.9))
        self.spread_s = long_s - self.interval_s
        is_enough = len(single) >= max(ENOUGH, LEAST_SINGLE * len(ordered))
        self.is_regular = is_enough and long_s <= MOST_UNEVEN * short_s


def _at(ordered: Sequence[Fraction], share: float) -> Fraction:
    """The smallest with at least that share of them at or below it."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _spans_lost(units: float) -> bool:
    return round(units) >= 2 and abs(units - round(units)) <= NEAR
