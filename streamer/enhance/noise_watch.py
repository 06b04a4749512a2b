"""Whether a stream is noisy: what denoising waits for where it is left to the program."""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.frame import Plane
from streamer.ops.following import Following
from streamer.ops.motion import look_up

BLOCK = 8
"""Pixels to a side of what is measured together."""

CALMEST = 0.2
"""Share of the blocks that noise is read from: those with the least detail, and with the least motion."""

BEST_FOLLOWED = 0.05
"""The same along motion, which is hardly found as well as that for every fifth block of fine texture."""

EXPLAINS = 0.3
"""Share of what seemed noise that is left there, below which the rest was motion. Of drawn noise
0.75 and more is left, of what H.264 left of it at crf 23 0.42 to 0.66 on five clips and 0.13 on
one, of fine texture that moves 0.23 at most."""

DARKEST, BRIGHTEST = 24, 228
"""Mean codes between which noise is not cut off."""

LARGEST = (384, 640)
"""Rows and columns from the middle of which motion is found: as much as that takes no longer the
larger a picture is."""

STEP = 8
"""Pictures from one look to the next, once there were enough."""

LOOKS = 3
"""Lately, whose median counts."""

REPEATS = 3
"""Times that the same picture says nothing when it comes again, as where a lower rate was raised;
more often, it stands."""

NOISY, CALM = 0.6, 0.45
"""Standard deviations, in code values, from which denoising is begun and below which it is ended."""

OF_MEAN = np.sqrt(np.pi / 2)
"""Standard deviation of normal noise for each 1 of its mean magnitude."""

OF_DETAIL = np.asarray([1, -2, 1], np.float32)
"""Along rows and columns both: blind to planes and edges that go straight (Immerkaer, "Fast noise variance
estimation", 1996); it answers noise with six times its deviation."""


class NoiseWatch:
    """Judges decoded luma, picture by picture; belongs to one thread.

    Noise is what differs both from the picture before and from the pixels around, and hardly less
    from where things were, along their motion. Each alone is misled: by motion, by fine texture, by
    what was covered. Coded pictures have the noise that the codec left.
    """

    def __init__(self) -> None:
        self.is_noisy = False
        self.deviation = 0.0
        """Of the noise lately, in code values."""
        self._last: Plane | None = None
        self._until_look = 0
        self._repeats = 0
        self._seen: deque[float] = deque(maxlen=LOOKS)
        self._following = Following()

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
        self._seen.append(deviation(now, before, self._following))
        self.deviation = median(self._seen)
        if len(self._seen) == LOOKS:
            self.is_noisy = self.deviation >= (CALM if self.is_noisy else NOISY)
            self._until_look = STEP


def deviation(now: Plane, before: Plane, following: Following) -> float:
    """Standard deviation of the noise in two neighbouring pictures, in code values; 0 where there is no
    room to tell. Motion is found only where there may be any noise."""
    rows, columns = (side // BLOCK for side in now.shape)
    if not rows or not columns:
        return 0.0
    now, before = (plane[: rows * BLOCK, : columns * BLOCK] for plane in (now, before))
    told = _tell(now)
    if np.count_nonzero(told) < 16:
        return 0.0
    over_time = _by_block(cv2.absdiff(now, before)) / np.sqrt(2)
    detail = cv2.sepFilter2D(now, cv2.CV_16S, OF_DETAIL, OF_DETAIL)
    over_space = _by_block(cv2.convertScaleAbs(detail)) / 6
    likely = min(_calmest(over_time, told), _calmest(over_space, told))
    if likely < CALM:
        return likely
    now, before, told = _middle(now), _middle(before), _middle(told, pixels=BLOCK)
    if np.count_nonzero(told) < 16:
        return likely
    back = cv2.resize(following.back(now, before), now.shape[::-1])
    moved = np.empty_like(now)
    look_up(before, 2 * np.asarray(back, np.float32), moved)
    along_motion = _by_block(cv2.absdiff(now, moved)) / np.sqrt(2)
    followed = _calmest(along_motion, told, BEST_FOLLOWED)
    return followed if followed < EXPLAINS * likely else likely


def _tell(luma: Plane) -> NDArray[np.bool_]:
    """Which blocks noise can be read from."""
    level = _by_block(luma)
    return np.asarray((level > DARKEST) & (level < BRIGHTEST))


def _calmest(
    means: NDArray[np.floating[Any]], told: NDArray[np.bool_], share: float = CALMEST
) -> float:
    return float(OF_MEAN * np.quantile(means[told], share))


def _middle(values: NDArray[Any], *, pixels: int = 1) -> NDArray[Any]:
    """At most ``LARGEST`` of a picture, or of what is told of each of its squares of so many pixels."""
    height, width = (most // pixels for most in LARGEST)
    # Whole blocks.
    unit = BLOCK // pixels
    top = max(0, values.shape[0] - height) // 2 // unit * unit
    left = max(0, values.shape[1] - width) // 2 // unit * unit
    return values[top : top + height, left : left + width]


def _by_block(values: cv2.typing.MatLike) -> NDArray[np.float32]:
    size = (values.shape[1] // BLOCK, values.shape[0] // BLOCK)
    return np.asarray(
        cv2.resize(values.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32
    )
