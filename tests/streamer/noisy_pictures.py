"""Drawn pictures whose motion and whose noise are known, for the tests of denoising."""

from __future__ import annotations

import math

import cv2
import numpy as np

from streamer.frame import Plane, Planes
from tests.streamer.pictures import texture

WIDTH, HEIGHT = 320, 192
EDGE = 16
"""Pixels at a side, into which unknown things move."""

PAN = (3.0, -1.0)
"""Pixels from picture to picture."""


def drawn(
    moved: tuple[float, float] = (0.0, 0.0),
    *,
    width: int = WIDTH,
    height: int = HEIGHT,
    seed: int = 1,
) -> Planes:
    """A texture in all planes, nothing finer than nine pixels."""
    half = (moved[0] / 2, moved[1] / 2)
    return (
        texture(width=width, height=height, moved=moved, seed=seed),
        texture(width=width // 2, height=height // 2, moved=half, seed=seed + 1),
        texture(width=width // 2, height=height // 2, moved=half, seed=seed + 2),
    )


def panned(number: int, by: tuple[float, float] = PAN) -> Planes:
    return drawn((number * by[0], number * by[1]))


def with_noise(plane: Plane, deviation: float, *, seed: int) -> Plane:
    """White, normal, and cut off where codes end."""
    noise = np.random.default_rng(seed).normal(0, deviation, plane.shape)
    return np.rint(plane + noise).clip(0, 255).astype(np.uint8)


def noisy(planes: Planes, deviation: float, *, seed: int) -> Planes:
    y, u, v = (with_noise(plane, deviation, seed=3 * seed + n) for n, plane in enumerate(planes))
    return y, u, v


def grain(number: int, by: tuple[float, float] = (0.0, 0.0)) -> Plane:
    """A luma of grains of two pixels everywhere, as lawns and gravel are, that moves by whole pixels."""
    rough = np.random.default_rng(5).normal(126, 60, (HEIGHT + 128, WIDTH + 128))
    soft = cv2.GaussianBlur(rough, (0, 0), 0.8).clip(16, 235)
    top, left = (64 + int(number * step) for step in (by[1], by[0]))
    part: Plane = np.rint(soft[top : top + HEIGHT, left : left + WIDTH]).astype(np.uint8)
    return part


def psnr(seen: Plane, wanted: Plane) -> float:
    """Of what lies within the picture, in dB."""
    inner = (slice(EDGE, -EDGE), slice(EDGE, -EDGE))
    error = float(np.mean((seen[inner].astype(np.float64) - wanted[inner]) ** 2))
    return 10 * math.log10(255**2 / max(1e-9, error))


def worst_psnr(seen: Planes, wanted: Planes) -> float:
    """That of the worst plane."""
    return min(psnr(a, b) for a, b in zip(seen, wanted, strict=True))
