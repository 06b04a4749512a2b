"""Calls what denoising does around its network, compiled for processors (``kernels/cpu/follow.cpp``,
``mix.cpp``), with checked arguments."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kernels.errors import KernelError
from kernels.native import Native
from kernels.native_planes import lies

Plane = NDArray[np.uint8]
Floats = NDArray[np.float32]

PHASES = 6
LONGEST_SIDE = 2**14
"""Pixels of a plane."""


class _FollowPlane(ctypes.Structure):
    _fields_ = (
        ("before", ctypes.c_void_p),
        ("now", ctypes.c_void_p),
        ("before_stride", ctypes.c_int64),
        ("now_stride", ctypes.c_int64),
    )


class _Fields(ctypes.Structure):
    """As ``FollowFields``."""

    _fields_ = (
        ("planes", _FollowPlane * 3),
        ("flow", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        ("plane_stride", ctypes.c_int64),
        ("row_stride", ctypes.c_int64),
        ("rows", ctypes.c_int32),
        ("columns", ctypes.c_int32),
        ("begin", ctypes.c_int32),
        ("end", ctypes.c_int32),
    )


class _MixPlane(ctypes.Structure):
    _fields_ = (
        ("now", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        ("now_stride", ctypes.c_int64),
        ("out_stride", ctypes.c_int64),
    )


class _MixFields(ctypes.Structure):
    """As ``MixFields``."""

    _fields_ = (
        ("planes", _MixPlane * 3),
        ("difference", ctypes.c_void_p),
        ("change", ctypes.c_void_p),
        ("difference_plane", ctypes.c_int64),
        ("difference_row", ctypes.c_int64),
        ("change_plane", ctypes.c_int64),
        ("change_row", ctypes.c_int64),
        ("rows", ctypes.c_int32),
        ("columns", ctypes.c_int32),
        ("begin", ctypes.c_int32),
        ("end", ctypes.c_int32),
    )


def follow(
    native: Native,
    before: Sequence[Plane],
    now: Sequence[Plane],
    flow: Floats,
    out: Floats,
    rows: range,
) -> None:
    """These rows of ``out``, as ``kernels.reference_denoise.follow`` fills all of them.

    Raises ``KernelError`` where the arrays are not what the kernel can take.
    """
    height, width = _sides(out, 2 * PHASES, "what is filled", np.float32, is_written=True)
    is_whole = flow.flags.c_contiguous and flow.flags.aligned
    if flow.shape != (height, width, 2) or flow.dtype != np.float32 or not is_whole:
        raise KernelError(
            f"the flow is {flow.shape} {flow.dtype}; allowed is {(height, width, 2)} float32 in one piece, "
            "aligned"
        )
    fields = _Fields(
        flow=flow.ctypes.data,
        out=out.ctypes.data,
        rows=height,
        columns=width,
        **_range(rows, height),
    )
    fields.plane_stride, fields.row_stride = out.strides[:2]
    for n, pair in enumerate(_pairs(before, now, height, width)):
        fields.planes[n] = _FollowPlane(*pair)
    native.call("follow", fields)


def mix(
    native: Native,
    now: Sequence[Plane],
    difference: Floats,
    change: Plane,
    out: Sequence[Plane],
    rows: range,
) -> None:
    """These rows of ``out``, as ``kernels.reference_denoise.mix`` fills all of them.

    Raises ``KernelError`` where the arrays are not what the kernel can take.
    """
    height, width = _sides(difference, PHASES, "the difference", np.float32)
    if _sides(change, 2 * PHASES, "the change", np.uint8) != (height, width):
        raise KernelError(
            f"the change is {change.shape}, the difference {difference.shape}; allowed are the same sides"
        )
    if not all(plane.flags.writeable for plane in out):
        raise KernelError("a plane cannot be written; give it storage of its own")
    fields = _MixFields(
        difference=difference.ctypes.data,
        change=change.ctypes.data,
        rows=height,
        columns=width,
        **_range(rows, height),
    )
    fields.difference_plane, fields.difference_row = difference.strides[:2]
    fields.change_plane, fields.change_row = change.strides[:2]
    for n, pair in enumerate(_pairs(now, out, height, width)):
        fields.planes[n] = _MixPlane(*pair)
    native.call("mix", fields)


def _range(rows: range, height: int) -> dict[str, int]:
    if not 0 <= rows.start <= rows.stop <= height or rows.step != 1:
        raise KernelError(f"{rows} of rows is asked for; allowed are steps of 1 in 0..{height}")
    return {"begin": rows.start, "end": rows.stop}


def _sides(
    array: NDArray[np.generic], planes: int, name: str, kind: type, *, is_written: bool = False
) -> tuple[int, int]:
    if (
        array.ndim != 3
        or array.shape[0] != planes
        or array.dtype != kind
        or not 0 < min(array.shape) <= max(array.shape) <= LONGEST_SIDE // 2
        or (array.shape[2] > 1 and array.strides[2] != array.itemsize)
        or not array.flags.aligned
        or (is_written and not array.flags.writeable)
    ):
        raise KernelError(
            f"{name} is {array.shape} {array.dtype} with strides {array.strides}; allowed is ({planes}, "
            f"rows, columns) {np.dtype(kind)}, contiguous along columns and aligned, "
            f"sides of 1 to {LONGEST_SIDE // 2}"
        )
    return array.shape[1], array.shape[2]


def _pairs(
    ones: Sequence[Plane], others: Sequence[Plane], height: int, width: int
) -> list[tuple[int, int, int, int]]:
    shapes = ((2 * height, 2 * width), (height, width), (height, width))
    for planes in (ones, others):
        if len(planes) != len(shapes):
            raise KernelError(f"a picture has {len(planes)} planes; allowed are three, Y, U and V")
    pairs = []
    for one, other, shape in zip(ones, others, shapes, strict=True):
        (at, stride), (other_at, other_stride) = lies(one, shape), lies(other, shape)
        pairs.append((at, other_at, stride, other_stride))
    return pairs
