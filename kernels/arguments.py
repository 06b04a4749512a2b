"""What kernels are told: pictures, planes and maps by address, and the structures of the C side.

Addresses are integers, of device memory for a launch; the tests pass those of NumPy arrays to the
same code compiled for the host. Strides are bytes from row to row.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from enum import StrEnum


class Layout(StrEnum):
    """How a 4:2:0 picture lies in memory; the value is the name that kernels carry."""

    NV12 = "nv12"
    """8 bits; U and V in pairs."""
    P010 = "p010"
    """10 bits in the upper bits of 16; U and V in pairs."""
    YUV420P = "yuv420p"
    """8 bits; three planes."""

    @property
    def bits(self) -> int:
        return 10 if self is Layout.P010 else 8

    @property
    def has_pairs(self) -> bool:
        return self is not Layout.YUV420P


class Precision(StrEnum):
    """The type of a tensor's values; the value is the name that kernels carry."""

    FLOAT16 = "f16"
    FLOAT32 = "f32"

    @property
    def size_bytes(self) -> int:
        return 2 if self is Precision.FLOAT16 else 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A 4:2:0 picture; chroma has (width + 1) // 2 columns and (height + 1) // 2 rows."""

    layout: Layout
    width: int
    height: int
    luma: int
    chroma: int
    """The plane of U, or of the pairs."""
    luma_stride: int
    chroma_stride: int
    second: int = 0
    """The plane of V; unused with pairs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """One component, or U and V in pairs; ``width`` counts pixels, a pair being one."""

    address: int
    stride: int
    width: int
    height: int
    bits: int = 8
    """8, or 10 in the upper bits of 16."""
    channels: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """Contiguous planes (n, rows, columns) of a network's input or output."""

    address: int
    rows: int
    columns: int
    precision: Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The shape of a guide's maps, and how many pixels of the plane lie along one cell, 1 at least."""

    rows: int
    columns: int
    cell: float


class SurfaceFields(ctypes.Structure):
    _fields_ = (
        ("luma", ctypes.c_void_p),
        ("chroma", ctypes.c_void_p),
        ("second", ctypes.c_void_p),
        ("luma_stride", ctypes.c_int32),
        ("chroma_stride", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("height", ctypes.c_int32),
    )


class GridFields(ctypes.Structure):
    _fields_ = (
        ("columns", ctypes.c_int32),
        ("rows", ctypes.c_int32),
        ("cell", ctypes.c_float),
        ("share", ctypes.c_float),
    )


class PackFields(ctypes.Structure):
    _fields_ = (
        ("in_", SurfaceFields),
        ("out", ctypes.c_void_p),
        ("rows", ctypes.c_int32),
        ("columns", ctypes.c_int32),
    )


class AddResidualFields(ctypes.Structure):
    _fields_ = (
        ("in_", SurfaceFields),
        ("out", SurfaceFields),
        ("residual", ctypes.c_void_p),
        ("rows", ctypes.c_int32),
        ("columns", ctypes.c_int32),
    )


class PlanarFields(ctypes.Structure):
    _fields_ = (
        ("in_", SurfaceFields),
        ("out", SurfaceFields),
    )


class InterleaveFields(ctypes.Structure):
    _fields_ = (
        ("in_", SurfaceFields),
        ("out", SurfaceFields),
    )


class WarpFields(ctypes.Structure):
    _fields_ = (
        ("first", ctypes.c_void_p),
        ("second", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        ("guide", ctypes.c_void_p),
        ("first_stride", ctypes.c_int32),
        ("second_stride", ctypes.c_int32),
        ("out_stride", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("height", ctypes.c_int32),
        ("grid", GridFields),
    )


class CoverFields(ctypes.Structure):
    _fields_ = (
        ("over", ctypes.c_void_p),
        ("mask", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        ("over_stride", ctypes.c_int32),
        ("mask_stride", ctypes.c_int32),
        ("out_stride", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("height", ctypes.c_int32),
    )


class FinishFields(ctypes.Structure):
    _fields_ = (
        ("in_", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        ("guide", ctypes.c_void_p),
        ("in_stride", ctypes.c_int32),
        ("out_stride", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("height", ctypes.c_int32),
        ("grid", GridFields),
    )


class DifferenceFields(ctypes.Structure):
    _fields_ = (
        ("first", ctypes.c_void_p),
        ("second", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        ("first_stride", ctypes.c_int32),
        ("second_stride", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("height", ctypes.c_int32),
    )


class WatchFields(ctypes.Structure):
    _fields_ = (
        ("residual", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        ("count", ctypes.c_int64),
    )


class Difference(ctypes.Structure):
    """What ``difference`` adds to: the sum of absolute differences, and both histograms."""

    _fields_ = (("sum", ctypes.c_uint64), ("bins", ctypes.c_uint32 * 64 * 2))


class Health(ctypes.Structure):
    """What ``watch`` adds to: counts of values."""

    _fields_ = (
        ("nans", ctypes.c_uint32),
        ("infinities", ctypes.c_uint32),
        ("dark", ctypes.c_uint32),
    )


def surface(picture: Picture) -> SurfaceFields:
    """The picture as the C side takes it."""
    return SurfaceFields(
        picture.luma,
        picture.chroma,
        picture.second,
        picture.luma_stride,
        picture.chroma_stride,
        picture.width,
        picture.height,
    )


def grid_fields(grid: Grid) -> GridFields:
    """The grid as the C side takes it."""
    return GridFields(grid.columns, grid.rows, grid.cell, 1 / grid.cell)
