"""Warps for the tests of ``kernels/cpu/warp.cpp``: with guides nobody hopes for, at every level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from kernels import reference
from kernels.native import Native
from kernels.native_build import LEVELS, is_current
from kernels.native_warp import Floats, Maps, Plane, Trio, WarpCall, scratch_bytes
from tests.kernels.guides import cells, wild_flow, wild_map
from tests.kernels.pictures import Guarded, random_samples

SIZES = [(1, 1, 8.0), (5, 3, 4.0), (46, 18, 4.0), (37, 21, 2.5), (300, 70, 8.0), (97, 61, 0.5)]
"""Width, height and pixels to a cell: less than a chunk, odd, more than a run, cells within pixels."""

FARTHEST = 16384
"""Pixels that flow reaches."""

NOTHING_COMPILED = "nothing is compiled for processors; run: python -m kernels.native_build"


def runnable() -> list[Native]:
    """Every level that was made of what is here now and that this processor runs."""
    current = [Native(level) for level in LEVELS if is_current(level)]
    return [each for each in current if each.level <= current[0].level_of_processor()]


@dataclass(frozen=True)
class Case:
    """Two planes and a guide for them."""

    first: Plane
    second: Plane
    maps: Maps
    cell: float

    @property
    def shape(self) -> tuple[int, int]:
        height, width = self.first.shape
        return height, width

    def empty(self) -> Plane:
        return np.zeros(self.shape, np.uint8)


def case(
    width: int, height: int, cell: float, *, is_wild: bool = False, is_finished: bool = True
) -> Case:
    """Noise, and a guide of noise; a wild one points anywhere, and nowhere, in places."""
    numbers = np.random.default_rng([width, height, is_wild])
    shape = cells(height, cell), cells(width, cell)
    flow = wild_flow(shape, numbers=numbers)
    mask, residual, softness = (wild_map(shape, numbers=numbers) for _ in range(3))
    if not is_wild:
        flow = np.where(np.abs(flow) < 5, flow, 0).astype(np.float32)
        mask, residual, softness = (np.nan_to_num(part) for part in (mask, residual, softness))
    maps = Maps(flow, mask, (height / cell, width / cell))
    if is_finished:
        added = ((residual - 0.5) / 3).astype(np.float32)
        maps = replace(maps, residual=added, softness=softness)
    first, second = (random_samples((height, width), 8, numbers) for _ in range(2))
    return Case(first, second, maps, cell)


def calm(it: Case) -> Case:
    """The same planes, where nothing moves by more than five eighths of a cell: too little for most
    pixels to look beyond an edge, and neighbours' motions differ."""
    return replace(it, maps=replace(it.maps, flow=it.maps.flow * np.float32(1 / 8)))


def zooming(it: Case) -> Case:
    """The same planes, seen by a camera that draws nearer: neighbours' motions are almost the same."""
    rows, columns = it.maps.mask.shape
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    across, down = 0.03 * (x - columns / 3), 0.04 * (y - rows / 2)
    flow = np.stack([-across, -down, 0.7 * across + 0.01 * y, 0.7 * down - 0.01 * x])
    return replace(it, maps=replace(it.maps, flow=flow.astype(np.float32)))


def warped(
    native: Native,
    trios: Sequence[Trio],
    maps: Maps,
    *,
    is_sharp: bool = False,
    rows: Sequence[int] = (),
) -> None:
    """Fills each third plane, in pieces that end at ``rows``; the scratch is no larger than told."""
    height, width = trios[0][2].shape
    scratch = Guarded(np.zeros((1, scratch_bytes(width, maps.mask.shape[1])), np.uint8), offset=3)
    call = WarpCall(native, trios, maps, is_sharp=is_sharp)
    ends = [0, *rows, height]
    for begin, end in pairwise(ends):
        call.make(begin, end, scratch.array)
    assert scratch.is_intact()


def made(native: Native, it: Case, *, is_sharp: bool) -> Plane:
    out = it.empty()
    warped(native, [(it.first, it.second, out)], it.maps, is_sharp=is_sharp)
    return out


def twin(it: Case, *, is_sharp: bool) -> Plane:
    """What ``kernels/reference.py`` makes of what the kernel takes the guide for."""
    maps = it.maps
    flow = _or(maps.flow, -np.inf).clip(-FARTHEST / it.cell, FARTHEST / it.cell)
    plane = reference.warp(
        it.first,
        it.second,
        flow=flow.astype(np.float32),
        mask=_or(maps.mask, 0),
        cell=it.cell,
        is_sharp=is_sharp,
    )
    if maps.residual is None or maps.softness is None:
        return plane
    return reference.finish(
        plane, residual=_or(maps.residual, 0), softness=_or(maps.softness, 0), cell=it.cell
    )


def _or(values: Floats, otherwise: float) -> Floats:
    return np.where(np.isfinite(values), values, np.float32(otherwise)).astype(np.float32)


def apart(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Code values between two planes."""
    return np.asarray(np.abs(one.astype(np.int64) - other), np.int64)
