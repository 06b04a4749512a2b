"""What the kernels are timed on: for each entry a call at one size, and the memory that it names.

Pictures are waves with a little noise, as a camera's are: on noise alone every atomic of a histogram
would meet another address, on zeros all the same one. A flow is smooth and reaches 6 pixels, a third
of a picture is softened, a residual is small and has nothing in it that is not finite, a mask covers all.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels import launch
from kernels.arguments import (
    Difference,
    Grid,
    Health,
    Layout,
    Picture,
    Plane,
    Precision,
    Tensor,
)
from kernels.launch import Call
from kernels.units import Unit

CELL = 4
"""Pixels of luma along one cell of a guide, as motion is found at a quarter of the picture's size."""

VALUES: Mapping[Precision, type[np.generic]] = {
    Precision.FLOAT16: np.float16,
    Precision.FLOAT32: np.float32,
}

KEPT = 8
"""Arrays of each kind that stay on the host: one entry after the other wants the same."""

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Size:
    """Of the large picture of a call: what is packed, halved, warped, or enlarged to."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


@dataclass(frozen=True, slots=True)
class Case:
    """One entry at one size: what its memory holds, and its call once that has addresses."""

    unit: Unit
    entry: str
    size: Size
    memory: tuple[Array, ...]
    call: Callable[[Sequence[int]], Call]
    """Of one address for each array of ``memory``, in its order."""

    @property
    def bytes_moved(self) -> int:
        """The least that the call can read and write: each array once.

        Neighbours that are read again come from the cache, atomics meet there, and edges that repeat
        are in a register: none of these counts. With a time it gives a share of the device's copy
        bandwidth, which is at most 1.
        """
        return sum(array.nbytes for array in self.memory)

    @property
    def is_memory_bound(self) -> bool:
        """Whether memory is what it should wait for: looking pixels up where a flow points, and a guide's
        maps at each of them, is mostly arithmetic (``benchmarks.instructions`` counts it)."""
        return self.unit.file not in ("warp", "finish")


def case_of(unit: Unit, entry: str, size: Size) -> Case:
    """The case of one entry; ``size`` divides by 12, so that every scale fits."""
    memory, call = _MADE[unit.file](entry.removeprefix(f"{unit.file}_").split("_"), unit, size)
    return Case(unit, entry, size, memory, call)


Made = tuple[tuple[Array, ...], Callable[[Sequence[int]], Call]]


def _pack(words: list[str], _: Unit, size: Size) -> Made:
    layout, precision = Layout(words[0]), Precision(words[1])
    planes = _planes(layout, size)
    out = np.zeros((6, size.height // 2, size.width // 2), VALUES[precision])
    return (*planes, out), lambda at: launch.pack(
        _picture(layout, size, at), _tensor(out, at[-1], precision)
    )


def _add_residual(words: list[str], unit: Unit, size: Size) -> Made:
    layout, precision = Layout(words[0]), Precision(words[1])
    scale = int(unit.name.rpartition("x")[2])
    small = Size(size.width // scale, size.height // scale)
    planes, large = _planes(layout, small), _planes(layout, size)
    shape = (6 * scale**2, small.height // 2, small.width // 2)
    residual = _noise(shape, precision)
    number = len(planes)
    return (*planes, *large, residual), lambda at: launch.add_residual(
        _picture(layout, small, at),
        _tensor(residual, at[-1], precision),
        _picture(layout, size, at[number:]),
        scale=scale,
    )


def _planar(words: list[str], _: Unit, size: Size) -> Made:
    layout = Layout(words[0])
    planes, made = _planes(layout, size), _planes(Layout.YUV420P, size)
    number = len(planes)
    return (*planes, *made), lambda at: launch.planar(
        _picture(layout, size, at), _picture(Layout.YUV420P, size, at[number:])
    )


def _interleave(_: list[str], unit: Unit, size: Size) -> Made:
    planes, made = _planes(Layout.YUV420P, size), _planes(Layout.NV12, size)
    return (*planes, *made), lambda at: launch.interleave(
        _picture(Layout.YUV420P, size, at), _picture(Layout.NV12, size, at[3:])
    )


def _warp(words: list[str], _: Unit, size: Size) -> Made:
    sides, kind, bits, looked_up = words
    channels = 2 if kind == "pairs" else 1
    height, width = size.height // channels, size.width // channels
    plane = _waves(height, width, int(bits), channels)
    guide = np.concatenate((_flow(size), _shares(size)[None]))
    grid = _grid(size, cell=CELL / channels)
    how: dict[str, Any] = {"grid": grid, "is_sharp": looked_up == "cubic"}
    if sides == "one":
        return (plane, plane, guide[:2]), lambda at: launch.warp_one(
            _plane(plane, at[0]), _plane(plane, at[1]), guide=at[2], **how
        )
    return (plane, plane, plane, guide), lambda at: launch.warp(
        _plane(plane, at[0]), _plane(plane, at[1]), _plane(plane, at[2]), guide=at[3], **how
    )


def _cover(words: list[str], _: Unit, size: Size) -> Made:
    """All of it is covered: what a mask leaves out is not moved."""
    pairs = _waves(size.height, size.width, 10, 2)
    plane = {"1": _waves(size.height, size.width, 8), "2": pairs[..., 0], "4": pairs}[words[0]]
    plane = np.ascontiguousarray(plane)
    mask = np.full((size.height, size.width), 255, np.uint8)
    return (plane, plane, mask), lambda at: launch.cover(
        _plane(plane, at[0]), _plane(plane, at[1]), mask=_plane(mask, at[2])
    )


def _finish(words: list[str], _: Unit, size: Size) -> Made:
    luma = _waves(size.height, size.width, int(words[0]))
    shares = _shares(size)
    softness = np.maximum(shares * 3 - 2, 0)
    guide = np.stack((shares / 50, softness))
    return (luma, luma, guide), lambda at: launch.finish(
        _plane(luma, at[0]), _plane(luma, at[1]), guide=at[2], grid=_grid(size, cell=CELL)
    )


def _difference(words: list[str], _: Unit, size: Size) -> Made:
    luma = _waves(size.height, size.width, int(words[0]))
    out, with_bins = np.zeros(ctypes.sizeof(Difference), np.uint8), words[1] == "bins"
    return (luma, luma, out), lambda at: launch.difference(
        _plane(luma, at[0]), _plane(luma, at[1]), out=at[2], with_bins=with_bins
    )


def _watch(words: list[str], _: Unit, size: Size) -> Made:
    """The residual of x2, as the streamer watches it."""
    precision = Precision(words[0])
    residual = _noise((24, size.height // 4, size.width // 4), precision)
    out = np.zeros(ctypes.sizeof(Health), np.uint8)
    return (residual, out), lambda at: launch.watch(
        at[0], count=residual.size, precision=precision, out=at[1]
    )


_MADE: Mapping[str, Callable[[list[str], Unit, Size], Made]] = {
    "pack": _pack,
    "add_residual": _add_residual,
    "planar": _planar,
    "interleave": _interleave,
    "warp": _warp,
    "cover": _cover,
    "finish": _finish,
    "difference": _difference,
    "watch": _watch,
}


def _planes(layout: Layout, size: Size) -> tuple[Array, ...]:
    rows, columns = size.height // 2, size.width // 2
    luma = _waves(size.height, size.width, layout.bits)
    if layout.has_pairs:
        return luma, _waves(rows, columns, layout.bits, 2)
    return luma, _waves(rows, columns, layout.bits), _waves(rows, columns, layout.bits)


def _picture(layout: Layout, size: Size, at: Sequence[int]) -> Picture:
    sample = 2 if layout.bits == 10 else 1
    pair = 2 if layout.has_pairs else 1
    return Picture(
        layout=layout,
        width=size.width,
        height=size.height,
        luma=at[0],
        chroma=at[1],
        second=0 if layout.has_pairs else at[2],
        luma_stride=size.width * sample,
        chroma_stride=size.width // 2 * pair * sample,
    )


def _plane(array: Array, address: int) -> Plane:
    return Plane(
        address=address,
        stride=array.strides[0],
        width=array.shape[1],
        height=array.shape[0],
        bits=10 if array.dtype == np.uint16 else 8,
        channels=2 if array.ndim == 3 else 1,
    )


def _tensor(array: Array, address: int, precision: Precision) -> Tensor:
    rows, columns = array.shape[-2:]
    return Tensor(address=address, rows=rows, columns=columns, precision=precision)


def _grid(size: Size, *, cell: float) -> Grid:
    return Grid(rows=size.height // CELL, columns=size.width // CELL, cell=cell)


@lru_cache(KEPT)
def _waves(height: int, width: int, bits: int, channels: int = 1) -> Array:
    """(height, width) samples, or (height, width, 2) pairs."""
    y, x = np.mgrid[0:height, 0 : width * channels].astype(np.float32)
    code = 128 + 60 * np.sin(x / 90 + y / 130) + 40 * np.sin(x / 17 - y / 23)
    code += np.random.default_rng(1).integers(-3, 4, code.shape)
    samples: Array = code.astype(np.uint8) if bits == 8 else (code * 4).astype(np.uint16) << 6
    return samples.reshape(height, width, 2) if channels == 2 else samples


@lru_cache(KEPT)
def _noise(shape: tuple[int, ...], precision: Precision) -> Array:
    """A residual: normally distributed, 8 code values wide; one plane of it, repeated."""
    plane = np.random.default_rng(2).normal(0, 8, shape[1:])
    return np.broadcast_to(plane.astype(VALUES[precision]), shape).copy()


@lru_cache(KEPT)
def _flow(size: Size) -> Array:
    """(4, rows, columns) in cells, up to 1.5 of them."""
    y, x = np.mgrid[0 : size.height // CELL, 0 : size.width // CELL].astype(np.float32)
    across, down = 1.5 * np.sin(x / 40 + y / 70), 1.2 * np.cos(y / 50)
    return np.stack((across, down, -across, -down)).astype(np.float32)


@lru_cache(KEPT)
def _shares(size: Size) -> Array:
    """(rows, columns), 0 to 1."""
    y, x = np.mgrid[0 : size.height // CELL, 0 : size.width // CELL].astype(np.float32)
    return np.asarray(0.5 + 0.5 * np.sin(x / 60) * np.cos(y / 45), np.float32)
