"""What is on a screen at each moment of the camera, compared with what the camera drew then."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np

from benchmarks.latency.camera import HEAD, Pictures, planes_of
from benchmarks.quality.metrics import psnr
from streamer.frame import RTP_TIME_BASE, Plane

COUNTER_ROWS = Fraction(1, 8)
"""Of the height: what lies above is left out, since the counter stands there."""

LONGEST = 300
"""Moments of one frozen picture that are compared; ten seconds at 30 fps."""

_WRAP = 1 << 32


class Screen:
    """Knows which of the camera's pictures each one stands for, by time stamps, and compares them."""

    def __init__(self, pictures: Pictures, *, width: int, height: int, interval: Fraction) -> None:
        """``pictures`` are those that the camera draws, ``interval`` the seconds between them."""
        self._pictures = pictures
        self._size = (width, height)
        self._ticks = interval / RTP_TIME_BASE
        self._anchor: tuple[int, int] | None = None
        """Number and time stamp of the latest picture that was read as a new one."""
        self._shown: tuple[int, Plane] | None = None

    def see(self, luma: Plane, *, ticks: int, number: int) -> list[tuple[int, float]]:
        """Another picture, (H, W) uint8 of any size, whose counter reads ``number`` or -1.

        Gives what is known now, as the number of a picture that the camera drew and the PSNR in dB
        of what stood on the screen for it: first for those that the picture before had to stand for.
        """
        if number >= 0 and (self._anchor is None or number > self._anchor[0]):
            self._anchor = (number, ticks)
        if self._anchor is None:
            return []
        # A made picture may read as the one before; only its time says what it stands for.
        wanted = self._anchor[0] + self._steps(ticks)
        small = self._small(luma)
        before, self._shown = self._shown, (wanted, small)
        found = []
        if before is not None:
            if wanted <= before[0]:
                self._shown = (before[0], small)
                return []
            missed = range(before[0] + 1, wanted)[:LONGEST]
            found = [(one, self._psnr(before[1], one)) for one in missed]
        return [*found, (wanted, self._psnr(small, wanted))]

    def _steps(self, ticks: int) -> int:
        """Whole pictures since the anchor."""
        assert self._anchor is not None
        passed = (ticks - self._anchor[1] + _WRAP // 2) % _WRAP - _WRAP // 2
        return round(passed / self._ticks)

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
        return round(psnr(small, self._below(planes_of(drawn, *self._size)[0])), 3)
