"""Pictures as 8-bit YUV 4:2:0 planes, and the plain upscale that the network corrects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Planes:
    """One picture: ``y`` (H, W), ``u`` and ``v`` (H/2, W/2), 8-bit code values."""

    y: Plane
    u: Plane
    v: Plane

    def map(self, change: Callable[[Plane], Plane]) -> Planes:
        """The picture with every plane changed alike."""
        return Planes(change(self.y), change(self.u), change(self.v))

    @property
    def height(self) -> int:
        return int(self.y.shape[0])

    @property
    def width(self) -> int:
        return int(self.y.shape[1])


def crop(planes: Planes, *, top: int, left: int, height: int, width: int) -> Planes:
    """A part of the picture; all four numbers are luma pixels and even. Shares memory."""
    t, x, h, w = top // 2, left // 2, height // 2, width // 2
    return Planes(
        planes.y[top : top + height, left : left + width],
        planes.u[t : t + h, x : x + w],
        planes.v[t : t + h, x : x + w],
    )


def crop_to_multiple(planes: Planes, multiple: int) -> Planes:
    """The top left part whose sides are multiples of ``multiple``."""
    height = planes.height // multiple * multiple
    width = planes.width // multiple * multiple
    return crop(planes, top=0, left=0, height=height, width=width)


def from_i420(stacked: Plane) -> Planes:
    """Planes of an (H*3/2, W) I420 array, as PyAV and OpenCV give it. Shares memory."""
    height, width = stacked.shape[0] * 2 // 3, stacked.shape[1]
    flat = stacked.reshape(-1)
    luma, chroma = height * width, height * width // 4
    half = (height // 2, width // 2)
    return Planes(
        flat[:luma].reshape(height, width),
        flat[luma : luma + chroma].reshape(half),
        flat[luma + chroma :].reshape(half),
    )


def to_i420(planes: Planes) -> Plane:
    """The (H*3/2, W) I420 array of the picture."""
    parts = [plane.reshape(-1) for plane in (planes.y, planes.u, planes.v)]
    stacked: Plane = np.concatenate(parts).reshape(planes.height * 3 // 2, planes.width)
    return stacked


def from_bgr(picture: NDArray[np.uint8]) -> Planes:
    """Planes of an (H, W, 3) BGR picture with even sides: BT.601, limited range, 4:2:0."""
    converted = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420)
    return from_i420(np.asarray(converted, dtype=np.uint8))


def upscale_plane(plane: Plane, scale: int) -> Plane:
    """The plain upscale: exactly what the host adds the residual to."""
    height, width = plane.shape
    if scale == 1:
        return plane
    enlarged = cv2.resize(plane, (width * scale, height * scale), interpolation=cv2.INTER_CUBIC)
    return np.asarray(enlarged, dtype=np.uint8)


def upscale(planes: Planes, scale: int) -> Planes:
    """The plain upscale of all three planes, each by itself."""
    return planes.map(lambda plane: upscale_plane(plane, scale))
