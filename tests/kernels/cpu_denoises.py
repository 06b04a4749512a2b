"""Pictures, flows and changes for the tests of ``kernels/cpu/follow.cpp`` and ``mix.cpp``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from kernels import native_denoise, reference_denoise
from kernels.arguments import Layout
from kernels.native import Native
from tests.kernels.pictures import noise, random_samples

Plane = NDArray[np.uint8]
Floats = NDArray[np.float32]

SIZES = [(1, 1), (1, 2), (3, 5), (65, 1), (9, 63), (2, 64), (5, 65), (4, 129), (33, 150)]
"""Rows and columns of cells: single ones, odd ones, one less than a chunk, one, one more, and more."""

FARTHEST = 4096.0
"""Cells that flow reaches."""

UNITS = np.array([219] * 4 + [224] * 2, np.float32)[:, None, None]
"""Codes for each 1 of what is packed."""


def picture(rows: int, columns: int, *, seed: int) -> list[Plane]:
    """Y, U and V of noise, many of both extremes."""
    return noise(Layout.YUV420P, width=2 * columns, height=2 * rows, seed=seed)


def nothing(numbers: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return np.where(numbers.random(shape) < 0.5, 0.0, -0.0).astype(np.float32)


def tiny(numbers: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """About the smallest steps that there are, and less; many lie between two of them."""
    return (numbers.integers(-16, 17, shape) / np.float32(512)).astype(np.float32)


def moderate(numbers: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return numbers.normal(0, 2.5, shape).astype(np.float32)


def sparse(numbers: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """A few cells that move, and others around them that do not."""
    return np.where(numbers.random(shape) < 0.02, moderate(numbers, shape), np.float32(0))


def calm(numbers: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """All by almost the same: whole vectors of pixels look into the picture, none beyond it."""
    return numbers.uniform((-0.1, -0.6), (0.7, 0.2), shape).astype(np.float32)


def far(numbers: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Beyond the picture, by so much that only bounds keep it within whole numbers."""
    ends = [70.3, -80.6, 4095.99, -4096.01, 5e3, -1e5, 3e38, -3e38, np.inf, -np.inf, 0.1]
    return numbers.choice(np.array(ends, np.float32), shape)


FLOWS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Floats]] = {
    each.__name__: each for each in (nothing, tiny, moderate, sparse, calm, far)
}


@dataclass(frozen=True)
class Moved:
    """Two pictures, and a flow from the second to the first."""

    before: Sequence[Plane]
    now: Sequence[Plane]
    flow: Floats

    @property
    def sides(self) -> tuple[int, int]:
        rows, columns = self.now[1].shape
        return rows, columns

    def empty(self) -> Floats:
        return np.full((12, *self.sides), np.nan, np.float32)


def moved(rows: int, columns: int, *, flow: str, seed: int = 1) -> Moved:
    numbers = np.random.default_rng([seed, rows, columns])
    before, now = (picture(rows, columns, seed=2 * seed + n) for n in range(2))
    return Moved(before, now, FLOWS[flow](numbers, (rows, columns, 2)))


@cache
def followed_twin(rows: int, columns: int, flow: str, seed: int) -> tuple[Moved, Floats]:
    """Two pictures, and what the definition makes of them; the same for all levels."""
    it = moved(rows, columns, flow=flow, seed=seed)
    out = it.empty()
    reference_denoise.follow(it.before, it.now, it.flow, out)
    return it, out


def followed(native: Native, it: Moved) -> Floats:
    out = it.empty()
    native_denoise.follow(native, it.before, it.now, it.flow, out, range(it.sides[0]))
    return out


@dataclass(frozen=True)
class Change:
    """A picture, what another differs from it, and what a network makes of both."""

    now: Sequence[Plane]
    difference: Floats
    change: Plane

    def empty(self) -> list[Plane]:
        return [np.full(plane.shape, 99, np.uint8) for plane in self.now]


def changed(rows: int, columns: int, *, seed: int = 1) -> Change:
    """Of every share, residual and difference that there may be, many of them the extremes."""
    numbers = np.random.default_rng([seed, rows, columns])
    codes = numbers.integers(-255, 256, (6, rows, columns))
    codes[numbers.random(codes.shape) < 0.1] = -255
    codes[numbers.random(codes.shape) < 0.1] = 255
    codes[numbers.random(codes.shape) < 0.1] = 0
    change = random_samples((12, rows, columns), 8, numbers)
    change[numbers.random(change.shape) < 0.2] = 128
    return Change(picture(rows, columns, seed=seed), differences(codes), change)


def differences(codes: NDArray[np.int64]) -> Floats:
    """(6, rows, columns) in the units in which ``follow`` gives them."""
    return (codes * (1.0 / UNITS.astype(np.float64))).astype(np.float32)


def mixed(native: Native, it: Change) -> list[Plane]:
    out = it.empty()
    rows = range(it.difference.shape[1])
    native_denoise.mix(native, it.now, it.difference, it.change, out, rows)
    return out
