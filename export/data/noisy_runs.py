"""The cache of denoising data: runs of noisy patches, their motion, and what they were before."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from export.data.clips import Split, read_clip, read_image
from export.data.growing import GrowingArray
from export.data.made_once import made_of
from export.data.noise import draw_dimness, flicker, soil
from export.data.noise_recipe import NoiseDataRecipe
from export.data.patches import pan, segments, turn
from export.data.planes import Plane, Planes, crop, crop_to_multiple
from export.data.resample import shrink, to_codes
from streamer.errors import ConfigError
from streamer.ops.following import Following

NAMES = ("noisy_y", "noisy_uv", "clean_y", "clean_uv", "back")
VERSION = 1
"""Raise it when the making of runs changes, so that old caches are not read."""

MULTIPLE = 4
"""Sides of pictures and places of patches, so that halves of halves agree."""

OF_CLIPS, OF_IMAGES = (1.5, 2.0, 2.5), (1.0, 1.5, 2.0)
"""What pictures are shrunk by first. Clips were coded: that takes away what a codec did to them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """N runs of T patches of edge P."""

    noisy_y: NDArray[np.uint8]
    """(N, T, P, P), and ``noisy_uv`` (N, T, 2, P/2, P/2): as they arrive."""
    noisy_uv: NDArray[np.uint8]
    clean_y: NDArray[np.uint8]
    """As they were."""
    clean_uv: NDArray[np.uint8]
    back: NDArray[np.float16]
    """(N, T - 1, P/2, P/2, 2): from each picture but the first to the one before, as
    ``Following.back`` gives it."""


class RunCache:
    """Read side: ``sample`` gives a batch of runs."""

    def __init__(self, folder: Path) -> None:
        self._arrays = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in NAMES]
        self.folder = folder

    def __len__(self) -> int:
        return int(self._arrays[0].shape[0])

    def sample(self, rng: np.random.Generator, count: int) -> Runs:
        """``count`` random runs, all turned or mirrored alike by one of eight ways."""
        chosen = np.sort(rng.integers(0, len(self), count))
        turns, is_mirrored = int(rng.integers(4)), bool(rng.integers(2))
        noisy_y, noisy_uv, clean_y, clean_uv = (
            turn(array[chosen], turns=turns, is_mirrored=is_mirrored) for array in self._arrays[:-1]
        )
        back = np.rot90(self._arrays[-1][chosen], turns, axes=(-3, -2))
        if is_mirrored:
            back = back[..., ::-1, :]
        return Runs(
            noisy_y=noisy_y,
            noisy_uv=noisy_uv,
            clean_y=clean_y,
            clean_uv=clean_uv,
            back=_turned_vectors(back, turns=turns, is_mirrored=is_mirrored),
        )


def _turned_vectors(
    flow: NDArray[np.float16], *, turns: int, is_mirrored: bool
) -> NDArray[np.float16]:
    """What was across and down before pictures were turned, across and down after it."""
    across, down = flow[..., 0], flow[..., 1]
    for _ in range(turns):
        # A quarter to the left: what pointed right points up, what pointed down points right.
        across, down = down, -across
    return np.stack([-across if is_mirrored else across, down], axis=-1)


def open_runs(
    split: Split, recipe: NoiseDataRecipe, *, folder: Path, report: Callable[[str], None]
) -> RunCache:
    """The cache for these clips and settings, made first when it is not there yet."""
    home = made_of(
        folder,
        "runs",
        settings={"version": VERSION, "recipe": asdict(recipe)},
        files=[*split.training, *split.images],
        make=lambda home: _build(split, recipe, home=home, report=report),
        report=report,
    )
    return RunCache(home)


def _build(
    split: Split, recipe: NoiseDataRecipe, *, home: Path, report: Callable[[str], None]
) -> None:
    cv2.setNumThreads(1)
    t, p, q = recipe.run, recipe.patch, recipe.patch // 2
    shapes = ((t, p, p), (t, 2, q, q), (t, p, p), (t, 2, q, q), (t - 1, q, q, 2))
    kinds = (np.uint8,) * 4 + (np.float16,)
    with ExitStack() as files:
        arrays = [
            files.enter_context(GrowingArray(home / f"{name}.npy", shape, kind))
            for name, shape, kind in zip(NAMES, shapes, kinds, strict=True)
        ]
        for name, runs in _all_runs(split, recipe):
            for run in runs:
                for array, part in zip(arrays, run, strict=True):
                    array.append(part)
            report(f"runs {arrays[0].count}: {name}")
    if not arrays[0].count:
        raise ConfigError(
            f"no clip is long and large enough for {t} patches of {p} pixels: lower data.run or "
            "data.patch, or add other clips"
        )


