"""Finds and reads what is judged: pictures, clips and triplets in any folder."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import cv2
import numpy as np

from benchmarks.quality.matlab import Picture, to_planes
from export.data.clips import read_clip
from export.data.planes import Planes as Record
from streamer.errors import ConfigError
from streamer.frame import Planes

CLIP_ENDINGS = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".ts", ".y4m")
IMAGE_ENDINGS = (".png", ".webp", ".bmp", ".jpg", ".jpeg", ".tif", ".tiff")

TRIPLETS = (("im0", "gt", "im1"), ("im1", "im2", "im3"), ("frame_00", "frame_01_gt", "frame_02"))
"""Names without ending of the first picture, the one between, and the last: as in Middlebury and
the interpolation papers, in Vimeo-90K, and in UCF101 as it was first published."""

COMPLETE = {
    "set5": 5,
    "set14": 14,
    "bsd100": 100,
    "urban100": 100,
    "vid4": 4,
    "ucf101_379": 379,
    "middlebury_other": 12,
}
"""Standard sets by folder name, and how many items make them whole."""

SMALLEST = 32
"""Pixels; below, neither DIS nor MS-SSIM has anything to hold on to."""


class Kind(Enum):
    """What an item is."""

    STILL = "pictures"
    CLIP = "clips"
    TRIPLET = "triplets"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """Something to judge; ``paths`` is one file, or the three of a triplet in order of time."""

    group: str
    """Name of the data folder."""
    name: str
    kind: Kind
    paths: tuple[Path, ...]


def find_items(
    folder: Path, *, kinds: Collection[Kind], prefixes: Sequence[str], limit: int | None
) -> list[Item]:
    """What ``folder`` holds of these kinds, by name; with ``limit`` so many, evenly spread.

    ``prefixes`` keeps the items whose name starts with one of them. Raises ``ConfigError``.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder; --data names one with pictures or clips")
    found = list(_items(folder))
    fitting = sorted((item for item in found if item.kind in kinds), key=lambda item: item.name)
    if not fitting:
        raise ConfigError(_nothing_said(folder, found, kinds))
    for prefix in prefixes:
        if not any(item.name.startswith(prefix) for item in fitting):
            raise ConfigError(f"nothing in {folder.name} starts with {prefix!r}, as --clips asks")
    kept = [item for item in fitting if not prefixes or item.name.startswith(tuple(prefixes))]
    if limit is not None and limit < len(kept):
        places = np.linspace(0, len(kept) - 1, limit).round().astype(int)
        kept = [kept[place] for place in places]
    return kept


def read_picture(path: Path) -> Picture:
    """A picture as RGB, or as grey where it is stored so. Raises ``ConfigError``."""
    decoded = cv2.imdecode(np.frombuffer(_bytes(path), np.uint8), cv2.IMREAD_ANYCOLOR)
    if decoded is None:
        raise ConfigError(f"{path.name} cannot be read as a picture; replace or remove it")
    _check_size(path, height=decoded.shape[0], width=decoded.shape[1])
    if decoded.ndim == 3:
        decoded = decoded[:, :, ::-1]
    return np.ascontiguousarray(decoded, dtype=np.uint8)


def read_triplet(item: Item) -> list[Picture]:
    """Three RGB pictures of one size, in order of time. Raises ``ConfigError``."""
    pictures = [read_picture(path) for path in item.paths]
    if len({picture.shape for picture in pictures}) > 1:
        raise ConfigError(f"the three pictures of {item.name} differ in size or in being grey")
    return [p if p.ndim == 3 else np.stack([p] * 3, axis=-1) for p in pictures]


def read_frames(item: Item, *, limit: int, multiple: int = 2) -> list[Record]:
    """A clip's first frames as decoded, sides cut to a multiple. Raises ``ConfigError``."""
    (path,) = item.paths
    frames = list(read_clip(path, multiple=multiple, limit=limit))
    if not frames:
        raise ConfigError(f"{path.name} holds no frames; replace or remove it")
    _check_size(path, height=frames[0].height, width=frames[0].width)
    if len({frame.y.shape for frame in frames}) > 1:
        raise ConfigError(f"{path.name} changes its size within the clip; cut it at the change")
    return frames


def read_shown(item: Item, *, limit: int, longer_side: int | None) -> list[Planes]:
    """A clip's first frames at the size they are judged at, or a triplet's three. Raises
    ``ConfigError``."""
    if item.kind is Kind.TRIPLET:
        return [to_planes(picture) for picture in read_triplet(item)]
    frames = [as_tuple(frame) for frame in read_frames(item, limit=limit)]
    if longer_side is None:
        return frames
    return [shrink_to_fit(frame, longer_side) for frame in frames]


def as_tuple(planes: Record) -> Planes:
    """The same picture as the run time's classes take it."""
    return planes.y, planes.u, planes.v


def as_record(planes: Planes) -> Record:
    """The same picture as the training data's functions take it."""
    return Record(*planes)


def shrink_to_fit(planes: Planes, longer_side: int) -> Planes:
    """The picture with its longer side at most so long, even sides, area-averaged."""
    height, width = planes[0].shape
    ratio = min(1.0, longer_side / max(height, width))
    if ratio == 1.0:
        return planes
    half = (max(1, round(width * ratio / 2)), max(1, round(height * ratio / 2)))
    sizes = ((2 * half[0], 2 * half[1]), half, half)
    y, u, v = (
        np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        for plane, size in zip(planes, sizes, strict=True)
    )
    return y, u, v


def _items(folder: Path) -> Iterator[Item]:
    in_triplets: set[Path] = set()
    for place in sorted({path.parent for path in folder.rglob("*") if _is_image(path)}):
        for paths in _triplets(place):
            in_triplets.update(paths)
            name = place.relative_to(folder).as_posix()
            name = place.name if name == "." else name
            yield Item(group=folder.resolve().name, name=name, kind=Kind.TRIPLET, paths=paths)
    for path in folder.iterdir():
        ending = path.suffix.lower()
        if path not in in_triplets and ending in CLIP_ENDINGS + IMAGE_ENDINGS:
            kind = Kind.CLIP if ending in CLIP_ENDINGS else Kind.STILL
            yield Item(group=folder.resolve().name, name=path.stem, kind=kind, paths=(path,))


def _triplets(place: Path) -> Iterator[tuple[Path, Path, Path]]:
    """The first of the namings that ``place`` has all three of."""
    images = {path.stem: path for path in sorted(place.iterdir()) if _is_image(path)}
    for first, middle, last in TRIPLETS:
        if {first, middle, last} <= images.keys():
            yield images[first], images[middle], images[last]
            return


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_ENDINGS


def _nothing_said(folder: Path, found: Sequence[Item], kinds: Collection[Kind]) -> str:
    wanted = " or ".join(kind.value for kind in Kind if kind in kinds)
    held = sorted({item.kind.value for item in found})
    seen = f"holds {' and '.join(held)}" if held else "holds no picture, clip or triplet"
    return f"{folder} {seen}, this task takes {wanted}; name another folder with --data"


def _bytes(path: Path) -> bytes:
    try:
        blob = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path.name} cannot be read ({error.strerror})") from error
    if not blob:
        raise ConfigError(f"{path.name} is empty; replace or remove it")
    return blob


def _check_size(path: Path, *, height: int, width: int) -> None:
    if min(height, width) < SMALLEST:
        raise ConfigError(
            f"{path.name} is {width}x{height}; at least {SMALLEST}x{SMALLEST} can be judged"
        )
