"""The cache of runs: pictures in a row as they arrive, what they were, and the motion between them."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from export.data.clips import Split, read_clip, read_image
from export.data.growing import write_rows
from export.data.patches import pan, segments, turn
from export.data.planes import Planes, crop
from export.data.run_recipe import RunDataRecipe
from streamer.errors import ConfigError
from streamer.ops.following import Following

NAMES = ("noisy_y", "noisy_uv", "clean_y", "clean_uv", "back")

MULTIPLE = 4
"""Sides of pictures and places of patches, so that halves of halves agree."""

Parts = tuple[NDArray[np.generic], ...]
"""One run, in the order of ``NAMES``."""


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


def stretches_of(
    split: Split, recipe: RunDataRecipe
) -> Iterator[tuple[Path, list[list[Planes]], np.random.Generator]]:
    """Of each clip and image its stretches, and what all else about them is drawn from."""
    for path in split.training:
        frames = list(read_clip(path, multiple=2))
        stretches = segments(
            frames, length=recipe.segment_frames, count=recipe.segments_per_clip, shift=0
        )
        yield path, stretches, _rng(recipe, path)
    for path in split.images if recipe.image_segments else ():
        rng = _rng(recipe, path)
        image = read_image(path, multiple=2)
        moving = [pan(image, recipe.segment_frames, rng) for _ in range(recipe.image_segments)]
        yield path, moving, rng


def _rng(recipe: RunDataRecipe, path: Path) -> np.random.Generator:
    return np.random.default_rng([recipe.seed, zlib.crc32(path.name.encode())])


def build_runs(
    named: Iterable[tuple[str, Iterable[Parts]]],
    recipe: RunDataRecipe,
    *,
    home: Path,
    report: Callable[[str], None],
) -> None:
    """Writes all runs, source by source, to arrays in ``home``; ``ConfigError`` where there are none."""
    cv2.setNumThreads(1)
    t, p, q = recipe.run, recipe.patch, recipe.patch // 2
    shapes = ((t, p, p), (t, 2, q, q), (t, p, p), (t, 2, q, q), (t - 1, q, q, 2))
    kinds = (np.uint8,) * 4 + (np.float16,)
    arrays = dict(zip(NAMES, zip(shapes, kinds, strict=True), strict=True))
    if not write_rows(named, arrays, home=home, kind="runs", report=report):
        raise ConfigError(
            f"no clip is long and large enough for {t} patches of {p} pixels: lower data.run or "
            "data.patch, or add other clips"
        )


def cut_runs(
    noisy: Sequence[Planes],
    clean: Sequence[Planes],
    recipe: RunDataRecipe,
    rng: np.random.Generator,
) -> Iterable[Parts]:
    """Runs of patches from anywhere in a stretch of pictures, with the motion of the whole pictures."""
    following = Following()
    back = [following.back(now.y, before.y).copy() for before, now in pairwise(noisy)]
    room = [side - recipe.patch for side in (clean[0].height, clean[0].width)]
    for _ in range(recipe.patches_per_segment):
        # A stream begins once and goes on for long: most runs begin somewhere in the middle.
        first = int(rng.integers(len(clean) - recipe.run + 1)) if rng.random() < 0.75 else 0
        top, left = (int(rng.integers(space // MULTIPLE + 1)) * MULTIPLE for space in room)
        yield _cut(noisy, clean, back, recipe, first=first, top=top, left=left)


def _cut(
    noisy: Sequence[Planes],
    clean: Sequence[Planes],
    back: list[NDArray[np.float32]],
    recipe: RunDataRecipe,
    *,
    first: int,
    top: int,
    left: int,
) -> Parts:
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
