"""A layer of a made-up scene: a piece of a still picture, its outline and its path."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from export.data.motion_paths import Box, Matrix, Path
from export.data.planes import Plane
from export.data.resample import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A background has no outline, covers everything and goes on mirrored at its edges."""

    luma: Plane
    """(h, w) the texture."""
    outline: Plane | None
    """(h, w) 255 where the layer hides what is behind it."""
    path: Path

    def paint(self, canvas: Floats, time: float, *, kernel: int) -> None:
        """Lays the layer over ``canvas`` (H, W) float32, as it stands at a time."""
        box = self.reach(time, canvas.shape[0], canvas.shape[1])
        part = canvas[box]
        if not part.size:
            return
        luma = self._warp(self.luma, time, box, kernel).astype(np.float32)
        if self.outline is None:
            part[:] = luma
        else:
            alpha = self._warp(self.outline, time, box, cv2.INTER_LINEAR)
            part += (luma - part) * (alpha * np.float32(1 / 255))

    def cover(self, time: float, *, height: int, width: int) -> Floats:
        """0..1 at every pixel of the picture: how much of what is behind the layer hides."""
        if self.outline is None:
            return np.ones((height, width), np.float32)
        cover = np.zeros((height, width), np.float32)
        box = self.reach(time, height, width)
        if cover[box].size:
            cover[box] = self._warp(self.outline, time, box, cv2.INTER_LINEAR) * np.float32(1 / 255)
        return cover

    def reach(self, time: float, height: int, width: int) -> Box:
        """The part of a picture of this size that the texture can cover at a time."""
        if self.outline is None or self.path.wobble is not None:
            return slice(0, height), slice(0, width)
        tall, wide = self.luma.shape
        corners = np.array([[0, wide, 0, wide], [0, 0, tall, tall], [1, 1, 1, 1]], np.float64)
        x, y, depth = self.path.forward(time) @ corners
        if depth.min() <= 0:
            return slice(0, height), slice(0, width)
        left, right = np.array([(x / depth).min() - 1, (x / depth).max() + 2]).clip(0, width)
        top, bottom = np.array([(y / depth).min() - 1, (y / depth).max() + 2]).clip(0, height)
        return slice(int(top), int(bottom)), slice(int(left), int(right))

    def _warp(self, plane: Plane, time: float, box: Box, kernel: int) -> Plane:
        border = cv2.BORDER_REFLECT_101 if self.outline is None else cv2.BORDER_CONSTANT
        rows, columns = box
        size = (columns.stop - columns.start, rows.stop - rows.start)
        if self.path.wobble is not None:
            x, y = cv2.split(self.path.reading(time, box))
            return np.asarray(cv2.remap(plane, x, y, kernel, borderMode=border), np.uint8)
        matrix = self.path.backward(time) @ _moved(columns.start, rows.start)
        flags = kernel | cv2.WARP_INVERSE_MAP
        warped = cv2.warpPerspective(plane, matrix, size, flags=flags, borderMode=border)
        return np.asarray(warped, dtype=np.uint8)


def _moved(x: float, y: float) -> Matrix:
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])
