"""What stands still in front of what moves: subtitles, logos, clocks.

Flow drags such overlays along with the background, so that they flutter in made frames. They are
found at full resolution, where the strokes of a glyph are a few pixels wide, and copied.
"""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np

from kernels.native import Native, native
from kernels.native_still import StillCalls, can_take, copy_still
from streamer.frame import Plane, Planes
from streamer.ops import still_limits
from streamer.ops.motion import Floats
from streamer.ops.motion_still_opencv import OpenCvStill


class Watching(Protocol):
    """Knows lumas of one size, seen one after another; belongs to one thread."""

    @property
    def anchor(self) -> Plane:
        """What each pixel was when it last changed, (H, W) uint8."""

    @property
    def age(self) -> Plane:
        """Pairs since then, (H, W) uint8."""

    @property
    def evidence(self) -> Floats:
        """Of standing still, 0..1, (H / 2, W / 2)."""

    def see(self, luma: Plane) -> None:
        """Takes the next luma, (H, W) uint8."""

    def weigh(self, pictures: Floats) -> Plane | None:
        """255 where something stands still, valid until the next call; ``None`` where nothing does."""


class StillAreas:
    """Watches lumas one after another, and copies what stood still; belongs to one thread."""

    def __init__(self, *, is_compiled: bool = True) -> None:
        """``is_compiled``: by what is compiled for this processor, where that is; it takes a fifth of
        the time and finds the same but for the rounding of means."""
        self._native = native() if is_compiled else None
        self._watching: Watching | None = None
        self._has_seen = False
        self._mask: Plane | None = None
        self._masks: dict[tuple[int, ...], Plane] = {}
        """For planes of other sizes."""
        self.is_weighed = True
        """Whether there is nothing to ``weigh``: that was done since the last luma."""

    def reset(self) -> None:
        """Forgets everything seen so far."""
        self._has_seen = False
        self._forget_masks()
        self.is_weighed = True

    def see(self, luma: Plane) -> None:
        """Takes the next luma, (H, W) uint8; another size than before starts anew.

        Each pixel is compared with what it was when it last changed, not with the picture before:
        a slow drift would never differ from that.
        """
        self._forget_masks()
        self.is_weighed = False
        watching = self._watching
        if watching is None or watching.anchor.shape != luma.shape:
            self._watching = _watching(luma.shape, self._native)
            self._has_seen = False
        assert self._watching is not None
        if self._has_seen:
            self._watching.see(luma)
            return
        np.copyto(self._watching.anchor, luma)
        self._watching.age[:] = 0
        self._watching.evidence[:] = 0
        self._has_seen = True

    def weigh(self, pictures: Floats) -> None:
        """Looks for evidence, once after each luma, and decides what is still.

        ``pictures`` as ``pack_motion`` fills them: the last two at half size, brought to one time
        by either flow, and as they are.
        """
        if self.is_weighed or self._watching is None:
            return
        self.is_weighed = True
        mask = self._watching.weigh(pictures)
        # Who asks for it may still look at it when the next luma is weighed.
        self._mask = None if mask is None else mask.copy()

    def mask(self, shape: tuple[int, int]) -> Plane | None:
        """255 where planes of (rows, columns) show what stood still; ``None`` where nothing did."""
        return None if self._mask is None else self._sized(self._mask, shape)

    def copy(self, planes: Planes, out: Planes) -> None:
        """Puts what stood still from planes of any size into others of that size."""
        if self._mask is None:
            return
        for plane, target in zip(planes, out, strict=True):
            twice = tuple(2 * side for side in self._mask.shape)
            if self._native is None:
                cv2.copyTo(plane, self._sized(self._mask, target.shape), target)
            elif target.shape == twice:
                # Bilinear, nothing but a pixel itself has more than half a say in those it becomes.
                copy_still(self._native, self._mask, plane, target)
            else:
                copy_still(self._native, self._sized(self._mask, target.shape), plane, target)

    def _forget_masks(self) -> None:
        self._mask = None
        self._masks.clear()

    def _sized(self, mask: Plane, shape: tuple[int, ...]) -> Plane:
        """The mask for planes of this size, 0 or 255."""
        if shape == mask.shape:
            return mask
        if shape not in self._masks:
            sized = cv2.resize(mask, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
            _, is_above = cv2.threshold(sized, 127, 255, cv2.THRESH_BINARY)
            self._masks[shape] = np.asarray(is_above, dtype=np.uint8)
        return self._masks[shape]


def _watching(shape: tuple[int, ...], compiled: Native | None) -> Watching:
    height, width = shape
    if compiled is not None and can_take(shape):
        return StillCalls(compiled, still_limits.LIMITS, (height, width))
    return OpenCvStill((height, width))
