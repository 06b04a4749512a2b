"""Luma planes for the tests of ``kernels/cpu/sharpen.cpp``, and what is made of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels import native_sharpen, reference_sharpen
from kernels.native import Native
from tests.kernels.pictures import random_samples
from tests.streamer.pictures import texture

Plane = NDArray[np.uint8]

SIZES = [(1, 1), (1, 2), (2, 1), (1, 300), (70, 1), (3, 5), (9, 255), (4, 256), (5, 257), (33, 643)]
"""Rows and columns: single ones, odd ones, one less than a chunk, one, one more, and more."""

ENDS = [(16, 235), (0, 255)]
"""Black and white of both ranges."""

STRENGTHS = [0.0, 0.1, 0.5, 1 / 3, 1.0]

NEAR_ENDS = np.array([0, 1, 14, 15, 16, 17, 18, 126, 233, 234, 235, 236, 237, 254, 255], np.uint8)


def noise(rows: int, columns: int) -> Plane:
    """Every code, many of both extremes."""
    found: Plane = random_samples((rows, columns), 8, np.random.default_rng([rows, columns]))
    return found


def ends(rows: int, columns: int) -> Plane:
    """Black, white, what lies beyond them and what is next to them; much of it flat."""
    return np.random.default_rng([rows, columns]).choice(NEAR_ENDS, (rows, columns))


def soft(rows: int, columns: int) -> Plane:
    """As pictures are: neighbours differ by little."""
    return texture(width=columns, height=rows)


KINDS = {each.__name__: each for each in (noise, ends, soft)}


def blank(luma: Plane) -> Plane:
    return np.full(luma.shape, 99, np.uint8)


def twin(luma: Plane, strength: float, black: int, white: int) -> Plane:
    out, rows = blank(luma), range(len(luma))
    reference_sharpen.sharpen(luma, out, rows, strength=strength, black=black, white=white)
    return out


def sharpened(native: Native, luma: Plane, strength: float, black: int, white: int) -> Plane:
    out, rows = blank(luma), range(len(luma))
    native_sharpen.sharpen(native, luma, out, rows, strength=strength, black=black, white=white)
    return out
