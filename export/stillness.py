"""Where originals stand still, and how much a result changes there."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from export.data.planes import Plane

STILL = 1.0
"""Mean difference of two originals, in code values around a pixel, below which it stands still."""

AROUND = (7, 7)
"""Pixels."""


def standing(before: Plane, now: Plane) -> NDArray[np.bool_]:
    """Where two original luma planes (H, W) show the same."""
    difference = cv2.blur(cv2.absdiff(before, now).astype(np.float32), AROUND)
    return np.asarray(difference < STILL)


def change(before: Plane, now: Plane, stands: NDArray[np.bool_]) -> float | None:
    """Mean difference of two luma planes of a result in code values where the originals stand still;
    ``None`` where nothing does."""
    changes = cv2.absdiff(before, now)[stands]
    return float(changes.mean()) if changes.size else None
