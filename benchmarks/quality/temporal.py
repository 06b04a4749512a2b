"""How like the original's motion a result's is, and how calm it is along that motion."""

from __future__ import annotations

import numpy as np

from benchmarks.quality.flow import Dis, grid, look_up, warp_plane
from export import stillness
from streamer.frame import Plane

DEFINITIONS = {
    "tof": "mean over pixels and both components of |flow of two consecutive result frames - flow "
    "of the same two original frames|, in pixels; DIS medium on full-size luma",
    "warping_error": "mean |second result frame - first one warped onto it| in luma code values, "
    "with the original frames' DIS medium flow, where forward and backward flow agree "
    "(|f + b|^2 < 0.01 (|f|^2 + |b|^2) + 0.5); the row 'original' is the originals' own",
    "still_change": "mean |second result frame - first| in luma code values where the originals "
    "stand still: their mean |difference| over 7x7 pixels is below 1; lower is calmer, and what "
    "only moves stiffly is calm too: read it beside psnr_y",
}


class Step:
    """Two consecutive original frames: their flow, computed once for all methods."""

    def __init__(self, before: Plane, after: Plane) -> None:
        """Two luma planes (H, W) uint8."""
        self._dis = Dis("medium")
        self._forward = self._dis.flow(before, after)
        self._backward = self._dis.flow(after, before)
        self._is_seen = self._agreeing()
        self._is_still = stillness.standing(before, after)
        self.original_warping_error = self.warping_error(before, after)

    def tof(self, before: Plane, after: Plane) -> float:
        """For the same two moments of a result; see ``DEFINITIONS``."""
        return float(np.abs(self._dis.flow(before, after) - self._forward).mean())

    def warping_error(self, before: Plane, after: Plane) -> float:
        """For the same two moments of a result; see ``DEFINITIONS``. 0 where no pixel agrees."""
        warped = warp_plane(before, self._backward)
        difference = np.abs(after.astype(np.float64) - warped)[self._is_seen]
        return float(difference.mean()) if difference.size else 0.0

    def still_change(self, before: Plane, after: Plane) -> float | None:
        """For the same two moments of a result; see ``DEFINITIONS``. ``None``: all of it moves."""
        return stillness.change(before, after, self._is_still)

    def _agreeing(self) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        height, width = self._backward.shape[:2]
        places = grid(height, width) + self._backward
        there = look_up(self._forward, places)
        gap = ((there + self._backward) ** 2).sum(axis=-1)
        size = (there**2).sum(axis=-1) + (self._backward**2).sum(axis=-1)
        is_inside = (places >= 0).all(axis=-1) & (places <= [width - 1, height - 1]).all(axis=-1)
        return np.asarray((gap < 0.01 * size + 0.5) & is_inside, dtype=np.bool_)
