"""The shape of pixels, which may change as a stream goes on."""

from __future__ import annotations

from fractions import Fraction


class SampleAspect:
    """What holds from one picture to the next: a broadcast goes from 4:3 to 16:9 and back.

    A container's word counts before the codec's, until the codec says another one than it began with.
    """

    def __init__(self, stated: Fraction) -> None:
        """``stated`` is the container's, or the codec's where that says nothing."""
        self._now = stated
        self._coded: Fraction | None = None

    def after(self, coded: Fraction | None) -> Fraction:
        """The shape now that a picture came with ``coded``; nothing means square."""
        coded = coded or Fraction(1)
        if self._coded not in (None, coded):
            self._now = coded
        self._coded = coded
        return self._now
