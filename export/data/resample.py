"""Shrinking planes with antialiased kernels; sample centres stay centred, borders repeat."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from export.data.planes import Plane

Floats = NDArray[np.float32]


def _box(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where((x >= -0.5) & (x < 0.5), 1.0, 0.0)


def _triangle(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(0.0, 1.0 - np.abs(x))


def _keys(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic with a = -0.5, as MATLAB and Pillow shrink."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1.0
    far = -0.5 * x**3 + 2.5 * x**2 - 4.0 * x + 2.0
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _lanczos(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.abs(x) < 3.0, np.sinc(x) * np.sinc(x / 3.0), 0.0)


KERNELS: dict[str, tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], float]] = {
    "area": (_box, 0.5),
    "bilinear": (_triangle, 1.0),
    "bicubic": (_keys, 2.0),
    "lanczos": (_lanczos, 3.0),
}
"""Kernel and its half width in output samples."""


@lru_cache(maxsize=64)
def weights(inputs: int, outputs: int, kernel: str) -> Floats:
    """The (outputs, inputs) matrix that shrinks a row; every row sums to one."""
    function, reach = KERNELS[kernel]
    ratio = inputs / outputs
    matrix = np.zeros((outputs, inputs))
    taps = np.arange(-int(np.ceil(reach * ratio)) - 1, int(np.ceil(reach * ratio)) + 2)
    for row in range(outputs):
        centre = (row + 0.5) * ratio - 0.5
        places = int(np.floor(centre)) + taps
        values = function(np.asarray((places - centre) / ratio, dtype=np.float64))
        np.add.at(matrix[row], places.clip(0, inputs - 1), values)
    matrix /= matrix.sum(axis=1, keepdims=True)
    return matrix.astype(np.float32)


def shrink(plane: Plane | Floats, *, height: int, width: int, kernel: str) -> Floats:
    """The plane at a smaller size, not rounded; ``kernel`` is a key of ``KERNELS``."""
    rows = weights(plane.shape[0], height, kernel)
    columns = weights(plane.shape[1], width, kernel)
    result: Floats = rows @ plane.astype(np.float32) @ columns.T
    return result


def to_codes(values: Floats) -> Plane:
    """Rounded to the nearest 8-bit code value."""
    return np.rint(values).clip(0, 255).astype(np.uint8)
