"""How far to predict, and whether it paid."""

from __future__ import annotations

import math

import cv2
import numpy as np

from streamer.frame import Plane

DAMPING = 0.85
"""Share of the way of the interval before; see ``damped``."""

LEAST_ERROR = 0.01
"""Squared code values: two pictures that are the same are no better than 68 dB."""


def damped(step: float) -> float:
    """How far things get in ``step`` >= 0 intervals after the last picture, in intervals.

    The first is gone at full speed; each later one goes ``DAMPING`` times as far as the one before,
    since the longer ago a motion was seen the less it holds. 1.5 gives ``1 + DAMPING / 2``.
    """
    whole, rest = divmod(step, 1.0)
    return math.fsum(DAMPING**n for n in range(int(whole))) + rest * DAMPING ** int(whole)


def gain_db(predicted: Plane, *, last: Plane, actual: Plane) -> float:
    """How much nearer a prediction came than the last picture shown again; all of one size, uint8.

    A difference of PSNR in dB, below zero where repeating would have been better.
    """
    return 10 * math.log10(_error(last, actual) / _error(predicted, actual))


def _error(seen: Plane, actual: Plane) -> float:
    squared = cv2.norm(seen, actual, cv2.NORM_L2SQR)
    return max(squared / np.prod(actual.shape), LEAST_ERROR)
