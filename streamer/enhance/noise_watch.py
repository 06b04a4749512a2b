"""Whether a stream is noisy: what denoising waits for where it is left to the program."""

from __future__ import annotations

from collections import deque
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.frame import Plane

BLOCK = 8
"""Pixels to a side of what is measured together."""

CALMEST = 0.2
"""Share of the blocks that noise is read from: those with the least detail, and with the least motion."""

DARKEST, BRIGHTEST = 24, 228
"""Mean codes between which noise is not cut off."""

STEP = 8
"""Pictures from one look to the next, once there were enough."""

LOOKS = 3
"""Lately, whose median counts."""

REPEATS = 3
"""Times that the same picture says nothing when it comes again, as where a lower rate was raised; more often,
it stands."""

NOISY, CALM = 0.6, 0.45
"""Standard deviations, in code values, from which denoising is begun and below which it is ended."""

OF_MEAN = np.sqrt(np.pi / 2)
"""Standard deviation of normal noise for each 1 of its mean magnitude."""

OF_DETAIL = np.asarray([1, -2, 1], np.float32)
"""Along rows and columns both: blind to planes and edges that go straight (Immerkaer, "Fast noise variance
estimation", 1996); it answers noise with six times its deviation."""


class NoiseWatch:
    """Judges decoded luma, picture by picture; belongs to one thread.

    Noise is what differs both from the picture before and from the pixels around. Either alone is
    misled: by motion, or by fine texture. Coded pictures have the noise that the codec left.
    """

    def __init__(self) -> None:
        self.is_noisy = False
        self.deviation = 0.0
        """Of the noise lately, in code values."""
        self._last: Plane | None = None
        self._until_look = 0
        self._repeats = 0
        self._seen: deque[float] = deque(maxlen=LOOKS)

    def see(self, luma: Plane) -> None:
        """The next picture (H, W) uint8, which must not change any more."""
        if self._last is not None and self._last.shape != luma.shape:
            self._seen.clear()
        elif self._last is not None:
            is_again = not cv2.norm(luma, self._last, cv2.NORM_INF)
            self._repeats = self._repeats + 1 if is_again else 0
            if not 0 < self._repeats <= REPEATS:
                self._look(luma, self._last)
        self._until_look = max(0, self._until_look - 1)
        # Only a picture and the one right before it are compared.
        self._last = luma if self._until_look == 0 else None

    def reset(self) -> None:
        """A picture was left out: the next one has none right before it."""
        self._last = None

    def _look(self, now: Plane, before: Plane) -> None:
        self._seen.append(deviation(now, before))
        self.deviation = median(self._seen)
        if len(self._seen) == LOOKS:
            self.is_noisy = self.deviation >= (CALM if self.is_noisy else NOISY)
            self._until_look = STEP


def deviation(now: Plane, before: Plane) -> float:
    """Standard deviation of the noise in two neighbouring pictures, in code values; 0 where there is no
    room to tell."""
    rows, columns = (side // BLOCK for side in now.shape)
    if not rows or not columns:
        return 0.0
    now, before = (plane[: rows * BLOCK, : columns * BLOCK] for plane in (now, before))
    level = _by_block(now)
    told = (level > DARKEST) & (level < BRIGHTEST)
    if np.count_nonzero(told) < 16:
        return 0.0
    over_time = _by_block(cv2.absdiff(now, before)) / np.sqrt(2)
    detail = cv2.sepFilter2D(now, cv2.CV_16S, OF_DETAIL, OF_DETAIL)
    over_space = _by_block(cv2.convertScaleAbs(detail)) / 6
    calmest = (float(np.quantile(means[told], CALMEST)) for means in (over_time, over_space))
    return float(OF_MEAN * min(calmest))


def _by_block(values: cv2.typing.MatLike) -> NDArray[np.float32]:
    size = (values.shape[1] // BLOCK, values.shape[0] // BLOCK)
    return np.asarray(
        cv2.resize(values.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32
    )
