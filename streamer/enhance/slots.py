"""When a frame of the output is due: a grid of times, by time stamps and never by counting."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import count, takewhile

from streamer.enhance.cadence import Cadence
from streamer.frame import RTP_TIME_BASE, rescale
from streamer.rate import HIGHEST_FPS, Rate

LONGEST_S = Fraction(1, 5)
"""Frames further apart have nothing in between: nobody can know what lay there."""

TOLERANCE = Fraction(1, 20)
"""Share of an interval within which a slot takes a real frame as it is. Time stamps in whole
milliseconds stay within it up to 100 fps."""

ROUNDED_S = Fraction(1, 1500)
"""By how much whole milliseconds make intervals of 60 fps shorter than they are, those of 30 and 120 less.
More would take 50 fps for 48."""

FINEST = Fraction(1, 10_000_000)
"""The encoder's finest time base."""

LEAST_S = Fraction(1, 1000)
"""Between frames: the step of Matroska, where closer ones have the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One place on the output's timeline."""

    pts: int
    """In the output's time base."""
    time_s: Fraction
    share: float
    """Of the way between two real frames, 0..1. Of slots ahead: of the way to the expected one."""
    is_first: bool = False
    """It takes the real frame before it, untouched; the share is 0."""
    is_second: bool = False
    """It takes the real frame after it, untouched; the share is 1."""

    @property
    def is_made(self) -> bool:
        """It takes neither; a frame may be made for it."""
        return not (self.is_first or self.is_second)


