"""The cache of real motion: runs of luma patches of neighbouring frames, memory-mapped."""

from __future__ import annotations

import hashlib
import json
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from export.data.clips import Split, read_clip
from export.data.codec import round_trip
from export.data.motion_clips import (
    Reception,
    add_noise,
    draw_places,
    draw_reception,
    draw_segment,
    measure_motion,
    shrunk_size,
)
from export.data.motion_recipe import MotionDataRecipe
from export.data.planes import Planes
from streamer.errors import ConfigError

__all__ = ["MotionCache", "MotionDataRecipe", "Runs", "open_motion_cache"]

Bytes = NDArray[np.uint8]

VERSION = 1
"""Raise it when the making of runs changes, so that old caches are not read."""

ITEM = np.dtype(
    [
        ("clip", "i4"),
        ("start", "i4"),
        ("skip", "i4"),
        ("scale", "f4"),
        ("top", "i4"),
        ("left", "i4"),
        ("speed", "f4"),
        ("is_noisy", "?"),
        ("is_coded", "?"),
        ("seen_row", "i4"),
    ]
)
"""What is known of an item. ``clip`` counts the files in ``contents.json``; ``start``: frame of the
clip, repeats not counted; ``top``, ``left``: pixels after shrinking; ``speed``: 95th percentile, pixels per step;
``seen_row``: its row in ``seen.npy``, or -1 where the frames arrive as they were."""


class Runs(NamedTuple):
    """A batch of runs of K neighbouring frames, both (N, K, crop, crop) uint8 luma code values."""

    seen: Bytes
    """As a receiver gets them: with sensor noise or codec damage in part of the items."""
    clean: Bytes
    """The same places of the same frames without that."""


