"""Enlarging whole pictures: a shipped network as the run time runs it, and plain filters."""

from __future__ import annotations

from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.frame import Plane, Planes
from streamer.infer.engine import Engine, code_values
from streamer.media import Color
from streamer.ops import host
from streamer.ops.sharpen import sharpen

LIMITED = Color(matrix="bt709")


class ShippedUpscaler:
    """The plain upscale plus a network's residual, by the run time's own steps."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._packed: NDArray[np.float32] = np.empty(0, np.float32)
        self._residual: NDArray[Any] = np.empty(0)

    def upscale(self, small: Planes) -> Planes:
        """``scale`` times the size; sides the network does not take are repeated and cut off."""
        manifest = self._engine.manifest
        height, width = small[0].shape
        padded = _padded(small, manifest.multiple_of)
        result = _storage(padded, manifest.scale)
        self._keep_storage(padded)
        host.pack(padded, self._packed)
        packed = self._packed.astype(manifest.inputs[0].dtype, copy=False)
        self._engine.run({"packed": packed}, {"residual": self._residual})
        is_half = self._residual.dtype == np.float16
        residual = code_values(self._residual) if is_half else self._residual
        host.enhance(padded, residual, result)
        return cut(result, height=height * manifest.scale, width=width * manifest.scale)

    def _keep_storage(self, small: Planes) -> None:
        shape = (1, 6, *small[1].shape)
        if self._packed.shape != shape:
            manifest = self._engine.manifest
            self._packed = np.empty(shape, np.float32)
            outputs = (1, 6 * manifest.scale**2, *small[1].shape)
            self._residual = np.empty(outputs, manifest.residual_dtype)


class Upscaler(Protocol):
    """Enlarges a picture."""

    def upscale(self, small: Planes) -> Planes:
        """Sides ``scale`` times as long; storage that the next call leaves alone."""


class Follower(Protocol):
    """Makes each picture of a clip with the help of the one before."""

    def clean(self, planes: Planes) -> Planes:
        """The next picture; storage of its own."""

    def reset(self) -> None:
        """The next picture belongs to another clip."""


class SteadyUpscaler:
    """Another upscaler, each of whose pictures is made with the help of the one before."""

    def __init__(self, upscaler: Upscaler, steady: Follower) -> None:
        self._upscaler, self._steady = upscaler, steady

    def reset(self) -> None:
        """The next picture belongs to another clip."""
        self._steady.reset()

    def upscale(self, small: Planes) -> Planes:
        """Called for each picture of a clip in turn."""
        return self._steady.clean(self._upscaler.upscale(small))


class SharpUpscaler:
    """Another upscaler, with its luma sharpened as the run time does."""

    def __init__(self, upscaler: Upscaler, sharpness: float) -> None:
        self._upscaler = upscaler
        self._sharpness = sharpness

    def upscale(self, small: Planes) -> Planes:
        soft, u, v = self._upscaler.upscale(small)
        luma = np.empty_like(soft)
        sharpen(soft, luma, strength=self._sharpness, color=LIMITED)
        return luma, u, v


class PlainUpscaler:
    """The run time's own fallback: OpenCV's bicubic (a = -0.75); at scale 1 the input itself."""

    def __init__(self, scale: int) -> None:
        self._scale = scale

    def upscale(self, small: Planes) -> Planes:
        result = _storage(small, self._scale)
        host.upscale(small, result)
        return result


class LanczosUpscaler:
    """OpenCV's Lanczos over 8x8 pixels, each plane by itself."""

    def __init__(self, scale: int) -> None:
        self._scale = scale

    def upscale(self, small: Planes) -> Planes:
        y, u, v = (self._enlarge(plane) for plane in small)
        return y, u, v

    def _enlarge(self, plane: Plane) -> Plane:
        size = (plane.shape[1] * self._scale, plane.shape[0] * self._scale)
        enlarged = cv2.resize(plane, size, interpolation=cv2.INTER_LANCZOS4)
        return np.asarray(enlarged, dtype=np.uint8)


def cut(planes: Planes, *, height: int, width: int) -> Planes:
    """The top left ``height`` x ``width`` luma pixels, chroma rounded up. Shares memory."""
    y, u, v = planes
    half = (slice((height + 1) // 2), slice((width + 1) // 2))
    return y[:height, :width], u[half], v[half]


def _storage(small: Planes, scale: int) -> Planes:
    """For a picture ``scale`` times the size."""
    y, u, v = (
        np.empty((plane.shape[0] * scale, plane.shape[1] * scale), np.uint8) for plane in small
    )
    return y, u, v


def _padded(planes: Planes, multiple: int) -> Planes:
    """Sides up to a multiple by repeating the edge; the same memory where they fit."""
    height, width = planes[0].shape
    if height % multiple == 0 and width % multiple == 0:
        return planes
    bottom, right = -height % multiple, -width % multiple
    y, u, v = (
        np.pad(plane, ((0, bottom // part), (0, right // part)), mode="edge")
        for plane, part in zip(planes, (1, 2, 2), strict=True)
    )
    return y, u, v
