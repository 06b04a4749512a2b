"""Calls the sharpening compiled for processors (``kernels/cpu/sharpen.cpp``), with checked arguments."""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from kernels.errors import KernelError
from kernels.native import Native
from kernels.native_planes import lies

Plane = NDArray[np.uint8]

LONGEST_SIDE = 2**16
"""Pixels of a plane."""


class _Fields(ctypes.Structure):
    """As ``SharpenFields``."""

    _fields_ = (
        ("luma", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        ("stride", ctypes.c_int64),
        ("out_stride", ctypes.c_int64),
        ("width", ctypes.c_int32),
        ("height", ctypes.c_int32),
        ("begin", ctypes.c_int32),
        ("end", ctypes.c_int32),
        ("black", ctypes.c_int32),
        ("white", ctypes.c_int32),
        ("strength", ctypes.c_float),
    )


def sharpen(
    native: Native,
    luma: Plane,
    out: Plane,
    rows: range,
    *,
    strength: float,
    black: int,
    white: int,
) -> None:
    """These rows of ``out``, as ``kernels.reference_sharpen.sharpen`` fills them.

    Raises ``KernelError`` where the arrays and numbers are not what the kernel can take.
    """
    if luma.ndim != 2 or not 0 < min(luma.shape) <= max(luma.shape) <= LONGEST_SIDE:
        raise KernelError(
            f"a plane is {luma.shape}; allowed are two sides of 1 to {LONGEST_SIDE} pixels"
        )
    height, width = luma.shape
    at, stride = lies(luma, (height, width))
    out_at, out_stride = lies(out, (height, width))
    if not out.flags.writeable or np.shares_memory(luma, out) or abs(out_stride) < width:
        raise KernelError(
            "the plane to be filled cannot be written, or shares storage with itself or what it is "
            "made of; give it storage of its own"
        )
    if not 0 <= rows.start <= rows.stop <= height or rows.step != 1:
        raise KernelError(f"{rows} of rows is asked for; allowed are steps of 1 in 0..{height}")
    if not 0 <= strength <= 1 or not 0 <= black < white <= 255:
        raise KernelError(
            f"strength {strength} between black {black} and white {white} is asked for; allowed are "
            "0..1 and codes of 0..255, black below white"
        )
    fields = _Fields(
        luma=at,
        out=out_at,
        stride=stride,
        out_stride=out_stride,
        width=width,
        height=height,
        begin=rows.start,
        end=rows.stop,
        black=black,
        white=white,
        strength=strength,
    )
    native.call("sharpen", fields)
