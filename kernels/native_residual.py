"""Calls the upscale and sum compiled for processors (``kernels/cpu/add_residual.cpp``), with checked
arguments."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.errors import KernelError
from kernels.native import Native
from kernels.native_planes import lies

Plane = NDArray[np.uint8]

SCALE = 2
"""What the kernel enlarges by."""

MOST_PLANES = 3
LONGEST_SIDE = 2**15
"""Pixels of a small plane."""

CELLS = (2, 1, 1)
"""Pixels to a side of a cell in Y, U and V of the small picture."""


class _Plane(ctypes.Structure):
    """As ``EnlargedPlane``."""

    _fields_ = (
        ("at", ctypes.c_void_p),
        ("stride", ctypes.c_int64),
        ("width", ctypes.c_int32),
        ("height", ctypes.c_int32),
        ("out", ctypes.c_void_p),
        ("out_stride", ctypes.c_int64),
        ("residual", ctypes.c_void_p),
        ("cell", ctypes.c_int32),
    )


class _Fields(ctypes.Structure):
    """As ``AddResidualFields``."""

    _fields_ = (
        ("planes", _Plane * MOST_PLANES),
        ("phase_stride", ctypes.c_int64),
        ("row_stride", ctypes.c_int64),
        ("planes_count", ctypes.c_int32),
        ("is_float", ctypes.c_int32),
    )


def upscale(native: Native, planes: Sequence[Plane], out: Sequence[Plane]) -> None:
    """The plain upscale at x2 of up to three planes of any size, (h, w) to (2 * h, 2 * w) uint8 each.

    Raises ``KernelError`` where the arrays are not what the kernel can take.
    """
    if not 1 <= len(planes) == len(out) <= MOST_PLANES:
        raise KernelError(
            f"{len(planes)} planes are to become {len(out)}; allowed are as many, 1 to {MOST_PLANES}"
        )
    fields = _Fields(planes_count=len(planes))
    for n, (plane, target) in enumerate(zip(planes, out, strict=True)):
        fields.planes[n] = _enlarged(plane, target, cell=1)
    native.call("add_residual", fields)


def add_residual(
    native: Native, planes: Sequence[Plane], residual: NDArray[Any], out: Sequence[Plane]
) -> None:
    """The plain upscale at x2 of Y, U and V plus a residual.

    ``planes`` are (2 * h, 2 * w) and twice (h, w), ``out`` twice as large. ``residual`` (24, h, w) is
    uint8 around 128 or float32 in code values. Raises ``KernelError`` where the arrays are not what
    the kernel can take.
    """
    if len(planes) != MOST_PLANES or len(out) != MOST_PLANES:
        raise KernelError(
            f"{len(planes)} planes are to become {len(out)}; allowed are three, Y, U and V"
        )
    rows, columns = planes[1].shape
    shapes = [plane.shape for plane in planes]
    if shapes != [(2 * rows, 2 * columns), (rows, columns), (rows, columns)]:
        raise KernelError(
            f"planes are {shapes}; allowed are U and V of one size and Y of twice that"
        )
    fields = _Fields(planes_count=MOST_PLANES)
    _take_residual(fields, residual, rows=rows, columns=columns)
    phases = 0
    for n, cell in enumerate(CELLS):
        fields.planes[n] = _enlarged(planes[n], out[n], cell=cell)
        fields.planes[n].residual = residual.ctypes.data + phases * fields.phase_stride
        phases += (SCALE * cell) ** 2
    native.call("add_residual", fields)


def _take_residual(fields: _Fields, residual: NDArray[Any], *, rows: int, columns: int) -> None:
    phases = sum((SCALE * cell) ** 2 for cell in CELLS)
    is_float = residual.dtype == np.float32
    if (
        residual.shape != (phases, rows, columns)
        or not (is_float or residual.dtype == np.uint8)
        or (columns > 1 and residual.strides[2] != residual.itemsize)
    ):
        raise KernelError(
            f"a residual is {residual.shape} {residual.dtype} with strides {residual.strides}; allowed "
            f"is ({phases}, {rows}, {columns}) uint8 or float32, contiguous along columns"
        )
    fields.phase_stride, fields.row_stride = residual.strides[:2]
    fields.is_float = is_float


def _enlarged(plane: Plane, out: Plane, *, cell: int) -> _Plane:
    height, width = plane.shape
    at, stride = lies(plane, (height, width))
    out_at, out_stride = lies(out, (SCALE * height, SCALE * width))
    if not 0 < max(height, width) <= LONGEST_SIDE:
        raise KernelError(
            f"a plane is {plane.shape}; allowed are sides of up to {LONGEST_SIDE} before it is enlarged"
        )
    if not out.flags.writeable or np.shares_memory(plane, out) or (abs(out_stride) < out.shape[1]):
        raise KernelError(
            "the plane to be filled cannot be written, or shares storage with itself or what it is "
            "made of; give it storage of its own"
        )
    return _Plane(
        at=at,
        stride=stride,
        width=width,
        height=height,
        out=out_at,
        out_stride=out_stride,
        cell=cell,
    )
