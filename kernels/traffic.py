"""How many bytes of device memory a call has to move: each input once, each output once.

What a kernel's head says per pixel, for a whole call. Neighbours that are read again come from the
cache, atomics meet there, and edges that repeat are in a register: none of these counts. A mask
counts as if it left out nothing, as what it holds is not known here. Time and this number give a
share of the device's copy bandwidth, which is at most 1.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping

from kernels import arguments as c
from kernels.launch import Call


def bytes_moved(call: Call) -> int:
    """The least that the call can read and write, in bytes."""
    return _MOVED[call.unit.file](call.entry, call.fields)


def _pack(entry: str, it: c.PackFields) -> int:
    return _picture(entry, it.in_) + 6 * int(it.rows * it.columns) * _value(entry)


def _add_residual(entry: str, it: c.AddResidualFields) -> int:
    # A residual has a value for each sample of the output, and more that nothing needs.
    added = _samples(it.out.width, it.out.height) * _value(entry)
    return _picture(entry, it.in_) + added + _picture(entry, it.out)


def _planar(entry: str, it: c.PlanarFields) -> int:
    return _picture(entry, it.in_) + _samples(it.out.width, it.out.height)


def _half(entry: str, it: c.HalfFields) -> int:
    pixels = int(it.width * it.height)
    return 4 * pixels * _depth(entry) + pixels


def _warp(entry: str, it: c.WarpFields) -> int:
    _, sides, kind, *_ = entry.split("_")
    planes = {"one": 1, "two": 2}[sides]
    plane = int(it.width * it.height) * (2 if kind == "pairs" else 1) * _depth(entry)
    maps = 5 if sides == "two" else 2
    return (planes + 1) * plane + maps * _map(it.grid)


def _cover(entry: str, it: c.CoverFields) -> int:
    return int(it.width * it.height) * (2 * int(entry.rpartition("_")[2]) + 1)


def _finish(entry: str, it: c.FinishFields) -> int:
    return 2 * int(it.width * it.height) * _depth(entry) + 2 * _map(it.grid)


def _difference(entry: str, it: c.DifferenceFields) -> int:
    return 2 * int(it.width * it.height) * _depth(entry) + ctypes.sizeof(c.Difference)


def _watch(entry: str, it: c.WatchFields) -> int:
    return int(it.count) * _value(entry) + ctypes.sizeof(c.Health)


_MOVED: Mapping[str, Callable[..., int]] = {
    "pack": _pack,
    "add_residual": _add_residual,
    "planar": _planar,
    "half": _half,
    "warp": _warp,
    "cover": _cover,
    "finish": _finish,
    "difference": _difference,
    "watch": _watch,
}


def _picture(entry: str, surface: c.SurfaceFields) -> int:
    return _samples(surface.width, surface.height) * _depth(entry)


def _samples(width: int, height: int) -> int:
    """Of a 4:2:0 picture."""
    return width * height + 2 * ((width + 1) // 2) * ((height + 1) // 2)


def _map(grid: c.GridFields) -> int:
    """One map of a guide, in bytes."""
    return int(grid.rows * grid.columns) * (2 if grid.is_half else 4)


def _depth(entry: str) -> int:
    """Bytes of a sample."""
    return 2 if {"10", "p010"} & set(entry.split("_")) else 1


def _value(entry: str) -> int:
    """Bytes of a tensor's value."""
    return {"u8": 1, "f16": 2, "f32": 4}[entry.rpartition("_")[2]]
