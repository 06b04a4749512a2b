"""What a live picture suffers before it arrives: blur, shrinking, sensor noise, a codec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from export.data.codec import Coding, round_trip, x264
from export.data.planes import Plane, Planes, crop_to_multiple
from export.data.resample import Floats, shrink, to_codes

PRESETS = ("veryfast", "superfast", "ultrafast")


class Mixture(Protocol):
    """Shares of clips, 0..1, that suffer one thing or another."""

    @property
    def blur_share(self) -> float: ...
    @property
    def noise_share(self) -> float: ...
    @property
    def clean_share(self) -> float: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """One way to damage a short clip; drawn once per clip, as a camera keeps its settings."""

    sharpening: float = 1.0
    """The original is first shrunk by this, which makes soft material sharp."""
    grain_sigma: float = 0.0
    """Noise that belongs to the original, in code values: a codec is not to be helped to remove it."""
    blur_sigma: float = 0.0
    """Gaussian, in pixels of the large picture; 0 is none."""
    kernel: str = "area"
    gauss_sigma: float = 0.0
    """Sensor noise that does not depend on brightness, in code values of the small picture."""
    poisson_gain: float = 0.0
    """Variance per code value of brightness."""
    coding: Coding | None = None


def draw_treatment(recipe: Mixture, rng: np.random.Generator, *, scale: int) -> Treatment:
    """One treatment out of the mixture that ``live`` networks train on."""
    if scale == 1:
        return _draw_compression(recipe, rng)
    is_noisy, is_blurred = rng.random(2) < (recipe.noise_share, recipe.blur_share)
    is_clean = rng.random() < recipe.clean_share
    return Treatment(
        sharpening=float(rng.choice([1.0, 1.5, 2.0], p=[0.55, 0.2, 0.25])),
        blur_sigma=float(rng.uniform(0.3, 1.2)) if is_blurred else 0.0,
        kernel=str(rng.choice(["area", "bicubic", "bilinear", "lanczos"], p=[0.3, 0.3, 0.2, 0.2])),
        gauss_sigma=float(rng.uniform(0.3, 3.0)) if is_noisy else 0.0,
        poisson_gain=float(rng.uniform(0.0, 0.03)) if is_noisy else 0.0,
        coding=None if is_clean else draw_coding(rng),
    )


def _draw_compression(recipe: Mixture, rng: np.random.Generator) -> Treatment:
    """As ``draw_treatment``, where what the codec did is all that is to be undone.

    Nothing else is: a network that also takes noise or blur away changes undamaged pictures, and
    here there is no enlargement that it could improve instead. So noise is the original's own;
    without any, well coded pictures with grain lose up to 4 dB. Clips are coded themselves and
    are soft, so most are shrunk before.
    """
    sharpening = float(rng.choice([1.0, 1.5, 2.0, 2.5], p=[0.2, 0.25, 0.35, 0.2]))
    grain = float(rng.uniform(0.5, 5.0)) if rng.random() < recipe.noise_share else 0.0
    coding = x264(int(rng.integers(14, 39)), str(rng.choice(PRESETS, p=[0.6, 0.2, 0.2])))
    if rng.random() < 0.2:
        coding = draw_coding(rng)
    is_clean = rng.random() < recipe.clean_share
    return Treatment(sharpening=sharpening, grain_sigma=grain, coding=None if is_clean else coding)


def draw_coding(rng: np.random.Generator) -> Coding:
    """H.264 56 %, VP8 19 %, MJPEG 15 %, HEVC 10 %."""
    share = rng.random()
    if share < 0.56:
        preset = str(rng.choice(PRESETS))
        return Coding(codec="libx264", quality=int(rng.integers(18, 37)), preset=preset)
    if share < 0.75:
        return Coding(codec="libvpx", quality=int(rng.integers(10, 58)))
    if share < 0.90:
        return Coding(codec="mjpeg", quality=int(rng.integers(2, 13)))
    return Coding(codec="libx265", quality=int(rng.integers(18, 35)))


def damage(
    originals: Sequence[Planes], treatment: Treatment, *, scale: int, rng: np.random.Generator
) -> tuple[list[Planes], list[Planes]]:
    """Small damaged frames and the large frames they should become, in the same order."""
    targets = [sharpen(planes, treatment.sharpening, multiple=2 * scale) for planes in originals]
    if treatment.grain_sigma:
        targets = [_with_grain(planes, treatment.grain_sigma, rng=rng) for planes in targets]
    small = [_shrink_and_soil(planes, treatment, scale=scale, rng=rng) for planes in targets]
    if treatment.coding is not None:
        small = round_trip(small, treatment.coding)
    return small, targets


def sharpen(planes: Planes, factor: float, *, multiple: int) -> Planes:
    """The picture shrunk by ``factor`` (1 leaves it alone), sides cut to ``multiple``."""
    if factor == 1.0:
        return crop_to_multiple(planes, multiple)
    height = int(planes.height / factor) // multiple * multiple
    width = int(planes.width / factor) // multiple * multiple

    def change(plane: Plane) -> Plane:
        part = 1 if plane.shape == planes.y.shape else 2
        return to_codes(shrink(plane, height=height // part, width=width // part, kernel="bicubic"))

    return planes.map(change)


def _with_grain(planes: Planes, sigma: float, *, rng: np.random.Generator) -> Planes:
    def change(plane: Plane) -> Plane:
        noise = rng.standard_normal(plane.shape, dtype=np.float32)
        return to_codes(plane.astype(np.float32) + np.float32(sigma) * noise)

    return planes.map(change)


def _shrink_and_soil(
    planes: Planes, treatment: Treatment, *, scale: int, rng: np.random.Generator
) -> Planes:
    def change(plane: Plane) -> Plane:
        soft: Plane | Floats = plane
        if treatment.blur_sigma:
            soft = np.asarray(
                cv2.GaussianBlur(plane.astype(np.float32), (0, 0), treatment.blur_sigma),
                dtype=np.float32,
            )
        height, width = plane.shape[0] // scale, plane.shape[1] // scale
        if scale > 1:
            small = shrink(soft, height=height, width=width, kernel=treatment.kernel)
        else:
            small = soft.astype(np.float32)
        return to_codes(_add_noise(small, treatment, rng=rng))

    return planes.map(change)


def _add_noise(values: Floats, treatment: Treatment, *, rng: np.random.Generator) -> Floats:
    if not treatment.gauss_sigma and not treatment.poisson_gain:
        return values
    variance = treatment.gauss_sigma**2 + treatment.poisson_gain * values.clip(16, 235)
    noise = rng.standard_normal(values.shape, dtype=np.float32) * np.sqrt(variance)
    return (values + noise).astype(np.float32)
