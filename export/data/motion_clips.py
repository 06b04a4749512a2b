"""Finds the runs of frames of a clip that are worth training motion on, and how they suffer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product

import cv2
import numpy as np
from numpy.typing import NDArray

from export.data.codec import Coding
from export.data.motion_recipe import MotionDataRecipe
from export.data.planes import Plane, Planes
from export.data.resample import to_codes

SCALES = (1.0, 0.75, 0.5)
MAP_EDGE = 320
"""Longer side of the pictures that motion is estimated on: half a millisecond each with DIS."""

SEEN_CHANGE = 1.5
"""Code values; where less changes, the flow is a guess across a flat area and counts as none."""

CANDIDATES = 10
"""Places looked at for each item."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """How a clip moves from each frame to the next, on a coarse grid of (T-1, h, w) cells."""

    speed: NDArray[np.float32]
    """Pixels of the clip per frame; 0 where nothing visibly moves."""
    change: NDArray[np.float32]
    """Absolute difference of the two frames, code values."""
    is_uneven: NDArray[np.bool_]
    """(T-1,) a step that took longer than one frame."""
    pixels: float
    """Clip pixels per cell of the grid."""


def measure_motion(frames: Sequence[Planes]) -> tuple[list[Planes], Motion]:
    """The frames without those that repeat the one before, and how they move (DIS, small).

    Frame rate conversion inserts repeats (every second or third frame in some clips); without
    them the motion is even. Where a camera repeated a frame *instead* of a new one, the next step
    is a long one and is marked.
    """
    pixels = max(frames[0].height, frames[0].width) / MAP_EDGE
    size = (round(frames[0].width / pixels), round(frames[0].height / pixels))
    small = [_shrink(planes.y, size) for planes in frames]
    kept, is_uneven = _without_repeats(small)
    flow_of = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    speeds, changes = [], []
    for earlier, later in pairwise(small[index] for index in kept):
        flow = flow_of.calc(earlier, later, np.zeros((size[1], size[0], 2), np.float32))
        change = cv2.absdiff(earlier, later).astype(np.float32)
        is_seen = cv2.blur(change, (5, 5)) > SEEN_CHANGE
        speed = np.hypot(flow[..., 0], flow[..., 1]) * pixels * is_seen
        speeds.append(_halve(speed.astype(np.float32)))
        changes.append(_halve(change))
    motion = Motion(
        speed=np.stack(speeds), change=np.stack(changes), is_uneven=is_uneven, pixels=2 * pixels
    )
    return [frames[index] for index in kept], motion


def _shrink(luma: Plane, size: tuple[int, int]) -> Plane:
    return np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _halve(values: NDArray[np.float32]) -> NDArray[np.float32]:
    half = cv2.resize(values, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return np.asarray(half, dtype=np.float32)


def _without_repeats(small: Sequence[Plane]) -> tuple[list[int], NDArray[np.bool_]]:
    """Numbers of the frames that are new, and for each step between them whether it is uneven.

    A repeat has under a tenth of the change around it. A step across a removed repeat is uneven
    when it changes much more than the steps around it.
    """
    changes = np.array([float(cv2.absdiff(*pair).mean()) for pair in pairwise(small)])
    around = [np.percentile(changes[max(0, i - 4) : i + 5], 75) for i in range(len(changes))]
    is_repeat = changes < 0.1 * np.array(around)
    kept = [0, *(int(index) + 1 for index in np.flatnonzero(~is_repeat))]
    is_long = np.array(
        [
            later - earlier > 1 and changes[later - 1] > 1.6 * around[later - 1]
            for earlier, later in pairwise(kept)
        ],
        dtype=bool,
    )
    return kept, is_long


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of a clip: every ``skip``-th frame from ``start``, shrunk by ``scale``."""

    start: int
    skip: int
    length: int
    scale: float

    def cut(self, frames: Sequence[Planes]) -> list[Planes]:
        """The stretch, shrunk with an area kernel, sides even."""
        end = self.start + self.skip * (self.length - 1) + 1
        picked = frames[self.start : end : self.skip]
        height, width = shrunk_size(frames[0], self.scale)

        def change(plane: Plane) -> Plane:
            part = 1 if plane.shape[0] == frames[0].height else 2
            small = cv2.resize(plane, (width // part, height // part), interpolation=cv2.INTER_AREA)
            return np.asarray(small, dtype=np.uint8)

        return [planes if self.scale == 1.0 else planes.map(change) for planes in picked]


def shrunk_size(planes: Planes, scale: float) -> tuple[int, int]:
    """Height and width of the shrunk picture; both even."""
    return int(planes.height * scale) // 2 * 2, int(planes.width * scale) // 2 * 2


def draw_segment(
    frames: Sequence[Planes],
    motion: Motion,
    recipe: MotionDataRecipe,
    *,
    position: float,
    rng: np.random.Generator,
) -> Segment | None:
    """A stretch around ``position`` (0..1 of the clip); None when the clip is too small or short.

    Skip and scale are drawn so that the motion there falls into the recipe's range: slow parts
    skip frames and stay large, fast ones do neither.
    """
    middle = round(position * (len(frames) - 1))
    near = motion.speed[max(0, middle - 16) : middle + 16]
    speed = float(np.percentile(near[:, ::2, ::2], 95))
    paces, weights = [], []
    for skip, scale in product(range(1, recipe.max_skip + 1), SCALES):
        is_long_enough = (recipe.frames - 1) * skip < len(frames)
        if is_long_enough and min(shrunk_size(frames[0], scale)) >= recipe.patch:
            paces.append((skip, scale))
            weights.append(_fit(speed * skip * scale, recipe) / skip)
    if not paces:
        return None
    odds = np.array(weights) / sum(weights)
    skip, scale = paces[int(rng.choice(len(paces), p=odds))]
    length = min(recipe.segment_frames, (len(frames) - 1) // skip + 1)
    last = len(frames) - 1 - (length - 1) * skip
    start = min(max(middle - (length - 1) * skip // 2, 0), last)
    return Segment(start=start, skip=skip, length=length, scale=scale)


def _fit(speed: float, recipe: MotionDataRecipe) -> float:
    """1 well inside the wanted range of speeds, less towards its ends and outside."""
    if 2 * recipe.min_speed <= speed <= recipe.max_speed * 2 / 3:
        return 1.0
    return 0.4 if recipe.min_speed <= speed <= recipe.max_speed else 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an item lies in its segment: frame number and top left pixel, after shrinking."""

    first: int
    top: int
    left: int
    speed: float
    """95th percentile over the patch, pixels per step."""
    weight: float

    def is_near(self, other: Place, patch: int) -> bool:
        return (
            abs(self.first - other.first) < 2
            and abs(self.top - other.top) < patch // 3
            and abs(self.left - other.left) < patch // 3
        )


def draw_places(
    segment: Segment,
    motion: Motion,
    recipe: MotionDataRecipe,
    *,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> list[Place]:
    """Places for items in a segment of pictures of ``size`` (height, width), well apart.

    Those that change more are likelier; at most ``still_share`` of them stand still, none is too
    fast and none holds an uneven step. Fewer than ``items_per_segment`` where little moves.
    """
    drawn = (
        _draw_place(segment, motion, recipe, size=size, rng=rng)
        for _ in range(CANDIDATES * recipe.items_per_segment)
    )
    found = [place for place in drawn if place is not None and place.speed <= recipe.max_speed]
    moving = [place for place in found if place.speed >= recipe.min_speed]
    still = [place for place in found if place.speed < recipe.min_speed]
    wanted_still = int(rng.binomial(recipe.items_per_segment, recipe.still_share))
    chosen = _choose(moving, recipe.items_per_segment - wanted_still, recipe.patch, rng=rng)
    chosen += _choose(still, min(wanted_still, 1 + len(chosen) // 4), recipe.patch, rng=rng)
    return sorted(chosen, key=lambda place: (place.first, place.top, place.left))


def _draw_place(
    segment: Segment,
    motion: Motion,
    recipe: MotionDataRecipe,
    *,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> Place | None:
    first = int(rng.integers(segment.length - recipe.frames + 1))
    top = int(rng.integers(size[0] - recipe.patch + 1))
    left = int(rng.integers(size[1] - recipe.patch + 1))
    begin = segment.start + first * segment.skip
    end = begin + (recipe.frames - 1) * segment.skip
    if motion.is_uneven[begin:end].any():
        return None
    cell = motion.pixels * segment.scale
    t, x, edge = int(top / cell), int(left / cell), max(1, int(recipe.patch / cell))
    block = motion.speed[begin:end, t : t + edge, x : x + edge]
    per_step = block.reshape(recipe.frames - 1, segment.skip, -1).sum(axis=1) * segment.scale
    speed = float(np.percentile(per_step, 95))
    change = motion.change[begin:end, t : t + edge, x : x + edge]
    weight = 0.1 + float(np.sqrt(change.mean()))
    return Place(first=first, top=top, left=left, speed=speed, weight=weight)


def _choose(
    places: Sequence[Place], count: int, patch: int, *, rng: np.random.Generator
) -> list[Place]:
    """Up to ``count`` places in a weighted random order, none near another."""
    chosen: list[Place] = []
    if not places or count <= 0:
        return chosen
    odds = np.array([place.weight for place in places])
    for index in rng.choice(len(places), len(places), replace=False, p=odds / odds.sum()):
        if not any(places[index].is_near(other, patch) for other in chosen):
            chosen.append(places[index])
        if len(chosen) == count:
            break
    return chosen


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
