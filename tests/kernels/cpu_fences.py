"""Runs the warp for processors on arrays that begin or end at memory nobody may touch.

``python -m tests.kernels.cpu_fences`` ends with a signal when it reads or writes outside of them.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.native_warp import Maps
from tests.kernels.cpu_warps import SIZES, case, runnable, warped

LIBC = ctypes.CDLL(None, use_errno=True)
KEPT: list[mmap.mmap] = []


def fenced(values: NDArray[Any], *, is_at_end: bool) -> NDArray[Any]:
    """A copy of it that begins right behind a page nobody may touch, or ends right before one."""
    pages = -(-values.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, pages + 2 * mmap.PAGESIZE)
    KEPT.append(memory)
    begin = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    offset = mmap.PAGESIZE + (pages - values.nbytes if is_at_end else 0)
    copy: NDArray[Any] = np.ndarray(values.shape, values.dtype, memory, offset)
    copy[...] = values
    for fence in (begin, begin + mmap.PAGESIZE + pages):
        if LIBC.mprotect(ctypes.c_void_p(fence), mmap.PAGESIZE, 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    return copy


def fenced_maps(maps: Maps, *, is_at_end: bool) -> Maps:
    return replace(
        maps,
        flow=fenced(maps.flow, is_at_end=is_at_end),
        mask=fenced(maps.mask, is_at_end=is_at_end),
        residual=fenced(np.asarray(maps.residual), is_at_end=is_at_end),
        softness=fenced(np.asarray(maps.softness), is_at_end=is_at_end),
    )


def main() -> None:
    count = 0
    for native in runnable():
        for size in SIZES:
            for is_at_end in (False, True):
                it = case(*size, is_wild=True)
                maps = fenced_maps(it.maps, is_at_end=is_at_end)
                first, second, out = (
                    fenced(plane, is_at_end=is_at_end)
                    for plane in (it.first, it.second, it.empty())
                )
                for is_sharp in (False, True):
                    warped(native, [(first, second, out)], maps, is_sharp=is_sharp)
                    count += 1
    sys.stdout.write(f"{count}\n")


if __name__ == "__main__":
    main()
