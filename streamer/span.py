"""The part of a stream that ``--duration`` asks for, by media time."""

from __future__ import annotations

from fractions import Fraction


class Span:
    """Begins with the first frame and lasts as long as was asked for; without that, for ever."""

    def __init__(self, duration_s: float | None) -> None:
        self._duration_s = duration_s
        self._end_s: Fraction | None = None

    def begin(self, first_s: Fraction) -> None:
        """The time of a frame; the first one counts."""
        if self._end_s is None and self._duration_s is not None:
            self._end_s = first_s + Fraction(self._duration_s)

    def is_over(self, time_s: Fraction) -> bool:
        """Whether a frame of this time is left out."""
        return self._end_s is not None and time_s >= self._end_s
