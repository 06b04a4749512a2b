"""What stands still, found by OpenCV: where nothing was compiled for this processor, and for sizes that
what was compiled does not take."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.frame import Plane
from streamer.ops.motion import Floats
from streamer.ops.still_limits import (
    AROUND,
    CHANGE_256,
    CONTRAST,
    CROWD,
    DOUBT,
    ENOUGH,
    LEAST_CHANGE,
    NEEDED,
    OLDEST,
    PACE,
    REACH,
    TIMES,
)

_ALLOWED = np.maximum((np.arange(256) * CHANGE_256 + 128) // 256, LEAST_CHANGE).astype(np.uint8)
"""Code values by which a pixel may differ, by the contrast around it."""

_SQUARE = np.ones((3, 3), np.uint8)
_REACHED = np.ones((2 * REACH + 1, 2 * REACH + 1), np.uint8)


class OpenCvStill:
    """As ``StillCalls``, of any shape."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.anchor, self.age, self._contrast, self._changed = np.zeros((4, *shape), np.uint8)
        self.evidence: Floats = np.zeros((shape[0] // 2, shape[1] // 2), np.float32)

    def see(self, luma: Plane) -> None:
        cv2.morphologyEx(luma, cv2.MORPH_GRADIENT, _SQUARE, dst=self._contrast)
        cv2.absdiff(luma, self.anchor, dst=self._changed)
        allowed = cv2.LUT(self._contrast, _ALLOWED)
        cv2.compare(self._changed, allowed, cv2.CMP_GT, dst=self._changed)
        cv2.copyTo(luma, self._changed, self.anchor)
        np.minimum(self.age, OLDEST, out=self.age)
        self.age += 1
        # Saturating: a change takes all of the age.
        cv2.subtract(self.age, self._changed, dst=self.age)

    def weigh(self, pictures: Floats) -> Plane | None:
        old = self._old()
        height, width = self.evidence.shape
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
        cv2.accumulateWeighted(found / (of + np.float32(1.0)), self.evidence, PACE)
        return self._still(old)

    def _old(self) -> Plane:
        """255 where detail is old enough, and not by itself."""
        old = _above(self.age, NEEDED - 1)
        old &= _above(self._contrast, CONTRAST)
        crowd = cv2.boxFilter(old & 1, cv2.CV_8U, (3, 3), normalize=False)
        old &= _above(crowd, CROWD - 1)
        return old

    def _still(self, old: Plane) -> Plane | None:
        """What is old where there is evidence, and around it, if that is anything."""
        enough = np.where(self.evidence > ENOUGH, np.uint8(255), np.uint8(0))
        if not cv2.hasNonZero(enough):
            return None
        size = (old.shape[1], old.shape[0])
        near = cv2.resize(enough, size, interpolation=cv2.INTER_NEAREST)
        still = cv2.dilate(cv2.bitwise_and(old, near), _REACHED)
        return np.asarray(still, dtype=np.uint8) if cv2.hasNonZero(still) else None


def _above(values: NDArray[Any], limit: int) -> Plane:
    """255 where a value is above the limit, else 0."""
    _, is_above = cv2.threshold(values, limit, 255, cv2.THRESH_BINARY)
    return np.asarray(is_above, dtype=np.uint8)
