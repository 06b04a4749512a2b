"""Planes of 8 bits as what is compiled for processors takes them: an address and a stride."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels.errors import KernelError


def lies(plane: NDArray[np.uint8], shape: tuple[int, ...]) -> tuple[int, int]:
    """Where a plane begins, and how many bytes lie from row to row.

    Raises ``KernelError`` where it is not uint8 of this (h, w), contiguous along columns.
    """
    is_in_rows = plane.ndim == 2 and (plane.shape[1] <= 1 or plane.strides[1] == 1)
    if plane.shape != shape or plane.dtype != np.uint8 or not is_in_rows:
        raise KernelError(
            f"a plane is {plane.shape} {plane.dtype} with strides {plane.strides}; allowed is {shape} "
            "uint8, contiguous along columns"
        )
    return plane.ctypes.data, plane.strides[0]
