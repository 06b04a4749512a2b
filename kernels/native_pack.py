"""Calls the packing compiled for processors (``kernels/cpu/pack.cpp``), with checked arguments."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kernels.errors import KernelError
from kernels.native import Native
from kernels.native_planes import lies

PHASES = 6


class _Plane(ctypes.Structure):
    _fields_ = (("at", ctypes.c_void_p), ("stride", ctypes.c_int64))


class _Fields(ctypes.Structure):
    """As ``PackFields``."""

    _fields_ = (
        ("planes", _Plane * 3),
        ("out", ctypes.c_void_p),
        ("plane_stride", ctypes.c_int64),
        ("row_stride", ctypes.c_int64),
        ("rows", ctypes.c_int32),
        ("columns", ctypes.c_int32),
    )


def pack(native: Native, planes: Sequence[NDArray[np.uint8]], out: NDArray[np.float32]) -> None:
    """Y (2 * h, 2 * w), U and V (h, w) uint8 to (6, h, w) float32, contiguous along columns.

    A part of a picture is packed by giving parts of its planes. Raises ``KernelError`` where the
    arrays are not what the kernel can take.
    """
    if (
        out.ndim != 3
        or out.shape[0] != PHASES
        or out.dtype != np.float32
        or not out.flags.writeable
        or (out.shape[2] > 1 and out.strides[2] != out.itemsize)
    ):
        raise KernelError(
            f"what is packed is {out.shape} {out.dtype} with strides {out.strides}; allowed is "
            f"({PHASES}, rows, columns) float32, contiguous along columns, that can be written"
        )
    rows, columns = out.shape[1:]
    fields = _Fields(rows=rows, columns=columns, out=out.ctypes.data)
    fields.plane_stride, fields.row_stride = out.strides[:2]
    shapes = ((2 * rows, 2 * columns), (rows, columns), (rows, columns))
    for n, (plane, shape) in enumerate(zip(planes, shapes, strict=True)):
        fields.planes[n] = _Plane(*lies(plane, shape))
    native.call("pack", fields)
