"""Runs what is compiled for processors on arrays that begin or end at memory nobody may touch.

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

from kernels import native_denoise, native_pack, native_residual, native_sharpen
from kernels.native import Native
from kernels.native_motion import FlowCalls, GuideCalls
from kernels.native_still import StillCalls, copy_still
from kernels.native_warp import Maps
from streamer.ops.both import both
from streamer.ops.still_limits import LIMITS
from tests.kernels import cpu_denoises, cpu_residuals, cpu_sharpens, cpu_stills
from tests.kernels.cpu_warps import SIZES, calm, case, runnable, warped, zooming

MOVING = [(8, 8), (17, 23), (64, 9), (213, 121)]
"""Width and height of small pictures: the smallest, odd ones, whole vectors and a part."""

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


def add_residuals(native: Native, *, is_at_end: bool) -> int:
    """Upscales, adds and packs; gives how often."""
    for size in cpu_residuals.SIZES:
        for dtype in (np.uint8, np.float32):
            it = cpu_residuals.picture(*size, dtype)
            planes = [fenced(plane, is_at_end=is_at_end) for plane in it.planes]
            outs = [fenced(plane, is_at_end=is_at_end) for plane in cpu_residuals.blank(it)]
            residual = fenced(it.residual, is_at_end=is_at_end)
            native_residual.upscale(native, planes, outs)
            native_residual.add_residual(native, planes, residual, outs)
            packed = np.zeros((6, *planes[1].shape), np.float32)
            native_pack.pack(native, planes, fenced(packed, is_at_end=is_at_end))
    return 6 * len(cpu_residuals.SIZES)


class FencedStill(StillCalls):
    """Whose scratch ends, or begins, where nobody may touch memory."""

    def fence(self, *, is_at_end: bool) -> None:
        self._scratch = fenced(self._scratch, is_at_end=is_at_end)
        self._weigh.scratch = self._scratch.ctypes.data


def stand_still(native: Native, *, is_at_end: bool) -> int:
    """Sees, weighs and copies; gives how often."""
    for width, height in cpu_stills.SIZES:
        calls = FencedStill(native, LIMITS, (height, width))
        calls.fence(is_at_end=is_at_end)
        for luma in cpu_stills.lumas(width, height, count=6):
            calls.see(fenced(luma, is_at_end=is_at_end))
            # Exactly as large as needed.
            seen = cpu_stills.pictures(width, height)[:, : height // 2, : width // 2]
            calls.weigh(fenced(seen, is_at_end=is_at_end))
        mask = fenced(np.full((height, width), 255, np.uint8), is_at_end=is_at_end)
        for factor in (1, 2):
            plane = np.zeros((factor * height, factor * width), np.uint8)
            parts = [fenced(plane, is_at_end=is_at_end) for _ in range(2)]
            copy_still(native, mask, *parts)
    return 14 * len(cpu_stills.SIZES)


class FencedFlow(FlowCalls):
    """Whose scratch ends, or begins, where nobody may touch memory."""

    def fence(self, *, is_at_end: bool) -> None:
        self._lent._bytes = fenced(self._lent._bytes, is_at_end=is_at_end)


class FencedGuides(GuideCalls):
    """As ``FencedFlow``."""

    def fence(self, *, is_at_end: bool) -> None:
        self._lent._bytes = fenced(self._lent._bytes, is_at_end=is_at_end)


def move(native: Native, *, is_at_end: bool) -> int:
    """Finds flow and makes guides; gives how often."""
    for width, height in MOVING:
        numbers = np.random.default_rng([width, height])
        codes = numbers.integers(0, 256, (2, height, width), np.uint8)
        first, second = (fenced(luma, is_at_end=is_at_end) for luma in codes)
        flow_calls, guide_calls = FencedFlow(native), FencedGuides(native, both)
        wild = numbers.normal(0, width, (2, height, width, 2)).astype(np.float32)
        ahead, back = (fenced(flow, is_at_end=is_at_end) for flow in wild)
        cells = (height + 1) // 2, (width + 1) // 2
        for beyond in (0, 3):
            maps, pictures, motion = (
                fenced(
                    np.zeros((layers, *(part * (side + beyond) for side in cells)), np.float32),
                    is_at_end=is_at_end,
                )
                for layers, part in ((6, 1), (6, 2), (5, 1))
            )
            flow_calls.complete(flow_calls.search(first, second), first, second)
            guide_calls.make(
                (first, second), (ahead, back), 1.5, maps=maps, pictures=pictures, motion=motion
            )
            # What they asked for is known now.
            flow_calls.fence(is_at_end=is_at_end)
            guide_calls.fence(is_at_end=is_at_end)
    return 6 * len(MOVING)


def denoise(native: Native, *, is_at_end: bool) -> int:
    """Follows flows, of which some are no numbers, and mixes; gives how often."""
    for rows, columns in cpu_denoises.SIZES:
        for name in cpu_denoises.FLOWS:
            it = cpu_denoises.moved(rows, columns, flow=name)
            if name == "far":
                it.flow[::2] = np.nan
            before, now, (flow, out) = (
                [fenced(each, is_at_end=is_at_end) for each in arrays]
                for arrays in (it.before, it.now, (it.flow, it.empty()))
            )
            native_denoise.follow(native, before, now, flow, out, range(rows))
        one = cpu_denoises.changed(rows, columns)
        now, outs, (difference, change) = (
            [fenced(each, is_at_end=is_at_end) for each in arrays]
            for arrays in (one.now, one.empty(), (one.difference, one.change))
        )
        native_denoise.mix(native, now, difference, change, outs, range(rows))
    return (len(cpu_denoises.FLOWS) + 1) * len(cpu_denoises.SIZES)


def sharpen(native: Native, *, is_at_end: bool) -> int:
    """Sharpens; gives how often."""
    for size in cpu_sharpens.SIZES:
        luma, out = (fenced(cpu_sharpens.noise(*size), is_at_end=is_at_end) for _ in range(2))
        rows = range(size[0])
        native_sharpen.sharpen(native, luma, out, rows, strength=0.5, black=16, white=235)
    return len(cpu_sharpens.SIZES)


def main() -> None:
    count = 0
    for native in runnable():
        for is_at_end in (False, True):
            count += add_residuals(native, is_at_end=is_at_end)
            count += stand_still(native, is_at_end=is_at_end)
            count += move(native, is_at_end=is_at_end)
            count += denoise(native, is_at_end=is_at_end)
            count += sharpen(native, is_at_end=is_at_end)
        for size in SIZES:
            for is_at_end in (False, True):
                for it in (
                    case(*size, is_wild=True),
                    *(few(case(*size)) for few in (calm, zooming)),
                ):
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