def _all_runs(
    split: Split, recipe: NoiseDataRecipe
) -> Iterator[tuple[str, Iterator[tuple[NDArray[np.generic], ...]]]]:
    for path in split.training:
        rng = _rng(recipe, path)
        frames = list(read_clip(path, multiple=2))
        stretches = segments(
            frames, length=recipe.segment_frames, count=recipe.segments_per_clip, shift=0
        )
        yield path.name, _runs(stretches, OF_CLIPS, recipe, rng)
    for path in split.images if recipe.image_segments else ():
        rng = _rng(recipe, path)
        image = read_image(path, multiple=2)
        moving = [pan(image, recipe.segment_frames, rng) for _ in range(recipe.image_segments)]
        yield path.name, _runs(moving, OF_IMAGES, recipe, rng)


def _rng(recipe: NoiseDataRecipe, path: Path) -> np.random.Generator:
    return np.random.default_rng([recipe.seed, zlib.crc32(path.name.encode())])


def _runs(
    stretches: list[list[Planes]],
    factors: tuple[float, ...],
    recipe: NoiseDataRecipe,
    rng: np.random.Generator,
) -> Iterator[tuple[NDArray[np.generic], ...]]:
    for stretch in stretches:
        factor = float(rng.choice(factors))
        dimness = draw_dimness(recipe, rng)
        room = [side - recipe.patch for side in shrunk_size(stretch[0], factor)]
        if min(room) < 0 or len(stretch) < recipe.run:
            continue
        clean = [shrunk(planes, factor) for planes in stretch]
        if dimness.flicker:
            clean = flicker(clean, dimness.flicker, rng)
        noisy = soil(clean, dimness, rng)
        following = Following()
        back = [following.back(now.y, before.y).copy() for before, now in pairwise(noisy)]
        for _ in range(recipe.patches_per_segment):
            # A stream begins once and goes on for long: most runs begin somewhere in the middle.
            first = int(rng.integers(len(clean) - recipe.run + 1)) if rng.random() < 0.75 else 0
            top, left = (int(rng.integers(space // MULTIPLE + 1)) * MULTIPLE for space in room)
            yield _cut(noisy, clean, back, recipe, first=first, top=top, left=left)


def shrunk_size(planes: Planes, factor: float) -> tuple[int, int]:
    """Height and width of what ``shrunk`` gives."""
    height, width = (
        int(side / factor) // MULTIPLE * MULTIPLE for side in (planes.height, planes.width)
    )
    return height, width


def shrunk(planes: Planes, factor: float) -> Planes:
    """The picture at a smaller size, sides multiples of ``MULTIPLE``."""
    height, width = shrunk_size(planes, factor)
    if factor == 1.0:
        return crop_to_multiple(planes, MULTIPLE)

    def change(plane: Plane) -> Plane:
        part = 1 if plane.shape == planes.y.shape else 2
        return to_codes(shrink(plane, height=height // part, width=width // part, kernel="area"))

    return planes.map(change)


def _cut(
    noisy: list[Planes],
    clean: list[Planes],
    back: list[NDArray[np.float32]],
    recipe: NoiseDataRecipe,
    *,
    first: int,
    top: int,
    left: int,
) -> tuple[NDArray[np.generic], ...]:
    parts: list[NDArray[np.generic]] = []
    for pictures in (noisy, clean):
        cut = [
            crop(planes, top=top, left=left, height=recipe.patch, width=recipe.patch)
            for planes in pictures[first : first + recipe.run]
        ]
        parts += [np.stack([c.y for c in cut]), np.stack([np.stack([c.u, c.v]) for c in cut])]
    t, x, edge = top // 2, left // 2, recipe.patch // 2
    moved = [flow[t : t + edge, x : x + edge] for flow in back[first : first + recipe.run - 1]]
    return *parts, np.stack(moved).astype(np.float16)
