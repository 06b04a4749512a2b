"""Runs every kernel on arrays that begin or end at memory nobody may touch.

``python -m tests.kernels.fences FOLDER`` ends with a signal when a kernel reads or writes outside
of its arrays; ``FOLDER`` is where the kernels compiled for the host are kept.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
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
from kernels.launch import BLOCK, Call
from kernels.units import DIFFERENCE
from tests.kernels.guides import cells
from tests.kernels.host_build import HostKernels
from tests.kernels.pictures import FLOATS, noise

SIZES = ((1, 1), (2, 2), (9, 7), (37, 21))
WHOLE_SIZES = ((48, 6), (42, 3))
"""With rows of whole pieces, in which a kernel goes its straight way."""
SAMPLES = {8: np.uint8, 10: np.uint16}
CELL = 4.0


@dataclass(frozen=True)
class Fenced:
    """Rows that lie ``padding`` samples apart, flush with a fence before the first or behind the last, and
    a multiple of ``pitch`` bytes."""

    is_at_end: bool
    padding: int
    pitch: int = 1

    def address(self, values: NDArray[Any]) -> tuple[int, int]:
        """Where a copy of ``values`` lies now, and its stride; it stays for good."""
        width = values[0].nbytes
        stride = -(-(width + self.padding * values.itemsize) // self.pitch) * self.pitch
        size = stride * (len(values) - 1) + width
        begin = _pages(size, is_at_end=self.is_at_end)
        for row, line in enumerate(np.ascontiguousarray(values)):
            ctypes.memmove(begin + row * stride, line.ctypes.data, width)
        return begin, stride

    def plane(self, values: NDArray[Any]) -> Plane:
        address, stride = self.address(values)
        return Plane(
            address=address,
            stride=stride,
            width=values.shape[1],
            height=values.shape[0],
            bits=10 if values.dtype == np.uint16 else 8,
            channels=2 if values.ndim == 3 else 1,
        )

    def picture(self, layout: Layout, *, width: int, height: int) -> Picture:
        planes = noise(layout, width=width, height=height)
        (luma, luma_stride), (chroma, chroma_stride), *more = map(self.address, planes)
        return Picture(
            layout=layout,
            width=width,
            height=height,
            luma=luma,
            luma_stride=luma_stride,
            chroma=chroma,
            chroma_stride=chroma_stride,
            second=more[0][0] if more else 0,
        )

    def tight(self, *shape: int, dtype: Any, fill: float = 0) -> int:
        """The address of contiguous values."""
        return Fenced(self.is_at_end, 0).address(np.full(shape, fill, dtype))[0]


def calls(fenced: Fenced, *, width: int, height: int) -> Iterator[Call]:
    """Every kind of kernel at this size."""
    for bits in SAMPLES:
        yield from _plane_calls(fenced, bits, width=width, height=height)
    for precision, dtype in FLOATS.items():
        for layout in Layout:
            yield from _picture_calls(fenced, layout, precision, width=width, height=height)
        count = width * height
        residual = fenced.tight(1, count, dtype=dtype)
        told = fenced.tight(1, ctypes.sizeof(Health) // 4, dtype=np.uint32)
        yield launch.watch(residual, count=count, precision=precision, out=told)


def _picture_calls(
    fenced: Fenced, layout: Layout, precision: Precision, *, width: int, height: int
) -> Iterator[Call]:
    picture = fenced.picture(layout, width=width, height=height)
    rows, columns = (height + 1) // 2, (width + 1) // 2
    if fenced.pitch > 1:
        columns = -(-columns // 8) * 8
    for scale in (1, 2, 3, 4):
        planes = fenced.tight(6 * scale**2, rows, columns, dtype=FLOATS[precision])
        tensor = Tensor(address=planes, rows=rows, columns=columns, precision=precision)
        out = fenced.picture(layout, width=scale * width, height=scale * height)
        yield launch.add_residual(picture, tensor, out, scale=scale)
    yield launch.pack(picture, tensor)
    if layout.has_pairs:
        yield launch.planar(picture, fenced.picture(Layout.YUV420P, width=width, height=height))
    else:
        yield launch.interleave(picture, fenced.picture(Layout.NV12, width=width, height=height))


def _plane_calls(fenced: Fenced, bits: int, *, width: int, height: int) -> Iterator[Call]:
    rows, columns = cells(height, CELL), cells(width, CELL)
    five, two = (fenced.tight(n, rows, columns, dtype=np.float32) for n in (5, 2))
    grid = Grid(rows=rows, columns=columns, cell=CELL)
    covering = fenced.plane(np.ones((height, width), np.uint8))
    for shape in ((height, width), (height, width, 2)):
        first, second, out = (fenced.plane(np.zeros(shape, SAMPLES[bits])) for _ in range(3))
        for is_sharp in (False, True):
            yield launch.warp(first, second, out, guide=five, grid=grid, is_sharp=is_sharp)
            yield launch.warp_one(first, out, guide=two, grid=grid, is_sharp=is_sharp)
        yield launch.cover(first, out, mask=covering)
    luma, other, made = (fenced.plane(np.zeros((height, width), SAMPLES[bits])) for _ in range(3))
    soft = fenced.tight(2, rows, columns, dtype=np.float32, fill=1)
    yield launch.finish(luma, made, guide=soft, grid=grid)
    told = fenced.tight(1, ctypes.sizeof(Difference) // 8, dtype=np.uint64)
    for with_bins in (False, True):
        yield launch.difference(luma, other, out=told, with_bins=with_bins)


def _pages(size: int, *, is_at_end: bool) -> int:
    """Fresh memory of ``size`` bytes between two fences, flush with one of them."""
    page = mmap.PAGESIZE
    whole = -(-size // page) * page
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *3 * (ctypes.c_int,), ctypes.c_long)
    libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    kind = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    begin = libc.mmap(None, whole + 2 * page, mmap.PROT_READ | mmap.PROT_WRITE, kind, -1, 0)
    for fence in (begin, begin + page + whole):
        if libc.mprotect(fence, page, 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    return int(begin + page + (whole - size if is_at_end else 0))


def main() -> None:
    kernels = HostKernels(Path(sys.argv[1]))
    count = 0
    odd = product(SIZES, (Fenced(False, 0), Fenced(True, 0), Fenced(True, 8)))
    whole = product(WHOLE_SIZES, (Fenced(False, 0, 16), Fenced(True, 0, 16)))
    for (width, height), fenced in (*odd, *whole):
        for call in calls(fenced, width=width, height=height):
            sys.stderr.write(f"{call.entry} of {call.unit.name}, {width}x{height}, {fenced}\n")
            # A block of the difference has all its threads always.
            kernels.run(call, threads=BLOCK if call.unit is DIFFERENCE else (8, 2))
            count += 1
    sys.stdout.write(f"{count}")


if __name__ == "__main__":
    main()
