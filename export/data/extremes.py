"""Values that few recordings have and many sources send: full range, and bars blacker than black."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import numpy as np

from export.data.patches import Bytes, Pair
from export.data.planes import Planes

BLACK = 16
"""Of limited range; bars of code 0 are as common."""

_CODES = np.arange(256, dtype=np.float32)
FULL_LUMA = np.clip(np.rint((_CODES - BLACK) * (255 / 219)), 0, 255).astype(np.uint8)
FULL_CHROMA = np.clip(np.rint((_CODES - 128) * (255 / 224) + 128), 0, 255).astype(np.uint8)


def with_extremes(pairs: Pair, rng: np.random.Generator, *, share: float) -> Pair:
    """The pairs, of which that share is stretched to full range, and as many have a black bar.

    A network that saw neither makes a pattern of up to 27 codes in flat black of code 0, and bright
    lines beside it. Small and large picture are treated alike, so that what is to be learnt stays.
    """
    arrays = [array.copy() for array in pairs]
    for number in range(len(arrays[0])):
        is_full, has_bar = rng.random(2) < share
        if is_full:
            for array, table in zip(arrays, (FULL_LUMA, FULL_CHROMA) * 2, strict=True):
                array[number] = table[array[number]]
        if has_bar:
            _bar([array[number] for array in arrays], rng)
    small_y, small_uv, large_y, large_uv = arrays
    return small_y, small_uv, large_y, large_uv


def with_extremes_all_along(
    frames: Sequence[Planes], rng: np.random.Generator, *, share: float
) -> list[Planes]:
    """The frames of one clip, as ``with_extremes`` does it, all of them alike."""
    is_full, has_bar = rng.random(2) < share
    luma = np.stack([planes.y for planes in frames])
    chroma = np.stack([[planes.u, planes.v] for planes in frames])
    if is_full:
        luma, chroma = FULL_LUMA[luma], FULL_CHROMA[chroma]
    if has_bar:
        _bar([luma, chroma], rng)
    return [Planes(y, *uv) for y, uv in zip(luma, chroma, strict=True)]


def _bar(planes: list[Bytes], rng: np.random.Generator) -> None:
    """Black along one side, an eighth to three eighths of it, in planes (..., H, W): of luma, of chroma,
    and so on."""
    cells = planes[1].shape[-1]
    thick = int(rng.integers(cells // 8, 3 * cells // 8 + 1))
    black = int(rng.choice([0, BLACK, int(rng.integers(BLACK))]))
    turns = int(rng.integers(4))
    for plane, value in zip(planes, cycle((black, 128)), strict=False):
        side = np.rot90(plane, turns, axes=(-2, -1))
        side[..., : thick * plane.shape[-1] // cells, :] = value
