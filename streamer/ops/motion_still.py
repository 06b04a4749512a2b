"""What stands still in front of what moves: subtitles, logos, clocks.

Flow drags such overlays along with the background, so that they flutter in made frames. They are
found at full resolution, where the strokes of a glyph are a few pixels wide, and copied.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.frame import Plane, Planes
from streamer.ops.motion import Floats

NEEDED = 4
"""Pairs in a row without a change. What moves rarely looks the same for as long."""

OLDEST = 254
"""Pairs; one more still fits a byte."""

LEAST_CHANGE, CHANGE = 10, 0.35
"""A change: more than so many code values, and than this share of the contrast around. A codec lets
the edges of standing text tremble by a quarter of theirs; what moves changes by all of its."""

CONTRAST = 20
"""Code values among three by three pixels; what is even needs no copy."""

CROWD = 4
"""Of three by three pixels, which must be still for the middle one to count: in a stroke two pixels
wide six are, what matched by chance stands alone or in a row."""

DOUBT, TIMES = 12 / 255, 4.0
"""Standing still explains a pixel when it leaves this much less mismatch than a quarter of what
motion leaves around it: a fine flow follows letters half-way, and next to them nothing stands.
Without this evidence the detail of every slow pan would be copied, which costs 0.6 dB on the mean of
22 clips; with it, nothing on most."""

AROUND = 9
"""Pixels of the half-size picture over which evidence is gathered, about a letter."""

PACE, ENOUGH = 0.125, 0.05
"""Evidence is averaged over about eight pairs: not every background betrays every letter at once.
A twentieth of the still pixels around is enough; text shows 10 % and more."""

REACH = np.ones((7, 7), np.uint8)
"""What is copied around a still pixel: the seams of glyphs, and ghosts that were dragged there."""

SQUARE = np.ones((3, 3), np.uint8)


class StillAreas:
    """Watches lumas one after another, and copies what stood still; belongs to one thread."""

    def __init__(self) -> None:
        self._luma: Plane = np.empty((0, 0), np.uint8)
        self._anchor = self._age = self._changed = self._contrast = self._luma
        self._evidence: Floats = np.empty((0, 0), np.float32)
        self._masks: dict[tuple[int, ...], Plane] = {}
        self._is_weighed = True

    def reset(self) -> None:
        """Forgets everything seen so far."""
        self._luma = np.empty((0, 0), np.uint8)
        self._masks.clear()
        self._is_weighed = True

    def see(self, luma: Plane) -> None:
        """Takes the next luma, (H, W) uint8, and keeps it; another size than before starts anew.

        Each pixel is compared with what it was when it last changed, not with the picture before:
        a slow drift would never differ from that.
        """
        self._masks.clear()
        self._is_weighed = False
        if luma.shape != self._luma.shape:
            self._begin(luma)
            return
        self._luma = luma
        cv2.morphologyEx(luma, cv2.MORPH_GRADIENT, SQUARE, dst=self._contrast)
        allowed = np.maximum(cv2.convertScaleAbs(self._contrast, alpha=CHANGE), LEAST_CHANGE)
        cv2.absdiff(luma, self._anchor, dst=self._changed)
        cv2.compare(self._changed, allowed, cv2.CMP_GT, dst=self._changed)
        cv2.copyTo(luma, self._changed, self._anchor)
        np.minimum(self._age, OLDEST, out=self._age)
        self._age += 1
        # Saturating: a change takes all of the age.
        cv2.subtract(self._age, self._changed, dst=self._age)

    def weigh(self, pictures: Floats) -> None:
        """Looks for evidence, once after each luma, and decides what is still.

        ``pictures`` as ``pack_motion`` fills them: the last two at half size, brought to one time
        by either flow, and as they are.
        """
        if self._is_weighed:
            return
        self._is_weighed = True
        old = self._old()
        height, width = self._evidence.shape
        forward, backward, standing = (
            cv2.absdiff(pictures[n, :height, :width], pictures[n + 1, :height, :width])
            for n in (0, 2, 4)
        )
        moved = cv2.blur(cv2.min(forward, backward), (3, 3))
        explained = cv2.compare(moved, TIMES * standing + np.float32(DOUBT), cv2.CMP_GT)
        there = cv2.resize(old, (width, height), interpolation=cv2.INTER_AREA)
        found, of = (
            cv2.boxFilter(part, cv2.CV_32F, (AROUND, AROUND))
            for part in (cv2.min(explained, there), there)
        )
        cv2.accumulateWeighted(found / (of + np.float32(1.0)), self._evidence, PACE)
        self._keep(old)

    def mask(self, shape: tuple[int, int]) -> Plane | None:
        """255 where planes of (rows, columns) show what stood still; ``None`` where nothing did."""
        return self._sized(shape) if self._luma.shape in self._masks else None

    def copy(self, planes: Planes, out: Planes) -> None:
        """Puts what stood still from planes of any size into others of that size."""
        if self._luma.shape not in self._masks:
            return
        for plane, target in zip(planes, out, strict=True):
            cv2.copyTo(plane, self._sized(target.shape), target)

    def _begin(self, luma: Plane) -> None:
        if luma.shape != self._anchor.shape:
            self._anchor, self._age, self._changed, self._contrast = (
                np.empty_like(luma) for _ in range(4)
            )
            self._evidence = np.empty((luma.shape[0] // 2, luma.shape[1] // 2), np.float32)
        np.copyto(self._anchor, luma)
        self._luma = luma
        self._age[:] = 0
        self._evidence[:] = 0

    def _old(self) -> Plane:
        """255 where detail is old enough, and not by itself."""
        old = _above(self._age, NEEDED - 1)
        old &= _above(self._contrast, CONTRAST)
        crowd = cv2.boxFilter(old & 1, cv2.CV_8U, (3, 3), normalize=False)
        old &= _above(crowd, CROWD - 1)
        return old

    def _keep(self, old: Plane) -> None:
        """The mask of the luma's size, if there is anything in it."""
        enough = np.where(self._evidence > ENOUGH, np.uint8(255), np.uint8(0))
        if not cv2.hasNonZero(enough):
            return
        size = (old.shape[1], old.shape[0])
        near = cv2.resize(enough, size, interpolation=cv2.INTER_NEAREST)
        still = cv2.dilate(cv2.bitwise_and(old, near), REACH)
        if cv2.hasNonZero(still):
            self._masks[self._luma.shape] = np.asarray(still, dtype=np.uint8)

    def _sized(self, shape: tuple[int, ...]) -> Plane:
        """The mask for planes of this size, 0 or 255."""
        if shape not in self._masks:
            mask = self._masks[self._luma.shape]
            sized = cv2.resize(mask, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
            self._masks[shape] = _above(sized, 127)
        return self._masks[shape]


def _above(values: NDArray[Any], limit: int) -> Plane:
    """255 where a value is above the limit, else 0."""
    _, is_above = cv2.threshold(values, limit, 255, cv2.THRESH_BINARY)
    return np.asarray(is_above, dtype=np.uint8)
