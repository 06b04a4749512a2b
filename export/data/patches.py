"""The cache of training pairs: damaged and original patches as memory-mapped arrays."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from export.data.clips import Split, read_clip, read_image
from export.data.degrade import damage, draw_treatment
from export.data.growing import write_rows
from export.data.made_once import made_of
from export.data.planes import Planes, crop
from export.recipe import DataRecipe
from streamer.errors import ConfigError

Bytes = NDArray[np.uint8]
Pair = tuple[Bytes, Bytes, Bytes, Bytes]
"""Small luma (P, P) and chroma (2, P/2, P/2), large luma (sP, sP) and chroma (2, sP/2, sP/2)."""

NAMES = ("small_y", "small_uv", "large_y", "large_uv")
VERSION = 1
"""Raise it when the making of patches changes, so that old caches are not read."""

CANDIDATES = 4
"""Places looked at for each patch; four times of five the most detailed one is taken."""


class PatchCache:
    """Read side: ``sample`` gives a batch as four stacked arrays."""

    def __init__(self, folder: Path) -> None:
        self._arrays = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in NAMES]
        self.folder = folder

    def __len__(self) -> int:
        return int(self._arrays[0].shape[0])

    def sample(self, rng: np.random.Generator, count: int) -> Pair:
        """``count`` random pairs, all turned or mirrored alike by one of eight ways."""
        chosen = np.sort(rng.integers(0, len(self), count))
        turns, is_mirrored = int(rng.integers(4)), bool(rng.integers(2))

        small_y, small_uv, large_y, large_uv = (
            turn(array[chosen], turns=turns, is_mirrored=is_mirrored) for array in self._arrays
        )
        return small_y, small_uv, large_y, large_uv


def turn(stack: Bytes, *, turns: int, is_mirrored: bool) -> Bytes:
    """The pictures in the last two axes turned by quarters and perhaps mirrored."""
    turned = np.rot90(stack, turns, axes=(-2, -1))
    return np.ascontiguousarray(turned[..., ::-1] if is_mirrored else turned)


def open_cache(
    split: Split, recipe: DataRecipe, *, scale: int, folder: Path, report: Callable[[str], None]
) -> PatchCache:
    """The cache for these clips and settings, made first when it is not there yet."""
    home = made_of(
        folder,
        f"patches-x{scale}",
        settings={"version": VERSION, "scale": scale, "recipe": asdict(recipe)},
        files=[*split.training, *split.images],
        make=lambda home: _build(split, recipe, scale=scale, home=home, report=report),
        report=report,
    )
    return PatchCache(home)


def _build(
    split: Split, recipe: DataRecipe, *, scale: int, home: Path, report: Callable[[str], None]
) -> None:
    cv2.setNumThreads(1)
    p, q = recipe.patch, recipe.patch * scale
    shapes = ((p, p), (2, p // 2, p // 2), (q, q), (2, q // 2, q // 2))
    arrays = {name: (shape, np.uint8) for name, shape in zip(NAMES, shapes, strict=True)}
    pairs = _all_pairs(split, recipe, scale=scale)
    if not write_rows(pairs, arrays, home=home, kind="patches", report=report):
        raise ConfigError(
            f"no clip is large enough for patches of {q} pixels: "
            "lower data.patch or add larger clips"
        )


def _all_pairs(
    split: Split, recipe: DataRecipe, *, scale: int
) -> Iterator[tuple[str, Iterator[Pair]]]:
    for number in range(recipe.passes):
        for path in split.training:
            frames = list(read_clip(path, multiple=2))
            stretches = segments(
                frames,
                length=recipe.segment_frames,
                count=recipe.segments_per_clip,
                shift=number,
            )
            yield path.name, _pairs(path, stretches, recipe, scale=scale, number=number)
    for path in split.images if recipe.image_segments else ():
        rng = _rng(recipe, path, 100)
        image = read_image(path, multiple=2)
        moving = [pan(image, recipe.segment_frames, rng) for _ in range(recipe.image_segments)]
        yield path.name, _pairs(path, moving, recipe, scale=scale, number=100)


def _rng(recipe: DataRecipe, path: Path, number: int) -> np.random.Generator:
    return np.random.default_rng([recipe.seed, number, zlib.crc32(path.name.encode())])


def segments(frames: list[Planes], *, length: int, count: int, shift: int) -> list[list[Planes]]:
    """At most ``count`` runs of ``length`` neighbouring frames, evenly spread; ``shift`` half runs
    later."""
    length = min(length, len(frames))
    last = len(frames) - length
    count = min(count, max(1, len(frames) // length))
    starts = np.linspace(0, last, count).astype(int) + shift * length // 2
    return [frames[start : start + length] for start in starts.clip(0, last)]


def pan(image: Planes, length: int, rng: np.random.Generator) -> list[Planes]:
    """A still as a short clip: a window that moves evenly, or stands in one case of four."""
    height, width = image.height * 3 // 4 // 2 * 2, image.width * 3 // 4 // 2 * 2
    room = (image.height - height, image.width - width)
    start = [int(rng.integers(0, space + 1)) for space in room]
    speed = [0.0, 0.0] if rng.random() < 0.25 else list(rng.uniform(-8.0, 8.0, 2))
    frames = []
    for index in range(length):
        top, left = (
            int(min(max(begin + rate * index, 0), space)) // 2 * 2
            for begin, rate, space in zip(start, speed, room, strict=True)
        )
        frames.append(crop(image, top=top, left=left, height=height, width=width))
    return frames


def _pairs(
    path: Path, stretches: Sequence[list[Planes]], recipe: DataRecipe, *, scale: int, number: int
) -> Iterator[Pair]:
    rng = _rng(recipe, path, 1000 + number)
    for segment in stretches:
        if min(segment[0].height, segment[0].width) < recipe.patch * scale:
            # No patch fits, and so small a picture might shrink to nothing.
            continue
        treatment = draw_treatment(recipe, rng, scale=scale)
        small, large = damage(segment, treatment, scale=scale, rng=rng)
        wanted = min(recipe.sampled_frames, len(segment))
        chosen = set(rng.choice(len(segment), wanted, replace=False).tolist())
        # A keyframe is damaged otherwise than those after it; enlarging hides the difference.
        for index in sorted(chosen | {0} if scale == 1 else chosen):
            for _ in range(recipe.patches_per_frame):
                pair = _cut(small[index], large[index], recipe.patch, scale=scale, rng=rng)
                if pair is not None:
                    yield pair


def _cut(
    small: Planes, large: Planes, patch: int, *, scale: int, rng: np.random.Generator
) -> Pair | None:
    """One pair, mostly from where the large picture has detail; None if the frame is too small."""
    rows, columns = (small.height - patch) // 2, (small.width - patch) // 2
    if rows < 0 or columns < 0:
        return None
    edge = patch * scale
    places = [
        (2 * int(rng.integers(rows + 1)), 2 * int(rng.integers(columns + 1)))
        for _ in range(CANDIDATES)
    ]
    top, left = places[0]
    if rng.random() < 0.8:
        top, left = max(
            places,
            key=lambda place: detail(
                large.y[place[0] * scale :, place[1] * scale :][:edge:2, :edge:2]
            ),
        )
    near = crop(small, top=top, left=left, height=patch, width=patch)
    far = crop(large, top=top * scale, left=left * scale, height=edge, width=edge)
    return near.y, np.stack([near.u, near.v]), far.y, np.stack([far.u, far.v])


def detail(luma: Bytes) -> float:
    """By how many code values neighbours differ, down and across."""
    values = luma.astype(np.int16)
    return float(np.abs(np.diff(values, axis=0)).mean() + np.abs(np.diff(values, axis=1)).mean())
