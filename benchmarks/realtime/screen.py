"""What is on a screen at each moment of the camera, compared with what the camera drew then."""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from typing import NamedTuple

import cv2
import numpy as np

from benchmarks.latency.camera import HEAD, Pictures
from benchmarks.quality.metrics import psnr
from streamer.frame import RTP_TIME_BASE, Plane
from streamer.ops.memory import planes_in
from streamer.pace import MOST_LOST
from streamer.rtp.packet import Unwrapper

COUNTER_ROWS = Fraction(1, 8)
"""Of the height: what lies above is left out, since the counter stands there."""

LONGEST = 300
"""Moments of one frozen picture that are compared; ten seconds at 30 fps."""


class Compared(NamedTuple):
    """One of the camera's moments."""

    number: int
    """Of the picture that the camera drew then."""
    db: float
    """PSNR of what stood on the screen for it."""
    frozen_db: tuple[float, ...]
    """The same of what had stood for the moment before it, for the one before that, and so on, up to
    ``MOST_LOST`` of them: what a freeze since then would have been worth. Empty where the camera's
    own picture stood there."""


class Screen:
    """Knows which of the camera's pictures each one stands for, by time stamps, and compares them."""

    def __init__(self, pictures: Pictures, *, width: int, height: int, interval: Fraction) -> None:
        """``pictures`` are those that the camera draws, ``interval`` the seconds between them."""
        self._pictures = pictures
        self._size = (width, height)
        self._ticks = interval / RTP_TIME_BASE
        self._unwrapper = Unwrapper()
        """Stays at the anchor."""
        self._anchor: tuple[int, int] | None = None
        """Number and time stamp of the latest picture that was read as a new one."""
        self._last = 0
        """The latest moment for which something stood."""
        self._stood: deque[Plane] = deque(maxlen=MOST_LOST)
        """What stood for the latest moments, in their order."""

    def see(self, luma: Plane, *, ticks: int, number: int) -> list[Compared]:
        """Another picture, (H, W) uint8 of any size, whose counter reads ``number`` or -1.

        Gives what is known now: first of the moments that the picture before had to stand for.
        """
        is_own = number >= 0 and (self._anchor is None or number > self._anchor[0])
        if is_own:
            self._anchor = (number, self._unwrapper.unwrap(ticks))
        if self._anchor is None:
            return []
        # A made picture may read as the one before; only its time says what it stands for.
        wanted = self._anchor[0] + self._steps(ticks)
        small = self._small(luma)
        found: list[Compared] = []
        if self._stood:
            before = self._stood[-1]
            if wanted <= self._last:
                self._stood[-1] = small
                return []
            missed = range(self._last + 1, wanted)[:LONGEST]
            found = [self._compared(before, one, is_own=False) for one in missed]
        self._last = wanted
        return [*found, self._compared(small, wanted, is_own=is_own)]

    def _compared(self, small: Plane, number: int, *, is_own: bool) -> Compared:
        """What is said of a moment; from now on ``small`` stood there."""
        earlier = () if is_own else reversed(self._stood)
        frozen = tuple(self._psnr(one, number) for one in earlier)
        self._stood.append(small)
        return Compared(number, self._psnr(small, number), frozen)

    def _steps(self, ticks: int) -> int:
        """Whole pictures since the anchor."""
        assert self._anchor is not None
        return round((self._unwrapper.peek(ticks) - self._anchor[1]) / self._ticks)

    def _small(self, luma: Plane) -> Plane:
        """At the camera's size, without the counter."""
        width, height = self._size
        if luma.shape == (height, width):
            return self._below(luma).copy()
        shrunk = cv2.resize(luma, (width, height), interpolation=cv2.INTER_AREA)
        return self._below(np.asarray(shrunk, dtype=np.uint8))

    def _below(self, luma: Plane) -> Plane:
        return luma[int(len(luma) * COUNTER_ROWS) :]

    def _psnr(self, small: Plane, number: int) -> float:
        drawn = self._pictures.picture(number, 0)[HEAD.size :]
        return round(psnr(small, self._below(planes_in(drawn, *self._size)[0])), 3)
