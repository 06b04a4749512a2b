"""The definition of ``kernels/cpu/sharpen.cpp``, in NumPy, the same to the bit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8]

MOST = 3
"""Quarters of a pixel's weight that its neighbours may take away: RCAS's limit, a lobe of 3/16."""


def sharpen(
    luma: Plane, out: Plane, rows: range, *, strength: float, black: int, white: int
) -> None:
    """Fills these rows of ``out`` with ``luma`` (H, W) sharpened as far as there is room.

    Robust contrast adaptive sharpening (RCAS; Lottes, AMD FidelityFX Super Resolution 1, 2021): a
    pixel's four neighbours are subtracted with a weight, the lobe, that makes nothing darker than
    ``black`` or lighter than ``white``, times ``strength`` of 0..1. Where one of the five is
    there already, or where all of them are alike, nothing changes.
    """
    begin, end = rows.start, rows.stop
    height, width = luma.shape
    if begin == end:
        return
    # With a pixel around it, which repeats the edge.
    around = np.empty((end - begin + 2, width + 2), np.uint8)
    around[1:-1, 1:-1] = luma[begin:end]
    around[0, 1:-1], around[-1, 1:-1] = luma[max(begin - 1, 0)], luma[min(end, height - 1)]
    around[:, 0], around[:, -1] = around[:, 1], around[:, -2]
    pixel, up, down = around[1:-1, 1:-1], around[:-2, 1:-1], around[2:, 1:-1]
    left, right = around[1:-1, :-2], around[1:-1, 2:]

    least = np.minimum(np.minimum(up, down), np.minimum(left, right))
    most = np.maximum(np.maximum(up, down), np.maximum(left, right))
    over_black = np.maximum(np.minimum(least, pixel), black) - np.uint8(black)
    under_white = np.uint8(white) - np.minimum(np.maximum(most, pixel), white)
    # Where these would be nothing so are those, and nothing is divided by nothing.
    of_black = np.maximum(most, black + 1) - np.uint8(black)
    of_white = np.uint8(white) - np.minimum(least, white - 1)
    is_dark = np.multiply(over_black, of_white, dtype=np.uint16) < np.multiply(
        under_white, of_black, dtype=np.uint16
    )
    ratio = np.where(is_dark, over_black, under_white).astype(np.int16)
    of = np.where(is_dark, of_black, of_white).astype(np.int16)
    share = np.minimum(4 * ratio, MOST * of) * np.float32(strength)
    contrast = 4 * pixel.astype(np.int16) - up - down - left - right
    added = contrast * np.float32(0.25) * (share / (4 * of - share))
    out[begin:end] = (pixel + np.float32(0.5) + added).astype(np.uint8)
