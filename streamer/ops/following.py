"""Where things were one picture ago, found on noisy pictures."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.frame import Plane
from streamer.ops.motion import FlowEstimator, half, look_up

Floats = NDArray[np.float32]

WINDOW = (3, 3)
"""Pixels of the halved picture over which differences are added up."""

SMALLEST_SIDE = 32
"""Pixels of a picture below which no motion is looked for: things stand then."""

MUCH_BETTER = np.float32(0.9)
"""A motion must leave less than this share of the difference: a flow between two noisy pictures also
fits their noise a little, and would make what stands crawl."""


class Following:
    """Finds motion back to the last picture, on pictures of half the size, where noise is half as
    strong. Belongs to one thread; storage is made once per size."""

    def __init__(self) -> None:
        self._search = FlowEstimator()
        self._size = (0, 0)

    def back(self, now: Plane, before: Plane) -> Floats:
        """From each 2x2 pixels of ``now`` to their place in ``before``, both (H, W) uint8.

        (H // 2, W // 2, 2), across and down, in pixels of that grid; nothing where things stand.
        """
        if now.shape != self._size:
            self._fit(now)
        if min(now.shape) < SMALLEST_SIDE:
            return self._nothing
        small, earlier = half(now), half(before)
        flow = self._search.to(small, earlier)
        look_up(earlier, flow, self._moved)
        stood, moved = (_difference(small, picture) for picture in (earlier, self._moved))
        cv2.compare(MUCH_BETTER * stood, moved, cv2.CMP_LE, dst=self._stands)
        cv2.copyTo(self._nothing, self._stands, flow)
        return flow

    def _fit(self, now: Plane) -> None:
        self._size = now.shape
        shape = (now.shape[0] // 2, now.shape[1] // 2)
        self._moved, self._stands = np.empty((2, *shape), np.uint8)
        self._nothing = np.zeros((*shape, 2), np.float32)


def _difference(one: Plane, other: Plane) -> Floats:
    """Of each pixel with those around it."""
    summed = cv2.boxFilter(cv2.absdiff(one, other), cv2.CV_32F, WINDOW, normalize=False)
    return np.asarray(summed, np.float32)
