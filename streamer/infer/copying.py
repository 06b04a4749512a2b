"""Arrays copied into others of another float type; half floats at the speed of memory."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_DEPTHS = {np.dtype(np.float16): cv2.CV_16F, np.dtype(np.float32): cv2.CV_32F}

_BY_OPENCV = int(cv2.__version__.split(".")[0]) >= 5
"""OpenCV 4 does no arithmetic on half floats."""


def copy(array: NDArray[Any], out: NDArray[Any]) -> None:
    """``out[...] = array``, where a float may become another float.

    For 24 planes of 640x360, OpenCV makes float32 of float16 in 1.5 ms, NumPy in 7.9; the other way
    round 6 planes take 0.36 and 3.3 (one thread, best of 25, side by side).
    """
    is_plain = array.flags.c_contiguous and out.flags.c_contiguous and array.shape == out.shape
    if _BY_OPENCV and is_plain and {array.dtype, out.dtype} == set(_DEPTHS):
        width = array.shape[-1]
        rows, out_rows = array.reshape(-1, width), out.reshape(-1, width)
        # OpenCV's own hints do not know that it adds numbers to arrays.
        cv2.add(rows, 0.0, out_rows, dtype=_DEPTHS[out.dtype])  # type: ignore[call-overload]
    else:
        np.copyto(out, array, casting="same_kind")
