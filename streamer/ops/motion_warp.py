"""Large pictures made of two others by a guide: looked up where it says, mixed, and finished."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from kernels.native import Native, native
from kernels.native_warp import MOST_TRIOS, Maps, Trio, WarpCall, scratch_bytes
from streamer.ops.both import both
from streamer.ops.motion import Guide
from streamer.ops.motion_tiles import TileWarper

Work = Callable[[], None]


class Warper:
    """Makes planes of one size by guides; its storage is made once, fresh pages cost more than
    the arithmetic. Belongs to one thread.

    What is compiled for this processor takes a fifth of the time that OpenCV takes.
    """

    def __init__(self, height: int, width: int, *, is_enlarged: bool, is_luma: bool) -> None:
        """``is_enlarged``: the planes hold nothing sharper than half their size, and bilinear will
        do, as it does for chroma; bicubic costs twice as much and gives 0.2 dB more where a
        picture is sharp. Only luma is softened and gets the residual."""
        self.shape = (height, width)
        self._is_luma = is_luma
        self._is_sharp = is_luma and not is_enlarged
        self._native = native()
        self._tiles = TileWarper(height, width, is_enlarged=is_enlarged, is_luma=is_luma)
        self._scratches = np.empty((2, 0), np.uint8)

    def make(self, guide: Guide, *trios: Trio) -> None:
        """Of each trio, (H, W) uint8 each, fills the third from the two others; borders repeat."""
        both(*self.halves(guide, *trios))

    def halves(self, guide: Guide, *trios: Trio) -> tuple[Work, Work]:
        """What ``make`` does in two parts, to be done one after the other or at once."""
        if self._native is None:
            return partial(self._tiles.make, guide, *trios), _nothing
        return self._native_halves(self._native, guide, trios)

    def _native_halves(
        self, native: Native, guide: Guide, trios: tuple[Trio, ...]
    ) -> tuple[Work, Work]:
        height, width = self.shape
        needed = scratch_bytes(width, guide.mask.shape[1])
        if self._scratches.shape[1] < needed:
            self._scratches = np.empty((2, needed), np.uint8)
        maps, at_once = _maps(guide, is_luma=self._is_luma), 1 if self._is_luma else MOST_TRIOS
        calls = [
            WarpCall(native, trios[n : n + at_once], maps, is_sharp=self._is_sharp)
            for n in range(0, len(trios), at_once)
        ]

        def rows(begin: int, end: int, scratch: NDArray[np.uint8]) -> None:
            for call in calls:
                call.make(begin, end, scratch)

        one, other = self._scratches
        return partial(rows, 0, height // 2, one), partial(rows, height // 2, height, other)


def in_turn(*parts: Work) -> None:
    """One after the other."""
    for part in parts:
        part()


def _nothing() -> None:
    """The half that is left where the other does all."""


def _maps(guide: Guide, *, is_luma: bool) -> Maps:
    return Maps(
        flow=guide.flow,
        mask=guide.mask,
        extent=guide.extent,
        residual=guide.residual if is_luma else None,
        softness=guide.softness if is_luma else None,
    )