class MotionCache:
    """Read side: ``sample`` gives a batch of runs; ``items`` says where each comes from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.items: NDArray[np.void] = np.load(folder / "items.npy")
        self._clean: Bytes = np.load(folder / "clean.npy", mmap_mode="r")
        self._seen: Bytes = np.load(folder / "seen.npy", mmap_mode="r")

    def __len__(self) -> int:
        return len(self.items)

    @property
    def frames(self) -> int:
        """Frames in an item (K)."""
        return int(self._clean.shape[1])

    @property
    def patch(self) -> int:
        """Edge of a stored patch in pixels: the largest crop."""
        return int(self._clean.shape[-1])

    def sample(self, rng: np.random.Generator, count: int, crop: int) -> Runs:
        """``count`` random items, each cropped, turned, mirrored and reversed in time at random."""
        if not 1 <= crop <= self.patch:
            raise ConfigError(f"crop is {crop}, allowed is 1 to {self.patch}")
        runs = [self._draw(rng, int(index), crop) for index in rng.integers(0, len(self), count)]
        return Runs(np.stack([run.seen for run in runs]), np.stack([run.clean for run in runs]))

    def _draw(self, rng: np.random.Generator, index: int, crop: int) -> Runs:
        top, left = (int(place) for place in rng.integers(0, self.patch - crop + 1, 2))
        turns, (is_mirrored, is_reversed) = int(rng.integers(4)), rng.integers(2, size=2)

        def change(stack: Bytes) -> Bytes:
            # Copied whole: pages read in order cost a third of pages read by rows.
            part = np.array(stack)[
                :: -1 if is_reversed else 1, top : top + crop, left : left + crop
            ]
            turned = np.rot90(part, turns, axes=(1, 2))
            return turned[:, :, ::-1] if is_mirrored else turned

        clean = change(self._clean[index])
        row = int(self.items[index]["seen_row"])
        return Runs(clean if row < 0 else change(self._seen[row]), clean)


def open_motion_cache(
    split: Split, recipe: MotionDataRecipe, *, folder: Path, report: Callable[[str], None]
) -> MotionCache:
    """The cache for these clips and settings, made first when it is not there yet.

    Only ``split.training`` is read. Raises ``ConfigError`` naming a clip that cannot be decoded,
    or when no clip gives a single run.
    """
    contents = {
        "version": VERSION,
        "recipe": asdict(recipe),
        "files": [[path.name, path.stat().st_size] for path in split.training],
    }
    text = json.dumps(contents, sort_keys=True)
    home = folder / f"motion-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    if not (home / "contents.json").is_file():
        _build(split.training, recipe, home=home, report=report)
        (home / "contents.json").write_text(text, encoding="utf-8")
    return MotionCache(home)


def _build(
    clips: Sequence[Path], recipe: MotionDataRecipe, *, home: Path, report: Callable[[str], None]
) -> None:
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    cv2.setNumThreads(1)
    shape = (recipe.frames, recipe.patch, recipe.patch)
    items: list[NDArray[np.void]] = []
    with (
        GrowingArray(home / "clean.npy", shape) as clean,
        GrowingArray(home / "seen.npy", shape) as seen,
    ):
        for number, path in enumerate(clips):
            for item, run in _runs(path, recipe):
                item["clip"] = number
                clean.append(run.clean)
                if item["is_noisy"] or item["is_coded"]:
                    item["seen_row"] = seen.count
                    seen.append(run.seen)
                items.append(item)
            report(f"runs {len(items)} ({seen.count} damaged): {path.name}")
    if not items:
        raise ConfigError(
            f"no clip has {recipe.frames} moving frames of {recipe.patch} pixels: "
            "lower data.patch or data.frames, or add larger clips"
        )
    np.save(home / "items.npy", np.stack(items))


class GrowingArray:
    """A uint8 ``.npy`` file that rows of one shape are appended to; valid once it is closed."""

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self.count, self._shape = 0, shape
        self._file = path.open("wb")
        self._write_header()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def _write_header(self) -> None:
        # NumPy pads the header for the first axis to grow, so its length does not change.
        np.lib.format.write_array_header_1_0(
            self._file,
            {"descr": "|u1", "fortran_order": False, "shape": (self.count, *self._shape)},
        )

    def append(self, row: Bytes) -> None:
        assert row.shape == self._shape
        self._file.write(np.ascontiguousarray(row).data)
        self.count += 1


def _runs(path: Path, recipe: MotionDataRecipe) -> Iterator[tuple[NDArray[np.void], Runs]]:
    """All items of a clip; ``clip`` and ``seen_row`` are left to the caller."""
    rng = np.random.default_rng([recipe.seed, zlib.crc32(path.name.encode())])
    frames = list(read_clip(path, multiple=2))
    if len(frames) < recipe.frames:
        return
    frames, motion = measure_motion(frames)
    for number in range(recipe.segments_per_clip):
        position = (number + float(rng.random())) / recipe.segments_per_clip
        segment = draw_segment(frames, motion, recipe, position=position, rng=rng)
        if segment is None:
            return
        reception = draw_reception(recipe, rng)
        size = shrunk_size(frames[0], segment.scale)
        places = draw_places(segment, motion, recipe, size=size, rng=rng)
        if not places:
            continue
        clean = segment.cut(frames)
        seen = receive(clean, reception, rng)
        for place in places:
            item = np.zeros((), ITEM)
            item["start"] = segment.start + place.first * segment.skip
            item["skip"], item["scale"] = segment.skip, segment.scale
            item["top"], item["left"], item["speed"] = place.top, place.left, place.speed
            item["is_noisy"] = reception.gauss_sigma > 0
            item["is_coded"] = reception.coding is not None
            item["seen_row"] = -1
            rows = slice(place.top, place.top + recipe.patch)
            columns = slice(place.left, place.left + recipe.patch)
            numbers = range(place.first, place.first + recipe.frames)
            run = [np.stack([kind[n].y[rows, columns] for n in numbers]) for kind in (seen, clean)]
            yield item, Runs(*run)


def receive(
    frames: Sequence[Planes], reception: Reception, rng: np.random.Generator
) -> Sequence[Planes]:
    """The frames of a stream after sensor noise and codec, as many and in the same order."""
    noisy = [planes.map(lambda plane: add_noise(plane, reception, rng)) for planes in frames]
    return noisy if reception.coding is None else round_trip(noisy, reception.coding)
