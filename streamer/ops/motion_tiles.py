"""Large pictures made of two others by a guide, by OpenCV: where nothing is compiled for processors.

They are made tile by tile, so that what lies between stays in cache. A tile takes the shortest way
that its part of the guide allows: where nothing moves nothing is looked up, where one picture has the
whole share the other is not touched, and only what is a guess is blurred.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.frame import Plane
from streamer.ops.both import both
from streamer.ops.motion import BLUR_SIGMA, BLUR_SIZE, Floats, Guide

Part: TypeAlias = tuple[slice, slice]
"""Rows and columns."""

Weights: TypeAlias = float | tuple[Floats, Floats]
"""Share of the first of two pictures: the same everywhere, or for each pixel, and the rest of one."""

TILE = (180, 320)
"""Largest tile, rows and columns. A picture of 1280x720 takes 6 ms in such tiles and 8 in one
piece, on one core."""

STANDS_PX = 1 / 32
"""What moves less is taken to stand: less than a code value even where neighbours differ by 30."""

MARGIN = BLUR_SIZE // 2

RESIDUAL, MAPS, SHARES = 0, 0, 4
"""Places among a tile's float storage; the maps are done with before the residual is looked at."""


@dataclass(frozen=True, slots=True)
class _Tile:
    """One part of a plane and where it lies in all that it is made of."""

    part: Part
    """Of the plane: what is given out."""
    seen: Part
    """Of the plane: the same with what the blur needs around it."""
    inner: Part
    """The part in what is seen."""
    cells: Part
    """Of the guide: those that say anything of it."""
    enlarged: tuple[int, int]
    """Rows and columns of those cells at the plane's size."""
    cut: Part
    """What is seen, in the enlarged cells."""
    place: NDArray[np.float64]
    """From a pixel of what is seen to its place among the cells, 2x3."""


