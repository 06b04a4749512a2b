"""Whole-picture upscalers from a network, a model file, or plain filters, for measuring."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from export.data.planes import Plane, Planes, upscale
from export.networks.super_resolution import (
    CHROMA_GAIN,
    CHROMA_OFFSET,
    LUMA_GAIN,
    LUMA_OFFSET,
    SuperResolution,
)

Floats = NDArray[np.float32]
Residual = Callable[[Floats], Floats]
"""From ``packed`` (1, 6, H/2, W/2) to ``residual`` in 8-bit code values, as the manifest says."""


def network_upscaler(network: SuperResolution) -> Callable[[Planes], Planes]:
    """Upscales with a fused copy of the network's present weights."""
    fused = network.fused().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.no_grad()
    def residual(packed: Floats) -> Floats:
        tensor = torch.from_numpy(packed).to(memory_format=torch.channels_last)
        result: Floats = fused(tensor).contiguous().numpy()
        return result

    return residual_upscaler(residual, scale=network.scale)


def residual_upscaler(residual: Residual, *, scale: int) -> Callable[[Planes], Planes]:
    """The plain upscale plus what ``residual`` gives, rounded to the nearest code value."""

    def enhance(planes: Planes) -> Planes:
        packed = residual(pack_planes(planes))[0]
        base, phases = upscale(planes, scale), (2 * scale) ** 2
        chroma = packed[phases:].reshape(2, scale**2, *packed.shape[1:])
        return Planes(
            _add(base.y, shuffle(packed[:phases], 2 * scale)),
            _add(base.u, shuffle(chroma[0], scale)),
            _add(base.v, shuffle(chroma[1], scale)),
        )

    return enhance


def pack_planes(planes: Planes) -> Floats:
    """The network's input, (1, 6, H/2, W/2) float32, without torch."""
    y = (planes.y.astype(np.float32) - LUMA_OFFSET) / LUMA_GAIN
    u = (planes.u.astype(np.float32) - CHROMA_OFFSET) / CHROMA_GAIN
    v = (planes.v.astype(np.float32) - CHROMA_OFFSET) / CHROMA_GAIN
    phases = [y[row::2, column::2] for row in (0, 1) for column in (0, 1)]
    return np.stack([*phases, u, v])[None].astype(np.float32)


def shuffle(phases: Floats, factor: int) -> Floats:
    """A (factor*H, factor*W) plane from its (factor**2, H, W) phases, row by row."""
    height, width = phases.shape[1:]
    grid = phases.reshape(factor, factor, height, width).transpose(2, 0, 3, 1)
    return np.ascontiguousarray(grid).reshape(height * factor, width * factor)


def lanczos(scale: int) -> Callable[[Planes], Planes]:
    """OpenCV's Lanczos-4 enlargement of each plane."""

    def enlarge(plane: Plane) -> Plane:
        size = (plane.shape[1] * scale, plane.shape[0] * scale)
        result = cv2.resize(plane, size, interpolation=cv2.INTER_LANCZOS4)
        return np.asarray(result, dtype=np.uint8)

    return lambda planes: planes.map(enlarge)


def _add(base: Plane, residual: Floats) -> Plane:
    total: Plane = np.rint(base.astype(np.float32) + residual).clip(0, 255).astype(np.uint8)
    return total
