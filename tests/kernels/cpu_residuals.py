"""Pictures and residuals for the tests of ``kernels/cpu/add_residual.cpp``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.arguments import Layout
from kernels.native import Native
from kernels.native_residual import add_residual
from tests.kernels.pictures import noise

SIZES = [(2, 2), (6, 4), (46, 18), (130, 6), (322, 34), (2086, 6)]
"""Width and height: less than a vector, an odd number of cells, vectors and a part, more than a run."""


@dataclass(frozen=True)
class Picture:
    """Y, U and V, and what is added to them at twice their size."""

    planes: Sequence[NDArray[np.uint8]]
    residual: NDArray[Any]

    def with_residual(self, value: float) -> Picture:
        return replace(self, residual=np.full_like(self.residual, value))


def picture(width: int, height: int, dtype: type[Any]) -> Picture:
    """Noise of every code, and a residual of noise; of floats many are halves, and some far off."""
    numbers = np.random.default_rng([width, height])
    shape = (24, height // 2, width // 2)
    codes = numbers.integers(0, 256, shape, np.uint8)
    residual: NDArray[Any] = codes
    if dtype is np.float32:
        residual = ((codes.astype(np.float32) - 128) / 2).astype(np.float32)
        residual[numbers.random(shape) < 0.3] *= np.float32(1.37)
        residual[numbers.random(shape) < 0.05] = 1e5
        residual[numbers.random(shape) < 0.05] = np.nan
    return Picture(noise(Layout.YUV420P, width=width, height=height), residual)


def blank(it: Picture) -> list[NDArray[np.uint8]]:
    return [np.zeros([2 * side for side in plane.shape], np.uint8) for plane in it.planes]


def enhanced(native: Native, it: Picture) -> list[NDArray[np.uint8]]:
    out = blank(it)
    add_residual(native, it.planes, it.residual, out)
    return out
