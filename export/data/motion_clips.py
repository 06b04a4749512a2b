"""What happens to a clip before motion is learnt from it: repeats go, noise and codecs come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from export.data.codec import Coding, round_trip
from export.data.motion_recipe import MotionDataRecipe
from export.data.planes import Plane, Planes
from export.data.resample import to_codes

MAP_EDGE = 320
"""Longer side of the pictures that are compared to find repeats."""


def without_repeats(frames: Sequence[Planes]) -> tuple[list[Planes], NDArray[np.bool_]]:
    """The frames that are new, and for each step between them whether it is uneven, (T-1,).

    Frame rate conversion inserts repeats (every second or third frame in some clips); without
    them the motion is even. Where a camera repeated a frame *instead* of a new one, the next step
    is a long one: it changes much more than those around it. A repeat has under a tenth of the
    change around it.
    """
    pixels = max(frames[0].height, frames[0].width) / MAP_EDGE
    size = (round(frames[0].width / pixels), round(frames[0].height / pixels))
    small = [cv2.resize(planes.y, size, interpolation=cv2.INTER_AREA) for planes in frames]
    changes = np.array([float(cv2.absdiff(*pair).mean()) for pair in pairwise(small)])
    around = [np.percentile(changes[max(0, i - 4) : i + 5], 75) for i in range(len(changes))]
    is_repeat = changes < 0.1 * np.array(around)
    kept = [0, *(int(index) + 1 for index in np.flatnonzero(~is_repeat))]
    is_uneven = np.array(
        [
            later - earlier > 1 and changes[later - 1] > 1.6 * around[later - 1]
            for earlier, later in pairwise(kept)
        ],
        dtype=bool,
    )
    return [frames[index] for index in kept], is_uneven


@dataclass(frozen=True, slots=True, kw_only=True)
class Reception:
    """How the frames of one stream reach the viewer; all settings 0 or None: untouched."""

    gauss_sigma: float = 0.0
    """Sensor noise that does not depend on brightness, in code values."""
    poisson_gain: float = 0.0
    """Variance per code value of brightness."""
    coding: Coding | None = None


def draw_reception(recipe: MotionDataRecipe, rng: np.random.Generator) -> Reception:
    """Noise and codec, each in its share of the cases."""
    is_noisy, is_coded = rng.random(2) < (recipe.noise_share, recipe.coded_share)
    noise = draw_noise(rng) if is_noisy else Reception()
    return replace(noise, coding=draw_live_coding(rng) if is_coded else None)


def draw_noise(rng: np.random.Generator) -> Reception:
    """Sensor noise from hardly visible to that of a dim room."""
    return Reception(
        gauss_sigma=float(rng.uniform(0.5, 5.0)), poisson_gain=float(rng.uniform(0.0, 0.04))
    )


def draw_live_coding(rng: np.random.Generator) -> Coding:
    """H.264 70 % (crf 20-34), VP8 18 %, HEVC 12 %: what carries motion over a network."""
    share = rng.random()
    if share < 0.70:
        preset = str(rng.choice(("veryfast", "superfast", "ultrafast")))
        return Coding(codec="libx264", quality=int(rng.integers(20, 35)), preset=preset)
    if share < 0.88:
        return Coding(codec="libvpx", quality=int(rng.integers(12, 48)))
    return Coding(codec="libx265", quality=int(rng.integers(20, 34)))


def add_noise(plane: Plane, reception: Reception, rng: np.random.Generator) -> Plane:
    """The plane with the reception's sensor noise, another one at every call."""
    if not reception.gauss_sigma and not reception.poisson_gain:
        return plane
    brightness = plane.clip(16, 235).astype(np.float32)
    sigma = np.sqrt(reception.gauss_sigma**2 + reception.poisson_gain * brightness)
    noisy = plane + sigma * rng.standard_normal(plane.shape, dtype=np.float32)
    return to_codes(noisy.astype(np.float32))


def receive(
    frames: Sequence[Planes], reception: Reception, rng: np.random.Generator
) -> Sequence[Planes]:
    """The frames of a stream after sensor noise and codec, as many and in the same order."""
    noisy = [planes.map(lambda plane: add_noise(plane, reception, rng)) for planes in frames]
    return noisy if reception.coding is None else round_trip(noisy, reception.coding)
