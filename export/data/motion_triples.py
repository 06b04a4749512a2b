"""The cache that motion is learnt from: two pictures, the one that is wanted, and all that is told of
them without a network."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from export.data.clips import Split, read_clip
from export.data.growing import GrowingArray
from export.data.made_once import made_of
from export.data.motion import open_scenes
from export.data.motion_camera import Camera
from export.data.motion_clips import draw_reception, receive, without_repeats
from export.data.motion_recipe import MotionDataRecipe, SceneRecipe
from export.data.planes import Plane, Planes
from export.motion_inputs import network_inputs
from streamer.errors import ConfigError
from streamer.ops.motion import Floats, FlowEstimator, half

Bytes = NDArray[np.uint8]
Halves = NDArray[np.float16]

VERSION = 1
"""Raise it when the making of triples changes, so that old caches are not read."""

# First, second and wanted frame; entries that stand twice are drawn twice as often.
TRIPLES = {
    "interpolation": (*((0, 2, 1),) * 9, (0, 3, 1), (0, 4, 1), (0, 4, 2), (0, 3, 2), (0, 4, 3)),
    "prediction": (*((0, 1, 2),) * 8, (0, 2, 4), (0, 2, 3), (0, 2, 3), (0, 1, 3)),
}

LEAST_CHANGE = 0.3
"""Mean difference of two small pictures, code values, below which nothing is to be learnt."""

PLACES = 6
"""Patches looked at for each that is taken."""

SCENE_SIDE = 336

WARPED, MAPS = 4, 10
"""Layers kept of each triple: pictures brought to the wanted time; motions (4) and guide (6)."""

SCENES = SceneRecipe(coded_share=0.15, noise_share=0.1, blur_share=0.1, max_speed=20.0)


class Triples(NamedTuple):
    """A batch of N patches of P pixels."""

    luma: Bytes
    """(N, 3, P, P): first and second as received, and the wanted one as it was, code values."""
    pictures: Floats
    """(N, 6, P/2, P/2), ``motion`` (N, 5, P/4, P/4), ``guide`` (N, 6, P/4, P/4): a network's inputs,
    see ``NetworkInputs``."""
    motion: Floats
    guide: Floats


class TripleCache:
    """Read side: ``sample`` gives a batch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._luma: Bytes = np.load(folder / "luma.npy", mmap_mode="r")
        self._warped: Halves = np.load(folder / "warped.npy", mmap_mode="r")
        self._maps: Halves = np.load(folder / "maps.npy", mmap_mode="r")
        self._times: Floats = np.load(folder / "times.npy")

    def __len__(self) -> int:
        return len(self._luma)

    @property
    def patch(self) -> int:
        """Edge of a kept patch in pixels: the largest crop."""
        return int(self._luma.shape[-1])

    def sample(self, rng: np.random.Generator, count: int, crop: int) -> Triples:
        """``count`` triples, each cropped, mirrored, turned and, between two, reversed in time at
        random; ``crop`` is a multiple of 4."""
        if not 4 <= crop <= self.patch or crop % 4:
            raise ConfigError(f"crop is {crop}, allowed are multiples of 4 up to {self.patch}")
        drawn = [self._draw(rng, int(n), crop) for n in rng.integers(0, len(self), count)]
        return Triples(*(np.stack(parts) for parts in zip(*drawn, strict=True)))

    def _draw(self, rng: np.random.Generator, index: int, crop: int) -> Triples:
        top, left = (int(place) for place in rng.integers(0, (self.patch - crop) // 4 + 1, 2))
        inner = (slice(top, top + crop // 4), slice(left, left + crop // 4))

        def cut(layers: NDArray[np.generic], size: int) -> NDArray[np.generic]:
            rows, columns = (slice(size * part.start, size * part.stop) for part in inner)
            return np.array(layers[index])[:, rows, columns]

        patch = Patch(
            luma=np.asarray(cut(self._luma, 4), np.uint8),
            warped=np.asarray(cut(self._warped, 2), np.float32),
            maps=np.asarray(cut(self._maps, 1), np.float32),
            time=float(self._times[index]),
        )
        is_mirrored, is_upside_down, is_turned, is_reversed = rng.integers(2, size=4)
        if is_mirrored:
            patch = patch.mirrored()
        if is_upside_down:
            patch = patch.upside_down()
        if is_turned:
            patch = patch.turned()
        if is_reversed and patch.time < 1:
            patch = patch.reversed()
        return patch.inputs()


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """One triple and what is told of it; each change of the picture changes all alike."""

    luma: Bytes
    """(3, P, P)."""
    warped: Floats
    """(4, P/2, P/2)."""
    maps: Floats
    """(10, P/4, P/4): motions by either flow, then flow into either picture, x before y; mask,
    softness."""
    time: float

    def mirrored(self) -> Patch:
        return self._changed(lambda part: part[:, :, ::-1], negated=(0, 2, 4, 6))

    def upside_down(self) -> Patch:
        return self._changed(lambda part: part[:, ::-1], negated=(1, 3, 5, 7))

    def turned(self) -> Patch:
        """Rows become columns, so x becomes y."""
        swapped = self._changed(lambda part: part.transpose(0, 2, 1), negated=())
        return swapped._with_maps(swapped.maps[[1, 0, 3, 2, 5, 4, 7, 6, 8, 9]])

    def reversed(self) -> Patch:
        """Time runs the other way: the second picture is the first, the backward flow the forward one."""
        maps = self.maps[[2, 3, 0, 1, 6, 7, 4, 5, 8, 9]]
        maps[:4] *= -1
        maps[8] = 1 - maps[8]
        return Patch(
            luma=self.luma[[1, 0, 2]], warped=self.warped[::-1], maps=maps, time=1 - self.time
        )

    def inputs(self) -> Triples:
        """As arrays of their own, without a batch's first axis."""
        standing = [half(np.ascontiguousarray(luma)) for luma in self.luma[:2]]
        pictures = np.concatenate([self.warped, np.float32(1 / 255) * np.stack(standing)])
        time = np.full((1, *self.maps.shape[1:]), self.time, np.float32)
        motion = np.concatenate([self.maps[:4], time])
        guide = np.ascontiguousarray(self.maps[4:])
        return Triples(np.ascontiguousarray(self.luma), pictures, motion, guide)

    def _changed(
        self, change: Callable[[NDArray[np.generic]], NDArray[np.generic]], negated: Sequence[int]
    ) -> Patch:
        maps = np.array(change(self.maps), np.float32)
        maps[list(negated)] *= -1
        luma, warped = change(self.luma), change(self.warped)
        return Patch(
            luma=np.asarray(luma, np.uint8),
            warped=np.asarray(warped, np.float32),
            maps=maps,
            time=self.time,
        )

    def _with_maps(self, maps: Floats) -> Patch:
        return Patch(luma=self.luma, warped=self.warped, maps=maps, time=self.time)


def open_triples(
    split: Split,
    recipe: MotionDataRecipe,
    *,
    task: str,
    folder: Path,
    report: Callable[[str], None],
) -> TripleCache:
    """The cache for these clips and settings, made first when it is not there yet.

    Only ``split.training`` and ``split.images`` are read. Raises ``ConfigError`` naming a clip that
    cannot be decoded, or when no clip gives a single triple.
    """
    home = made_of(
        folder,
        "triples",
        settings={"version": VERSION, "task": task, "recipe": asdict(recipe)},
        files=[*split.training, *(split.images if recipe.scenes else ())],
        make=lambda home: _build(split, recipe, task=task, home=home, report=report),
        report=report,
    )
    return TripleCache(home)


def _build(
    split: Split,
    recipe: MotionDataRecipe,
    *,
    task: str,
    home: Path,
    report: Callable[[str], None],
) -> None:
    cv2.setNumThreads(1)
    with Writer(home, recipe.patch) as writer:
        for path in split.training:
            _add_clip(writer, path, recipe, TRIPLES[task])
            report(f"triples {writer.count}: {path.name}")
        if recipe.scenes:
            _add_scenes(writer, split, recipe, TRIPLES[task], report)
    if not writer.count:
        raise ConfigError(
            f"no clip has {recipe.segment_frames} moving frames of {recipe.patch} pixels: "
            "lower data.patch or data.segment_frames, or add larger clips"
        )


def _add_clip(
    writer: Writer, path: Path, recipe: MotionDataRecipe, triples: Sequence[tuple[int, int, int]]
) -> None:
    rng = np.random.default_rng([recipe.seed, zlib.crc32(path.name.encode())])
    frames = list(read_clip(path, multiple=2))
    if len(frames) < recipe.segment_frames:
        return
    frames, is_uneven = without_repeats(frames)
    if len(frames) < recipe.segment_frames:
        return
    odds = 0.4 ** np.arange(recipe.max_skip)
    for _ in range(recipe.segments_per_clip):
        skip = 1 + int(rng.choice(recipe.max_skip, p=odds / odds.sum()))
        if (recipe.segment_frames - 1) * skip >= len(frames):
            skip = 1
        length = (recipe.segment_frames - 1) * skip + 1
        start = int(rng.integers(0, len(frames) - length + 1))
        clean = _seen(frames[start : start + length : skip], recipe, rng)
        if min(clean[0].height, clean[0].width) < recipe.patch:
            continue
        seen = receive(clean, draw_reception(recipe, rng), rng)
        drawn = set()
        for _ in range(recipe.triples_per_segment):
            triple = triples[int(rng.integers(len(triples)))]
            first = int(rng.integers(0, recipe.segment_frames - max(triple)))
            steps = slice(start + first * skip, start + (first + max(triple)) * skip)
            if (first, triple) in drawn or is_uneven[steps].any():
                continue
            drawn.add((first, triple))
            a, b, wanted = (first + frame for frame in triple)
            writer.add((seen[a].y, seen[b].y, clean[wanted].y), _time(triple), rng)


def _time(triple: tuple[int, int, int]) -> float:
    first, second, wanted = triple
    return (wanted - first) / (second - first)


def _seen(
    frames: Sequence[Planes], recipe: MotionDataRecipe, rng: np.random.Generator
) -> list[Planes]:
    """The frames through a camera that moves, or shrunk."""
    longest = int(rng.choice(recipe.longest_sides))
    if rng.random() < recipe.camera_share:
        camera = Camera.draw(frames[0], len(frames), patch=recipe.patch, rng=rng)
        if camera is not None:
            return camera.see(frames)
    height, width = frames[0].height, frames[0].width
    ratio = min(1.0, max(longest / max(height, width), (recipe.patch + 2) / min(height, width)))
    size = int(width * ratio) // 2 * 2, int(height * ratio) // 2 * 2

    def shrunk(plane: Plane) -> Plane:
        part = 1 if plane.shape[0] == height else 2
        small = cv2.resize(plane, (size[0] // part, size[1] // part), interpolation=cv2.INTER_AREA)
        return np.asarray(small, dtype=np.uint8)

    return [planes if ratio == 1.0 else planes.map(shrunk) for planes in frames]


def _add_scenes(
    writer: Writer,
    split: Split,
    recipe: MotionDataRecipe,
    triples: Sequence[tuple[int, int, int]],
    report: Callable[[str], None],
) -> None:
    source = open_scenes(split, SCENES, report=report)
    rng = np.random.default_rng([recipe.seed, 0])
    side = max(SCENE_SIDE, recipe.patch)
    for _ in range(recipe.scenes):
        time = _time(triples[int(rng.integers(len(triples)))])
        runs = source.sample(rng, 1, side, times=(0.0, 1.0, time), pairs=())
        writer.add((runs.seen[0, 0], runs.seen[0, 1], runs.clean[0, 2]), time, rng)
    report(f"triples {writer.count}: with made-up scenes")


class Writer:
    """Cuts triples to patches and appends them to the files of a cache."""

    def __init__(self, home: Path, patch: int) -> None:
        self.count = 0
        self._home, self._patch = home, patch
        self._times: list[float] = []
        self._estimator, self._inputs = FlowEstimator(), network_inputs()
        self._open = ExitStack()

    def __enter__(self) -> Self:
        side = self._patch
        shapes = {
            "luma": ((3, side, side), np.uint8),
            "warped": ((WARPED, side // 2, side // 2), np.float16),
            "maps": ((MAPS, side // 4, side // 4), np.float16),
        }
        self._files = {
            name: self._open.enter_context(GrowingArray(self._home / f"{name}.npy", shape, kind))
            for name, (shape, kind) in shapes.items()
        }
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()
        np.save(self._home / "times.npy", np.array(self._times, np.float32))

    def add(self, lumas: tuple[Plane, Plane, Plane], time: float, rng: np.random.Generator) -> None:
        """One or two patches of first, second and wanted picture, where much changes."""
        small = half(lumas[0]), half(lumas[1])
        change = cv2.absdiff(*small).astype(np.float32)
        if change.mean() < LEAST_CHANGE:
            return
        self._inputs.fill(small, self._estimator.between(*small), time)
        arrays = {name: array[0] for name, array in self._inputs.arrays.items()}
        maps = np.concatenate([arrays["motion"][:4], arrays["guide"]])
        for top, left in self._places(change, lumas[0].shape, rng):
            self._append("luma", np.stack(lumas), 8 * top, 8 * left)
            self._append("warped", arrays["pictures"][:WARPED], 4 * top, 4 * left)
            self._append("maps", maps, 2 * top, 2 * left)
            self._times.append(time)
            self.count += 1

    def _places(
        self, change: Floats, shape: tuple[int, ...], rng: np.random.Generator
    ) -> list[tuple[int, int]]:
        """Top and left in units of eight pixels; a second one only where it lies apart."""
        side = self._patch // 2
        room = [(length - self._patch) // 8 + 1 for length in shape]
        drawn = [(int(rng.integers(room[0])), int(rng.integers(room[1]))) for _ in range(PLACES)]
        changes = [
            change[4 * top : 4 * top + side, 4 * left : 4 * left + side].mean()
            for top, left in drawn
        ]
        odds = 0.1 + np.sqrt(np.array(changes))
        first = drawn[int(rng.choice(PLACES, p=odds / odds.sum()))]
        apart = [p for p in drawn if 8 * (abs(p[0] - first[0]) + abs(p[1] - first[1])) >= side]
        return [first, *apart[:1]]

    def _append(self, name: str, layers: NDArray[np.generic], top: int, left: int) -> None:
        file = self._files[name]
        height, width = file.shape[1:]
        file.append(layers[:, top : top + height, left : left + width].astype(file.kind))
