"""Calls the warp that is compiled for processors (``kernels/cpu/warp.cpp``), with checked arguments."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.errors import KernelError
from kernels.native import Native
from kernels.native_planes import lies

Plane = NDArray[np.uint8]
Floats = NDArray[np.float32]
Trio = tuple[Plane, Plane, Plane]
"""Two planes, and the one that is made of them."""

MOST_TRIOS = 2
LONGEST_SIDE = 16384
"""Pixels; a place is 32 bits, of which 15 lie behind the point."""

ANY_STRIDE = 2**31
"""Bytes of a plane from its first row to its last, at most."""


@dataclass(frozen=True, slots=True)
class Maps:
    """A guide's maps, (rows, columns) float32 each, contiguous along columns.

    The planes are as large as ``extent``, rows and columns of cells.
    """

    flow: Floats
    """(4, rows, columns): x and y into the first plane, x and y into the second, in cells."""
    mask: Floats
    """Share of the first plane, 0..1."""
    extent: tuple[float, float]
    residual: Floats | None = None
    """Added, code values / 255; only together with ``softness``."""
    softness: Floats | None = None
    """Share of the made plane that is blurred, 0..1."""


class _Map(ctypes.Structure):
    _fields_ = (("at", ctypes.c_void_p), ("stride", ctypes.c_int64))


class _Plane(ctypes.Structure):
    _fields_ = (("at", ctypes.c_void_p), ("stride", ctypes.c_int64))


class _Trio(ctypes.Structure):
    _fields_ = (("first", _Plane), ("second", _Plane), ("out", _Plane))


class _Guide(ctypes.Structure):
    _fields_ = (
        ("flow", _Map * 4),
        ("mask", _Map),
        ("residual", _Map),
        ("softness", _Map),
        ("columns", ctypes.c_int32),
        ("rows", ctypes.c_int32),
        ("across", ctypes.c_float),
        ("down", ctypes.c_float),
    )


class _Fields(ctypes.Structure):
    _fields_ = (
        ("trios", _Trio * MOST_TRIOS),
        ("guide", _Guide),
        ("scratch", ctypes.c_void_p),
        ("trios_count", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("height", ctypes.c_int32),
        ("begin", ctypes.c_int32),
        ("end", ctypes.c_int32),
        ("is_sharp", ctypes.c_int32),
    )


class WarpCall:
    """One warp of one or two trios by one guide; rows of it may be made on several threads at once.

    It keeps no array alive: it is for use while the caller holds them.
    """

    def __init__(
        self, native: Native, trios: Sequence[Trio], maps: Maps, *, is_sharp: bool
    ) -> None:
        """``is_sharp``: bicubic instead of bilinear. With a residual there is one trio.

        Raises ``KernelError`` where the arrays are not what the kernel can take.
        """
        self._native = native
        finishes = maps.residual is not None
        if not 1 <= len(trios) <= (1 if finishes else MOST_TRIOS):
            raise KernelError(
                f"{len(trios)} planes are to be made at once; allowed are 1 with a residual and 1 to "
                f"{MOST_TRIOS} without; make them one after another"
            )
        shape = trios[0][2].shape
        self._fields = _Fields(
            guide=_guide(maps, shape),
            trios_count=len(trios),
            width=shape[1],
            height=shape[0],
            is_sharp=is_sharp,
        )
        for n, trio in enumerate(trios):
            self._fields.trios[n] = _trio(trio, shape)
        self._scratch_bytes = scratch_bytes(shape[1], maps.mask.shape[1])

    def make(self, begin: int, end: int, scratch: Plane) -> None:
        """Fills the rows from ``begin`` up to ``end``.

        ``scratch``: at least ``scratch_bytes``, for this call alone while it runs.
        """
        fields = _Fields.from_buffer_copy(self._fields)
        if not 0 <= begin <= end <= fields.height:
            raise KernelError(f"rows {begin} to {end} are asked for, there are {fields.height}")
        if scratch.nbytes < self._scratch_bytes or not scratch.flags.c_contiguous:
            raise KernelError(
                f"the scratch has {scratch.nbytes} bytes, {self._scratch_bytes} in one piece are "
                "needed; ask scratch_bytes"
            )
        fields.begin, fields.end, fields.scratch = begin, end, scratch.ctypes.data
        self._native.call("warp_rows", fields)


def scratch_bytes(width: int, columns: int) -> int:
    """Storage that rows of so many pixels and cells need; see ``Scratch`` in ``warp.cpp``."""
    return 120 * width + 8 * columns + 8192


def _guide(maps: Maps, shape: tuple[int, ...]) -> _Guide:
    rows, columns = maps.mask.shape
    if maps.flow.shape != (4, rows, columns):
        raise KernelError(
            f"flow is {maps.flow.shape} beside a mask of {maps.mask.shape}; "
            f"allowed is (4, {rows}, {columns})"
        )
    if not all(0 < cells < np.inf for cells in maps.extent):
        raise KernelError(f"a plane is to be as large as {maps.extent} cells; allowed is above 0")
    if not all(0 < cells <= LONGEST_SIDE for cells in (rows, columns)):
        raise KernelError(f"a guide has {rows}x{columns} cells; allowed are 1 to {LONGEST_SIDE}")
    guide = _Guide(
        flow=(_Map * 4)(*(_map(part, (rows, columns)) for part in maps.flow)),
        mask=_map(maps.mask, (rows, columns)),
        rows=rows,
        columns=columns,
        down=shape[0] / maps.extent[0],
        across=shape[1] / maps.extent[1],
    )
    if (maps.residual is None) != (maps.softness is None):
        raise KernelError("a guide has only one of residual and softness; give both or neither")
    if maps.residual is not None and maps.softness is not None:
        guide.residual = _map(maps.residual, (rows, columns))
        guide.softness = _map(maps.softness, (rows, columns))
    return guide


def _map(part: NDArray[Any], shape: tuple[int, ...]) -> _Map:
    if part.shape != shape or part.dtype != np.float32 or not _is_contiguous(part):
        raise KernelError(
            f"a map is {part.shape} {part.dtype} with strides {part.strides}; allowed is {shape} "
            "float32, contiguous along columns"
        )
    return _Map(part.ctypes.data, part.strides[0])


def _trio(trio: Trio, shape: tuple[int, ...]) -> _Trio:
    first, second, out = trio
    if not out.flags.writeable or any(np.shares_memory(out, part) for part in (first, second)):
        raise KernelError(
            "the plane to be made cannot be written, or is one of those it is made of; "
            "give it storage of its own"
        )
    if abs(out.strides[0]) < shape[1] and shape[0] > 1:
        raise KernelError(
            f"rows of the plane to be made lie {out.strides[0]} bytes apart; allowed are "
            f"{shape[1]} and more"
        )
    return _Trio(*(_plane(part, shape) for part in trio))


def _plane(plane: NDArray[Any], shape: tuple[int, ...]) -> _Plane:
    at, stride = lies(plane, shape)
    if not all(0 < side <= LONGEST_SIDE for side in shape):
        raise KernelError(f"a plane is {shape}; allowed are sides of 1 to {LONGEST_SIDE}")
    if abs(stride) * shape[0] >= ANY_STRIDE:
        raise KernelError(
            f"rows of a plane lie {stride} bytes apart; {shape[0]} of them must stay "
            f"under {ANY_STRIDE} bytes"
        )
    return _Plane(at, stride)


def _is_contiguous(part: NDArray[Any]) -> bool:
    return part.ndim == 2 and (part.shape[1] == 1 or part.strides[1] == part.itemsize)
