"""What a dim room does to a clip, and what the codec after it makes of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from export.data.codec import Coding, round_trip, x264
from export.data.degrade import PRESETS
from export.data.planes import Plane, Planes
from export.data.resample import Floats, to_codes
from export.data.run_recipe import NoiseDataRecipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimness:
    """One way to soil a run of pictures; drawn once per run, as a camera keeps its settings."""

    gauss_sigma: float = 0.0
    """Sensor noise that does not depend on brightness, in code values."""
    poisson_gain: float = 0.0
    """Variance per code value of brightness."""
    chroma_gain: float = 1.0
    """Noise of chroma as a share of luma's."""
    smooth_sigma: float = 0.0
    """Noise is blurred by a Gaussian of so many pixels and keeps its strength; 0 leaves it white."""
    flicker: float = 0.0
    """Standard deviation of the brightness of whole pictures, as a share of it."""
    coding: Coding | None = None


def draw_dimness(recipe: NoiseDataRecipe, rng: np.random.Generator) -> Dimness:
    """One out of the mixture that denoising networks train on."""
    is_noisy, is_smooth, is_coded, wavers = rng.random(4) < (
        recipe.noise_share,
        recipe.smooth_noise_share,
        recipe.coded_share,
        recipe.flicker_share,
    )
    return Dimness(
        gauss_sigma=10.0 * float(rng.random()) ** 1.5 if is_noisy else 0.0,
        poisson_gain=float(rng.uniform(0.0, 0.1)) if is_noisy else 0.0,
        chroma_gain=float(rng.uniform(0.3, 1.2)),
        smooth_sigma=float(rng.uniform(0.3, 1.0)) if is_smooth else 0.0,
        flicker=float(rng.uniform(0.005, 0.02)) if wavers else 0.0,
        coding=draw_camera_coding(rng) if is_coded else None,
    )


def draw_camera_coding(rng: np.random.Generator) -> Coding:
    """H.264 50 % (crf 12-33), MJPEG 30 %, VP8 10 %, HEVC 10 %."""
    share = rng.random()
    if share < 0.5:
        return x264(int(rng.integers(12, 34)), str(rng.choice(PRESETS)))
    if share < 0.8:
        return Coding(codec="mjpeg", quality=int(rng.integers(2, 13)))
    if share < 0.9:
        return Coding(codec="libvpx", quality=int(rng.integers(6, 48)))
    return Coding(codec="libx265", quality=int(rng.integers(14, 33)))


def soil(frames: Sequence[Planes], dimness: Dimness, rng: np.random.Generator) -> list[Planes]:
    """The frames as they arrive, as many and in the same order."""
    soiled = [_soiled(planes, dimness, rng) for planes in frames]
    return soiled if dimness.coding is None else round_trip(soiled, dimness.coding)


def flicker(frames: Sequence[Planes], share: float, rng: np.random.Generator) -> list[Planes]:
    """The frames, each with a brightness of its own: how things are, not to be undone."""
    return [
        Planes(to_codes(_gained(planes.y, 1.0 + share * rng.standard_normal())), planes.u, planes.v)
        for planes in frames
    ]


def _gained(luma: Plane, gain: float) -> Floats:
    return np.asarray(16.0 + gain * (luma.astype(np.float32) - 16.0), np.float32)


def _soiled(planes: Planes, dimness: Dimness, rng: np.random.Generator) -> Planes:
    if not dimness.gauss_sigma and not dimness.poisson_gain:
        return planes
    sigma = np.sqrt(
        dimness.gauss_sigma**2 + dimness.poisson_gain * planes.y.clip(16, 235).astype(np.float32)
    )
    of_chroma = dimness.chroma_gain * cv2.resize(
        sigma, planes.u.shape[::-1], interpolation=cv2.INTER_AREA
    )

    def soiled(plane: Plane, sigma: Floats) -> Plane:
        noise = _noise(plane.shape, dimness.smooth_sigma, rng)
        return to_codes(np.asarray(plane + sigma * noise, np.float32))

    return Planes(soiled(planes.y, sigma), soiled(planes.u, of_chroma), soiled(planes.v, of_chroma))


def _noise(shape: tuple[int, ...], smooth_sigma: float, rng: np.random.Generator) -> Floats:
    """Of a standard deviation of 1."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    if not smooth_sigma:
        return noise
    smooth = np.asarray(cv2.GaussianBlur(noise, (0, 0), smooth_sigma), np.float32)
    return smooth / np.float32(smooth.std())