class TileWarper:
    """Makes planes of one size by guides, as ``motion_warp.Warper`` says; belongs to one thread."""

    def __init__(self, height: int, width: int, *, is_enlarged: bool, is_luma: bool) -> None:
        self.shape = (height, width)
        self._is_luma = is_luma
        how = cv2.INTER_CUBIC if is_luma and not is_enlarged else cv2.INTER_LINEAR
        self._how = how | cv2.WARP_RELATIVE_MAP
        self._grid: tuple[float, ...] = ()
        self._flow = self._scales = np.empty(0, np.float32)
        self._is_whole = False
        self._tiles: list[_Tile] = []
        self._scratches = (_Scratch(0), _Scratch(0))

    def make(self, guide: Guide, *trios: tuple[Plane, Plane, Plane]) -> None:
        """Of each trio, (H, W) uint8 each, fills the third from the two others; borders repeat.

        Of luma there is one: its residual takes the place of the maps that another would need.
        """
        self._fit(guide)
        np.multiply(guide.flow, self._scales, out=self._flow)
        one, other = self._scratches
        both(
            partial(self._make_tiles, guide, trios, self._tiles[::2], one),
            partial(self._make_tiles, guide, trios, self._tiles[1::2], other),
        )

    def _make_tiles(
        self,
        guide: Guide,
        trios: tuple[tuple[Plane, Plane, Plane], ...],
        tiles: list[_Tile],
        scratch: _Scratch,
    ) -> None:
        for tile in tiles:
            flows = self._flow[:2], self._flow[2:]
            maps = [self._maps(tile, flow, end, scratch) for end, flow in enumerate(flows)]
            share = self._weights(tile, guide.mask, SHARES, scratch)
            for first, second, out in trios:
                made = self._blend(tile, (first, second), maps, share, scratch)
                if self._is_luma:
                    made = self._finish(tile, guide, made, scratch)
                out[tile.part] = made[tile.inner]

    def _maps(
        self, tile: _Tile, flow: Floats, end: int, scratch: _Scratch
    ) -> tuple[Floats, Floats] | None:
        """How far off a pixel of what is seen is looked up, across and down; ``None``: nowhere."""
        x, y = (part[tile.cells] for part in flow)
        if max(cv2.norm(x, cv2.NORM_INF), cv2.norm(y, cv2.NORM_INF)) < STANDS_PX:
            return None
        # The maps are relative to what is seen, not to the plane.
        top, left = (side.start for side in tile.seen)
        n = MAPS + 2 * end
        return (
            self._enlarge(tile, x + np.float32(left), n, scratch),
            self._enlarge(tile, y + np.float32(top), n + 1, scratch),
        )

    def _blend(
        self,
        tile: _Tile,
        pair: tuple[Plane, Plane],
        maps: list[tuple[Floats, Floats] | None],
        share: Weights,
        scratch: _Scratch,
    ) -> Plane:
        if share in (0.0, 1.0):
            end = int(share == 0.0)
            return self._looked_up(tile, pair[end], maps[end], end, scratch)
        one, other = (self._looked_up(tile, pair[end], maps[end], end, scratch) for end in (0, 1))
        return _mixed(one, other, share, scratch.uint8(tile, 2))

    def _looked_up(
        self,
        tile: _Tile,
        plane: Plane,
        maps: tuple[Floats, Floats] | None,
        n: int,
        scratch: _Scratch,
    ) -> Plane:
        if maps is None:
            return plane[tile.seen]
        out = scratch.uint8(tile, n)
        cv2.remap(plane, *maps, self._how, dst=out, borderMode=cv2.BORDER_REPLICATE)
        return out

    def _finish(self, tile: _Tile, guide: Guide, made: Plane, scratch: _Scratch) -> Plane:
        """Softened where it is a guess, and the residual added."""
        softness = self._weights(tile, guide.softness, SHARES, scratch)
        if softness != 0.0:
            soft, out = scratch.uint8(tile, 3), scratch.uint8(tile, 4)
            size = (BLUR_SIZE, BLUR_SIZE)
            cv2.GaussianBlur(made, size, BLUR_SIGMA, dst=soft, borderType=cv2.BORDER_REPLICATE)
            made = _mixed(soft, made, softness, out)
        residual = guide.residual[tile.cells]
        if residual.any():
            out = made
            added = self._enlarge(tile, residual * np.float32(255), RESIDUAL, scratch)
            made = scratch.uint8(tile, 3)
            cv2.add(out, added, dst=made, dtype=cv2.CV_8U)
        return made

    def _weights(self, tile: _Tile, part: Floats, n: int, scratch: _Scratch) -> Weights:
        low, high, _, _ = cv2.minMaxLoc(part[tile.cells])
        if low == high:
            return low
        share = self._enlarge(tile, part[tile.cells], n, scratch)
        rest = scratch.float32(n + 1, share.shape)
        np.subtract(np.float32(1), share, out=rest)
        return share, rest

    def _enlarge(self, tile: _Tile, cells: Floats, n: int, scratch: _Scratch) -> Floats:
        """What the guide says of a tile, for each pixel that is seen."""
        if self._is_whole:
            rows, columns = tile.enlarged
            out = scratch.float32(n, tile.enlarged)
            cv2.resize(cells, (columns, rows), dst=out, interpolation=cv2.INTER_LINEAR)
            return out[tile.cut]
        # Eight times as slow.
        rows, columns = (side.stop - side.start for side in tile.seen)
        out = scratch.float32(n, (rows, columns))
        cv2.warpAffine(
            cells,
            tile.place,
            (columns, rows),
            dst=out,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return out

    def _fit(self, guide: Guide) -> None:
        """Lays out tiles, and storage for the largest of them, for guides of this size."""
        grid = (*guide.mask.shape, *guide.extent)
        if grid == self._grid:
            return
        self._grid = grid
        down, across = (side / cells for side, cells in zip(self.shape, guide.extent, strict=True))
        self._is_whole = down % 1 == 0 and across % 1 == 0
        self._scales = np.array([across, down, across, down], np.float32)[:, None, None]
        self._flow = np.empty(guide.flow.shape, np.float32)
        margin = MARGIN if self._is_luma else 0
        strips = [
            [
                _strip(*ends, side=side, cell=cell, count=count, margin=margin)
                for ends in _spans(side, longest)
            ]
            for side, longest, cell, count in zip(
                self.shape, TILE, (down, across), guide.mask.shape, strict=True
            )
        ]
        self._tiles = [_tile(rows, columns) for rows in strips[0] for columns in strips[1]]
        largest = max(math.prod(tile.enlarged) for tile in self._tiles)
        self._scratches = (_Scratch(largest), _Scratch(largest))


class _Scratch:
    """Storage for one tile at a time; belongs to one thread."""

    def __init__(self, pixels: int) -> None:
        self._floats = [np.empty(pixels, np.float32) for _ in range(6)]
        self._codes = [np.empty(pixels, np.uint8) for _ in range(5)]

    def float32(self, n: int, shape: tuple[int, ...]) -> Floats:
        return self._floats[n][: math.prod(shape)].reshape(shape)

    def uint8(self, tile: _Tile, n: int) -> Plane:
        rows, columns = (side.stop - side.start for side in tile.seen)
        return self._codes[n][: rows * columns].reshape(rows, columns)


@dataclass(frozen=True, slots=True)
class _Strip:
    """A tile along one axis, as in ``_Tile``."""

    part: slice
    seen: slice
    inner: slice
    cells: slice
    enlarged: int
    cut: slice
    step: float
    start: float


def _strip(start: int, stop: int, *, side: int, cell: float, count: int, margin: int) -> _Strip:
    """The pixels from ``start`` to ``stop`` of ``side``; ``count`` cells of ``cell`` pixels."""
    seen = slice(max(0, start - margin), min(side, stop + margin))
    # One cell more on either side: what is enlarged repeats at its edge.
    first = max(0, math.floor(seen.start / cell) - 1)
    last = min(count, math.ceil(seen.stop / cell) + 1)
    off = int(first * cell)
    return _Strip(
        part=slice(start, stop),
        seen=seen,
        inner=slice(start - seen.start, stop - seen.start),
        cells=slice(first, last),
        enlarged=math.ceil((last - first) * cell),
        cut=slice(seen.start - off, seen.stop - off),
        step=1 / cell,
        # A pixel's centre lies half a pixel in, on either grid.
        start=(seen.start + 0.5) / cell - 0.5 - first,
    )


def _tile(rows: _Strip, columns: _Strip) -> _Tile:
    return _Tile(
        part=(rows.part, columns.part),
        seen=(rows.seen, columns.seen),
        inner=(rows.inner, columns.inner),
        cells=(rows.cells, columns.cells),
        enlarged=(rows.enlarged, columns.enlarged),
        cut=(rows.cut, columns.cut),
        place=np.array([[columns.step, 0, columns.start], [0, rows.step, rows.start]]),
    )


def _spans(side: int, longest: int) -> list[tuple[int, int]]:
    """Even parts of a side, none longer than that."""
    ends = np.linspace(0, side, math.ceil(side / longest) + 1).round().astype(int).tolist()
    return list(pairwise(ends))


def _mixed(one: Plane, other: Plane, share: Weights, out: Plane) -> Plane:
    if isinstance(share, float):
        cv2.addWeighted(one, share, other, 1.0 - share, 0.0, dst=out)
    else:
        cv2.blendLinear(one, other, *share, dst=out)
    return out
