"""Mends decoded pictures that lost packets: what is missing is predicted, and so are its traces.

Note [Drift]
~~~~~~~~~~~~
A decoder builds each picture from the ones before it. Where one of these was missing or made up,
its error goes on: decoded(t) = moved(decoded(t - 1)) + change, and what was sent is
moved(sent(t - 1)) + the same change. So the error itself moves by the stream's own vectors, and
ends where a block was coded without another picture. Once there is a better picture of the moment
of the loss, a predicted one, its difference to the decoder's is carried along and added to all
pictures up to the next keyframe. Flow between the decoded pictures in place of the vectors is 0.1
to 2.6 dB worse than leaving the traces as they are.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from fractions import Fraction
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.enhance.frame_maker import can_make
from streamer.frame import CodedMotion, Damage, Frame, Plane, Planes
from streamer.metrics import Metrics

Error = NDArray[np.int16]

MAX_PREDICTED = 4
"""Intervals: the first is worth 3.3 dB over the last picture again, the fourth 1.5; held from
then on, the fourth is still worth 1.0 dB an interval later and 0.4 six later."""
FEATHER = 8
"""Luma rows over which a predicted part goes over into the decoded one."""
CORE = 2
"""Code values: a smaller error is rounding, and dropping it gains 0.1 to 0.3 dB."""
CUT = 24.0
"""Mean difference of code values between predicted and decoded from which on an incomplete picture
is taken for another scene: within twelve moving clips it is 2.5 in the median and 18 at most, between
two of them 31 at least."""
_INTERVALS = 8


class Predict(Protocol):
    """How ``FrameMaker.ahead`` is called."""

    def __call__(self, earlier: Planes, last: Planes, step: float, /) -> Planes:
        """The picture ``step`` intervals of the pair after the last one, in storage of its own."""


class Concealer:
    """Mends one stream's decoded pictures, each of them and in their order, at the decoded size.

    Pictures without damage pass as they are, at no cost. Belongs to one thread.
    """

    def __init__(self, predict: Predict, metrics: Metrics) -> None:
        self._predict = predict
        self._metrics = metrics
        self._intervals: deque[Fraction] = deque(maxlen=_INTERVALS)
        self._earlier: Frame | None = None
        self._last: Frame | None = None
        """The last picture as it left here."""
        self._decoded: Planes | None = None
        """The same as it came."""
        self._error: tuple[Error, Error, Error] | None = None

    def reset(self) -> None:
        """What comes next has nothing to do with what came before: a cut, another source."""
        self._intervals.clear()
        self._earlier = self._last = self._decoded = self._error = None

    def mend(self, frame: Frame) -> Frame:
        """The frame, or one with better planes where it is damaged."""
        size = (frame.width, frame.height)
        # Planes that are on a device are not to be fetched for this.
        if self._last is not None and (self._last.width, self._last.height) != size:
            self.reset()
        mended = frame
        damage = frame.damage
        # Only H.264 decoded on the processor tells how it moves; without that nothing is mended.
        is_told = damage is not None and (damage.motion is not None or bool(damage.lost_rows))
        is_next = self._last is not None and frame.time_s > self._last.time_s
        if damage is None or not (is_told and is_next and can_make(*size)):
            self._error = None
        else:
            mended = self._mended(frame, damage)
        if self._last is not None and frame.time_s > self._last.time_s:
            self._intervals.append(frame.time_s - self._last.time_s)
        self._earlier, self._last, self._decoded = self._last, mended, frame.planes
        return mended

    def _mended(self, frame: Frame, damage: Damage) -> Frame:
        missing = self._missing(frame) if damage.follows_loss else 0
        if missing:
            self._replace_missing(frame, missing)
        planes = frame.planes
        if self._error is not None and damage.motion is not None:
            self._error = _moved(self._error, damage.motion)
            if self._error is not None:
                planes = _corrected(planes, self._error)
        else:
            self._error = None
        if damage.lost_rows:
            planes = self._filled(frame, planes, damage)
        if planes is frame.planes:
            return frame
        self._metrics.count("concealed.damaged")
        return replace(frame, planes=planes)

    def _missing(self, frame: Frame) -> int:
        """How many pictures should have come between the last one and this one."""
        if not self._intervals:
            return 0
        assert self._last is not None
        # A source that has just become faster sends the next one sooner than any before.
        return max(0, round((frame.time_s - self._last.time_s) / min(self._intervals)) - 1)

    def _replace_missing(self, frame: Frame, missing: int) -> None:
        """A predicted picture in the place of the last one that is missing.

        The decoder used the one before the gap instead: the difference is the error from here on.
        """
        steps = Fraction(min(missing, MAX_PREDICTED), missing + 1)
        predicted = self._ahead(frame, steps)
        if predicted is not None and self._decoded is not None:
            self._error = _difference(predicted, self._decoded)

    def _ahead(self, frame: Frame, share: Fraction) -> Planes | None:
        """The picture at ``share`` of the time from the last one to ``frame``."""
        earlier, last = self._earlier, self._last
        if earlier is None or last is None:
            return None
        interval_s = last.time_s - earlier.time_s
        if interval_s <= 0:
            return None
        step = (frame.time_s - last.time_s) * share / interval_s
        return self._predict(earlier.planes, last.planes, min(float(step), float(MAX_PREDICTED)))

    def _filled(self, frame: Frame, planes: Planes, damage: Damage) -> Planes:
        """``planes`` with the lost rows predicted; what they then differ from the decoded ones."""
        predicted = self._ahead(frame, Fraction(1))
        if predicted is None or _is_cut(predicted[0], frame.planes[0], damage.lost_rows):
            return planes
        shares = _row_shares(damage.lost_rows, len(planes[0]))
        filled = (
            _blended(predicted[0], planes[0], shares),
            _blended(predicted[1], planes[1], shares[::2]),
            _blended(predicted[2], planes[2], shares[::2]),
        )
        self._error = _difference(filled, frame.planes)
        return filled


def _moved(
    error: tuple[Error, Error, Error], motion: CodedMotion
) -> tuple[Error, Error, Error] | None:
    """The error where the next picture has it; ``None`` once nothing of it is left."""
    luma = _places(error[0].shape, motion, block=8)
    chroma = _places(error[1].shape, motion, block=4)
    moved = tuple(
        _followed(plane, *places)
        for plane, places in zip(error, (luma, chroma, chroma), strict=True)
    )
    return (moved[0], moved[1], moved[2]) if any(plane.any() for plane in moved) else None


def _places(
    shape: tuple[int, ...], motion: CodedMotion, *, block: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8]]:
    """Where each pixel of a plane came from, and whether it came from anywhere.

    ``block`` is how many of the plane's pixels a vector stands for, each way.
    """
    height, width = shape
    scale = np.float32(block / 8)
    x = _spread(motion.vectors[..., 0] * scale, block)[:height, :width]
    y = _spread(motion.vectors[..., 1] * scale, block)[:height, :width]
    x += np.arange(width, dtype=np.float32)
    y += np.arange(height, dtype=np.float32)[:, None]
    return x, y, _spread(motion.is_inter, block)[:height, :width]


def _spread(grid: NDArray[Any], block: int) -> NDArray[Any]:
    rows, columns = grid.shape
    size = (columns * block, rows * block)
    return cv2.resize(grid, size, interpolation=cv2.INTER_NEAREST)


def _followed(
    error: Error,
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    is_inter: NDArray[np.uint8],
) -> Error:
    # Bilinear: a sharper filter, applied once a picture, lost up to 1 dB.
    moved = cv2.remap(error, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    moved *= is_inter
    moved[np.abs(moved) < CORE] = 0
    return np.asarray(moved, dtype=np.int16)


def _corrected(planes: Planes, error: tuple[Error, Error, Error]) -> Planes:
    y, u, v = (
        np.asarray(cv2.add(plane, wrong, dtype=cv2.CV_8U), dtype=np.uint8)
        for plane, wrong in zip(planes, error, strict=True)
    )
    return y, u, v


def _difference(wanted: Planes, decoded: Planes) -> tuple[Error, Error, Error]:
    y, u, v = (
        np.asarray(cv2.subtract(one, other, dtype=cv2.CV_16S), dtype=np.int16)
        for one, other in zip(wanted, decoded, strict=True)
    )
    return y, u, v


def _row_shares(rows: tuple[tuple[int, int], ...], height: int) -> NDArray[np.float32]:
    """(height, 1): the share of the predicted picture in each luma row, 0..1."""
    y = np.arange(height)
    shares = np.zeros(height, np.float32)
    for first, end in rows:
        away = np.maximum(np.maximum(first - y, y - (end - 1)), 0)
        np.maximum(shares, 1.0 - away / np.float32(FEATHER), out=shares)
    return shares[:, None]


def _blended(over: Plane, under: Plane, shares: NDArray[np.float32]) -> Plane:
    weights = np.repeat(shares, under.shape[1], axis=1)
    return np.asarray(cv2.blendLinear(over, under, weights, 1.0 - weights), dtype=np.uint8)


def _is_cut(predicted: Plane, decoded: Plane, lost_rows: tuple[tuple[int, int], ...]) -> bool:
    """Whether the picture shows something else than before; seen where it was not lost."""
    wrong = cv2.absdiff(predicted, decoded).mean(axis=1)
    is_kept = _row_shares(lost_rows, len(decoded))[:, 0] == 0
    return float(wrong[is_kept].mean() if is_kept.any() else wrong.mean()) > CUT
