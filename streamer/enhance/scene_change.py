"""Whether two neighbouring frames show one scene: nothing is ever blended across a cut."""

from __future__ import annotations

from collections import deque
from enum import Enum

import cv2
import numpy as np

from streamer.frame import Plane
from streamer.ops.motion import Floats, OpenCvSearch, half, sample

STILL_CODES = 6
"""Code values by which no cell of a thumbnail may differ in a still picture.

Measured on thumbnails of 640x360: a still camera with sensor noise of 3 codes gives at most 6 through
x264 crf 23 in 98 of 100 pairs; a pan by a quarter of a pixel gives 10, a dot of 4 pixels that
moves by one gives 9. A keyframe at crf 35 repaints visibly, up to 29, and counts as moved.
"""

UNEXPLAINED = 0.2
"""Share of the picture's contrast that motion must leave unexplained, in two fifths of it, in a cut.

That is above the course of the last pairs, of which half the worst is taken off: a shaking camera or
noise in the dark is hard to follow in every pair, a cut in one. On 6194 dark and noisy pairs with one
false cut, 0.3 % of the cuts are missed then, and 1.5 % with a fixed threshold; ``python -m
benchmarks scene_change`` has 0 missed of 3776 and no false cut of 6203 in clean clips.
"""

FLASH_CODES = 32
"""Mean luma that one frame cannot gain or lose but by a flash; a fade over eight frames stays below."""

NOISE_CODES = 4
"""Contrast that counts for nothing. At a tenth of the light and with a sensor's noise, 3, 4 and 6 give
15, 2 and 0 false cuts, before a plain wall, and miss 1.7, 3.4 and 9.6 % of the true ones."""

COURSE = 4
"""Pairs that the course remembers."""

_STILL_SIDE, _FLOW_SIDE = 160, 80
"""What the shorter side of a thumbnail stays below: that for still pictures, and that for flow. At
twice its size the flow tells cuts no better and takes twice the time."""

_SMALLEST_SIDE = 16
"""Of pictures whose flow can be found."""

_CELLS = (40, 24)
"""Columns and rows in which a pair is compared: coarse, since flow is a few pixels off at edges."""


class Change(Enum):
    """What one frame is to the frame before it."""

    FIRST = "first"
    """There is none before it."""
    MOVED = "moved"
    """The same scene, a moment later."""
    STILL = "still"
    """Nothing that anybody sees has changed: a duplicate, or a still picture."""
    CUT = "cut"
    """Another picture; also a flash, black, and the way back from either."""


class SceneWatch:
    """Judges each decoded frame by the one before it; belongs to one thread.

    Both are made small and the flow between them is found, as it would be for a frame in between.
    What decides is how much of the second picture the first one moved, brighter or darker as a
    whole, cannot explain: the 60th percentile over the picture, so that a subtitle, a scoreboard or
    something large that enters is no cut.

    A flash is two cuts, into it and out of it. Nothing else remembers it.
    """

    def __init__(self) -> None:
        # A finer search explains too much: 18 instead of 3 missed of 3776 cuts, every fourth frame.
        self._search = OpenCvSearch()
        self._shape: tuple[int, ...] | None = None
        self._before = np.empty((0, 0), np.uint8)
        self._unmoved = self._before
        self._course: deque[float] = deque(maxlen=COURSE)

    def see(self, luma: Plane) -> Change:
        """What the next frame is, by its luma, (H, W) uint8; another size is a cut."""
        # Decoders lend their memory: what is kept must be a copy.
        small = _shrunk(luma, _STILL_SIDE)
        small = small.copy() if small is luma else small
        change = self._judge(small) if luma.shape == self._shape else self._begin()
        if change is Change.CUT:
            self._course.clear()
        # A slow pan adds up: what a frame has moved is counted from the last one that did move.
        if change is not Change.STILL:
            self._unmoved = small
        self._shape, self._before = luma.shape, small
        return change

    def see_again(self) -> Change:
        """As ``see`` with the luma that it saw last, which nobody has to fetch for that."""
        self._course.append(0.0)
        return Change.STILL

    def _begin(self) -> Change:
        return Change.FIRST if self._shape is None else Change.CUT

    def _judge(self, small: Plane) -> Change:
        if cv2.norm(small, self._unmoved, cv2.NORM_INF) <= STILL_CODES:
            self._course.append(0.0)
            return Change.STILL
        if abs(cv2.mean(small)[0] - cv2.mean(self._before)[0]) >= FLASH_CODES:
            return Change.CUT
        unexplained = self._unexplained(
            _shrunk(self._before, _FLOW_SIDE), _shrunk(small, _FLOW_SIDE)
        )
        if unexplained - max(self._course, default=0.0) / 2 > UNEXPLAINED:
            return Change.CUT
        self._course.append(unexplained)
        return Change.MOVED

    def _unexplained(self, before: Plane, after: Plane) -> float:
        explained = before.astype(np.float32)
        if min(after.shape) >= _SMALLEST_SIDE:
            explained = sample(explained, self._search.search(after, before))
        return _difference(_cells(explained), _cells(after.astype(np.float32)))


def _shrunk(picture: Plane, side: int) -> Plane:
    """Halved by averaging until the shorter side has less than ``side`` pixels.

    Halving is what OpenCV does fastest: 1920x1080 takes 0.16 ms, in one step of another ratio 2.0.
    """
    while min(picture.shape) >= side:
        picture = half(picture)
    return picture


def _cells(picture: Floats) -> Floats:
    return np.asarray(cv2.resize(picture, _CELLS, interpolation=cv2.INTER_AREA), dtype=np.float32)


def _difference(one: Floats, other: Floats) -> float:
    """How little two pictures (h, w) have in common but for gain and offset: 0 to about 1.

    The one with less contrast is fitted to the other, so that going to black loses as much as
    coming from it; the difference is a share of that other's contrast.
    """
    spread, spread_of_other = _spread(one), _spread(other)
    if spread > spread_of_other:
        one, other, spread_of_other = other, one, spread
    around = np.asarray(cv2.blur(_left_over(one, other), (3, 3)), dtype=np.float32)
    # In the dark, and on a plain wall, noise is all the contrast there is.
    return _at(around, 0.6) / (spread_of_other + NOISE_CODES)


def _left_over(one: Floats, other: Floats) -> Floats:
    """How far ``one`` times a gain plus an offset stays from ``other``, both (h, w), per cell.

    Least squares over all, then over the half that fits better: what only one of them shows has
    no say in how much brighter the rest became.
    """
    left = _misfit(one, other, one.ravel(), other.ravel())
    fits = left <= _at(left, 0.5)
    return _misfit(one, other, one[fits], other[fits])


def _misfit(one: Floats, other: Floats, x: Floats, y: Floats) -> Floats:
    """What is left of ``other`` by the gain and offset that bring ``x`` closest to ``y``."""
    middle_x, middle_y = x.mean(), y.mean()
    deviation = x - middle_x
    # A gain below zero would turn a picture into its negative.
    gain = max(0.0, float(deviation @ (y - middle_y)) / float(deviation @ deviation + len(x)))
    left: Floats = np.abs(other - np.float32(gain) * one - (middle_y - np.float32(gain) * middle_x))
    return left


def _spread(picture: Floats) -> float:
    return float(cv2.meanStdDev(picture)[1][0, 0])


def _at(values: Floats, share: float) -> float:
    """The value that this share of them does not exceed; a fifth of the time of ``percentile``."""
    place = int(share * values.size)
    return float(np.partition(values, place, axis=None)[place])
