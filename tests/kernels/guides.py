"""Guides as networks give them, and as nobody hopes to see them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.arguments import Grid
from tests.kernels.pictures import Guarded


def cells(length: int, cell: float) -> int:
    """How many cells of a grid reach over ``length`` pixels."""
    return int(np.ceil(length / cell))


def wild_flow(shape: tuple[int, int], *, numbers: np.random.Generator) -> NDArray[Any]:
    """(4, rows, columns) in cells: small motions, and some that point far outside or nowhere."""
    flow = numbers.normal(0, 1.5, (4, *shape)).astype(np.float32)
    chance = numbers.random(flow.shape)
    for share, odd in enumerate((0, 1000, -1000, 60000, np.inf, -np.inf, np.nan)):
        flow[(chance >= share / 40) & (chance < (share + 1) / 40)] = odd
    return flow


def wild_map(shape: tuple[int, int], *, numbers: np.random.Generator) -> NDArray[Any]:
    """(rows, columns) of shares, some of them outside 0..1 or no number."""
    shares = numbers.normal(0.5, 0.4, shape).astype(np.float32)
    shares[numbers.random(shape) < 0.05] = np.nan
    shares[numbers.random(shape) < 0.3] = 0
    return shares


def grid_of(maps: Guarded, cell: float) -> Grid:
    rows, columns = maps.array.shape[-2:]
    return Grid(rows=rows, columns=columns, cell=cell)