class Slots:
    """Divides the time between real frames; belongs to one thread.

    At a multiple, real frames keep their times and each pair is divided evenly. At a fixed rate
    the grid is anchored at the first real frame, and anew where time breaks, jumps or runs back:
    where frames are further apart than ``LONGEST_S`` and than slots are.
    The slots that are given run forwards, whatever the time stamps do.
    """

    def __init__(self, rate: Rate, time_base: Fraction) -> None:
        """``time_base`` is the output's, see ``output_time_base``."""
        self._rate = rate
        self._time_base = time_base
        self.cadence = Cadence()
        """Of the real frames, learnt from those that ``between`` is told of."""
        self._last_pts: int | None = None
        self._anchor_s: Fraction | None = None
        self._last_real_s: Fraction | None = None
        self._taken_s: Fraction | None = None
        """The latest slot that ``at_once`` gave to a real frame."""

    @property
    def is_fixed(self) -> bool:
        """Whether slots lie on a grid of their own, and not where the real frames are."""
        return self._rate.fps is not None

    @property
    def step_s(self) -> Fraction | None:
        """From one slot to the next; ``None`` while it is not known."""
        if self._rate.fps is not None:
            return 1 / self._rate.fps
        interval_s = self.cadence.interval_s
        return None if interval_s is None else interval_s / self._parts(interval_s)

    def first(self, time_s: Fraction) -> list[Slot]:
        """The slot of a real frame that has none before it, which anchors the grid.

        Empty where its time does not lie after the last slot.
        """
        self._anchor_s = self._taken_s = time_s
        return self._given([self._real(time_s)])

    def between(self, before_s: Fraction, after_s: Fraction) -> list[Slot]:
        """The slots after one real frame, up to and with the next one; at most 51.

        At a fixed rate there may be none, and the last one may lie a twentieth of the interval
        after the second frame, which it takes. Where they are too far apart for others in between,
        the first frame has the next one, and the second one its own time.
        """
        if not self._goes_on(before_s, after_s):
            return [*self.after(before_s, after_s), *self.first(after_s)]
        interval_s = after_s - before_s
        if self._rate.fps is None:
            parts = self._parts(interval_s)
            shares = [Fraction(part, parts) for part in range(1, parts)]
            made = [self._slot(before_s + share * interval_s, share) for share in shares]
            return self._given([*made, self._real(after_s)])
        self._last_real_s = after_s
        if self._anchor_s is None:
            self._anchor_s = before_s
        margin_s = TOLERANCE * interval_s
        due = self._due(before_s, after_s + margin_s)
        return self._given([self._snapped(at_s, at_s - before_s, interval_s) for at_s in due])

    def at_once(
        self, before_s: Fraction, after_s: Fraction, *, follows: bool = False
    ) -> list[Slot]:
        """The slot of a real frame that does not wait for the one after it; empty where a fixed rate
        leaves it out. After a pause, before it, that of the one before it: it may have been left out.

        It keeps its own time, unless the rate is below the source's. Where a predicted one has taken a
        later time, it ``follows`` that one; else whoever shows them sees which one comes first.
        """
        if not self._goes_on(before_s, after_s):
            return [*self.after(before_s, after_s), *self.first(after_s)]
        at_s = after_s
        if self._rate.fps is not None:
            slot_s = self._free(before_s, after_s)
            if slot_s is None:
                return []
            self._taken_s = slot_s
            interval_s = self.cadence.interval_s or after_s - before_s
            if 1 / self._rate.fps > (1 + TOLERANCE) * interval_s:
                at_s = slot_s
        # What was predicted while frames were further apart may lie far beyond the interval of now.
        slot = self._real(at_s, reach_s=LONGEST_S)
        if not follows:
            slot = replace(slot, pts=self._pts(at_s))
        self.claim(slot)
        return [slot]

    def ahead(self, last_s: Fraction) -> list[Slot]:
        """The slots between the last real frame and the one expected next, for prediction.

        A plan: what is shown of it has to be claimed. Empty while no interval is known.
        """
        interval_s = self.cadence.interval_s
        if interval_s is None:
            return []
        if self._rate.fps is None:
            parts = self._parts(interval_s)
            due = [last_s + part * interval_s / parts for part in range(1, parts)]
        else:
            # A slot so close to a real frame is that frame's.
            margin_s = TOLERANCE * interval_s
            due = self._due(last_s + margin_s, last_s + interval_s - margin_s)
        planned = [self._slot(at_s, (at_s - last_s) / interval_s) for at_s in due]
        return [slot for slot in planned if self._is_later(slot)]

    def is_due(self, after_s: Fraction, until_s: Fraction) -> bool:
        """Whether a fixed rate has a slot after one time, up to and with the other."""
        return bool(self._due(after_s, until_s))

    def after(self, last_s: Fraction, until_s: Fraction) -> list[Slot]:
        """The next slot after a real frame that stands until then: where that lies beside the grid of a
        fixed rate, nothing else may show it. Empty at a multiple, and where it lies on the grid."""
        if not self.is_fixed or self._last_pts == self._pts(last_s):
            return []
        at_s = next(self._grid(max(last_s, self._taken_s or last_s)))
        if at_s > until_s - LEAST_S:
            return []
        slot = Slot(pts=self._pts(at_s), time_s=at_s, share=0.0, is_first=True)
        return self._given([slot])

    def until(self, last_s: Fraction, ends_s: Fraction) -> list[Slot]:
        """The slots between the last real frame of all and its end; empty at a rate below the
        source's, where that is far away, and while no interval is known."""
        step_s = self.step_s
        if self.cadence.interval_s is None or step_s is None or last_s + step_s >= ends_s:
            return []
        if ends_s - last_s > LONGEST_S:
            return []
        return [slot for slot in self.between(last_s, ends_s) if not slot.is_second]

    def nearest(self, time_s: Fraction) -> Slot:
        """The slot for a frame that stands in for one expected at ``time_s``; to be claimed."""
        if self._rate.fps is not None and self._anchor_s is not None:
            time_s = self._anchor_s + round((time_s - self._anchor_s) * self._rate.fps) / (
                self._rate.fps
            )
        return self._slot(time_s, Fraction(1))

    def claim(self, slot: Slot) -> bool:
        """Takes a planned slot; false where that one or a later one was given meanwhile."""
        if not self._is_later(slot):
            return False
        self._last_pts = slot.pts
        return True

    def _goes_on(self, before_s: Fraction, after_s: Fraction) -> bool:
        """Whether a frame belongs to the timeline of the one before it, and the cadence is learnt
        from both."""
        interval_s = after_s - before_s
        if 0 < interval_s <= LONGEST_S:
            self.cadence.see(interval_s)
            return True
        return self._rate.fps is not None and 0 < interval_s <= 1 / self._rate.fps

    def _free(self, before_s: Fraction, after_s: Fraction) -> Fraction | None:
        """The grid's time for a real frame that comes after another; each serves once, so that no more
        leave than there are."""
        assert self._rate.fps is not None
        interval_s = self.cadence.interval_s or after_s - before_s
        latest_s = before_s if self._taken_s is None else self._taken_s
        # How early and late a frame may be leaves room for time stamps that jitter.
        slot_s = next(self._grid(max(latest_s, after_s - 1 / self._rate.fps)))
        return slot_s if slot_s <= after_s + interval_s / 2 else None

    def _parts(self, interval_s: Fraction) -> int:
        """Into how many parts an interval falls at a multiple: more of them where a frame is lost."""
        assert self._rate.times is not None
        assert self.cadence.interval_s is not None
        wanted = round(interval_s * self._rate.times / self.cadence.interval_s)
        most = math.floor((interval_s + ROUNDED_S) * HIGHEST_FPS)
        return max(1, min(wanted, most))

    def _due(self, after_s: Fraction, until_s: Fraction) -> list[Fraction]:
        return list(takewhile(lambda at_s: at_s <= until_s, self._grid(after_s)))

    def _grid(self, after_s: Fraction) -> Iterator[Fraction]:
        """The times of a fixed rate from the first one after ``after_s`` on, without end."""
        assert self._rate.fps is not None
        step_s = 1 / self._rate.fps
        anchor_s = after_s if self._anchor_s is None else self._anchor_s
        begin = math.floor((after_s - anchor_s) / step_s) + 1
        return (anchor_s + number * step_s for number in count(begin))

    def _given(self, due: list[Slot]) -> list[Slot]:
        return [slot for slot in due if self.claim(slot)]

    def _slot(self, at_s: Fraction, share: Fraction) -> Slot:
        return Slot(pts=self._pts(at_s), time_s=at_s, share=float(share))

    def _snapped(self, at_s: Fraction, since_s: Fraction, interval_s: Fraction) -> Slot:
        share = since_s / interval_s
        tolerance = TOLERANCE if interval_s <= LONGEST_S else Fraction(1, 2)
        if share <= tolerance:
            return Slot(pts=self._pts(at_s), time_s=at_s, share=0.0, is_first=True)
        if share >= 1 - tolerance:
            return Slot(pts=self._pts(at_s), time_s=at_s, share=1.0, is_second=True)
        return self._slot(at_s, share)

    def _real(self, time_s: Fraction, *, reach_s: Fraction | None = None) -> Slot:
        """The slot of a real frame at its own time.

        Where it comes earlier than expected, a predicted one may have taken a time a little later, up
        to ``reach_s``, usually an interval: a real frame is not left out for that, it follows by
        ``LEAST_S``.
        """
        slot = Slot(pts=self._pts(time_s), time_s=time_s, share=1.0, is_second=True)
        last_s, self._last_real_s = self._last_real_s, time_s
        interval_s = self.cadence.interval_s
        if last_s is None or interval_s is None or self._last_pts is None:
            return slot
        until_s = time_s + (reach_s or interval_s)
        is_later = last_s < time_s and self._last_pts * self._time_base < until_s
        if not is_later or slot.pts > self._last_pts:
            return slot
        return replace(slot, pts=self._last_pts + math.ceil(LEAST_S / self._time_base))

    def _pts(self, at_s: Fraction) -> int:
        return rescale(1, at_s, self._time_base)

    def _is_later(self, slot: Slot) -> bool:
        return self._last_pts is None or slot.pts > self._last_pts


def output_time_base(time_base: Fraction, rate: Rate) -> Fraction:
    """A time base for real frames and slots: the input's where that is fine enough to round in.

    Else the coarsest that holds both exactly, as 1/60 for 1/30 and x2, or 1/3000 for 1/1000 and
    60 fps; where that would be finer than ``FINEST``, one that holds the real frames.
    """
    if time_base < FINEST:
        return RTP_TIME_BASE
    if time_base <= RTP_TIME_BASE:
        return time_base
    if rate.fps is None:
        assert rate.times is not None
        return time_base / rate.times
    exact = _common(time_base, 1 / rate.fps)
    return exact if exact >= FINEST else time_base / math.ceil(time_base / RTP_TIME_BASE)


def _common(one: Fraction, other: Fraction) -> Fraction:
    """The largest number that both are whole multiples of."""
    parts = math.gcd(one.numerator * other.denominator, other.numerator * one.denominator)
    return Fraction(parts, one.denominator * other.denominator)
