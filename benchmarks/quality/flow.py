"""DIS optical flow on luma and backward warps of planes, for the baselines and the temporal measures."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.frame import Plane, Planes

Flow = NDArray[np.float32]
"""(H, W, 2) float32: x and y in pixels from each pixel to where its content lies."""

PRESETS = {
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}


class Dis:
    """OpenCV's DIS flow (Kroeger et al. 2016) with one preset, on luma shrunk by ``part``."""

    def __init__(self, preset: str, *, part: int = 1) -> None:
        self._flow = cv2.DISOpticalFlow.create(PRESETS[preset])
        self._part = part

    def flow(self, start: Plane, end: Plane) -> Flow:
        """From each pixel of ``start`` to its place in ``end``, in pixels of the full picture."""
        height, width = start.shape
        if self._part == 1:
            return self._estimated(start, end)
        size = (width // self._part, height // self._part)
        small_start, small_end = (
            np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
            for plane in (start, end)
        )
        flow = cv2.resize(self._estimated(small_start, small_end), (width, height))
        return np.asarray(flow * np.float32(self._part), dtype=np.float32)

    def _estimated(self, start: Plane, end: Plane) -> Flow:
        # Storage in place of None would be taken as a first guess.
        flow = self._flow.calc(start, end, None)  # type: ignore[call-overload]
        return np.asarray(flow, dtype=np.float32)


def warp(planes: Planes, flow: Flow, share: float = 1.0) -> Planes:
    """At each pixel what lies ``share * flow`` away, bilinear; edges repeat."""
    y, u, v = planes
    size = (u.shape[1], u.shape[0])
    half = np.asarray(cv2.resize(flow, size, interpolation=cv2.INTER_AREA), np.float32)
    # A chroma plane has half the pixels, so the same motion is half as many of them.
    half *= np.float32(0.5)
    return (
        warp_plane(y, flow, share),
        warp_plane(u, half, share),
        warp_plane(v, half, share),
    )


def warp_plane(plane: Plane, flow: Flow, share: float = 1.0) -> Plane:
    """One plane, with a flow of the plane's own size and pixels."""
    places = grid(*flow.shape[:2]) + np.float32(share) * flow
    return np.asarray(look_up(plane, places), dtype=np.uint8)


def look_up(values: NDArray[Any], places: Flow) -> NDArray[Any]:
    """What lies at ``places`` (H, W, 2: x, y in pixels), bilinear; edges repeat."""
    # An empty array in place of None is not taken as "no second map" and gives garbage.
    found = cv2.remap(  # type: ignore[call-overload]
        values, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(found)


@lru_cache(maxsize=8)
def grid(height: int, width: int) -> Flow:
    """(H, W, 2): each pixel's own x and y."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    return np.stack([columns, rows], axis=-1)
