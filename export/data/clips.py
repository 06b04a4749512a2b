"""Finds and decodes the clips and images of a data folder, always as YUV planes."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from export.data.planes import Planes, crop_to_multiple, from_bgr, from_i420
from streamer.errors import ConfigError

CLIP_ENDINGS = (".mp4", ".mkv", ".webm")
IMAGE_ENDINGS = (".png", ".jpg", ".webp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """What a data folder holds, divided by scene."""

    training: tuple[Path, ...]
    validation: tuple[Path, ...]
    images: tuple[Path, ...]


def find_data(folder: Path, *, validation: Sequence[str]) -> Split:
    """Clips in ``folder/train_video`` and images in ``folder/train_images``, sorted by name.

    A clip whose name starts with one of ``validation`` is held out. Raises ``ConfigError`` when
    there is nothing to train on, or a held-out name fits no clip.
    """
    clips = _files(folder / "train_video", CLIP_ENDINGS)
    images = _files(folder / "train_images", IMAGE_ENDINGS)
    for prefix in validation:
        if clips and not any(clip.name.startswith(prefix) for clip in clips):
            raise ConfigError(f"no clip in {folder}/train_video starts with {prefix!r}")
    held_out = tuple(clip for clip in clips if clip.name.startswith(tuple(validation)))
    training = tuple(clip for clip in clips if clip not in held_out)
    if not training:
        raise ConfigError(
            f"{folder} has no training clips: put {', '.join(CLIP_ENDINGS)} into its train_video"
        )
    return Split(training=training, validation=held_out, images=images)


def _files(folder: Path, endings: Sequence[str]) -> tuple[Path, ...]:
    if not folder.is_dir():
        return ()
    return tuple(sorted(path for path in folder.iterdir() if path.suffix.lower() in endings))


def read_clip(path: Path, *, multiple: int, limit: int | None = None) -> Iterator[Planes]:
    """Decoded frames, cropped to a multiple; at most ``limit``. Raises ``ConfigError``."""
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ConfigError(f"{path.name} has no video stream")
            for index, frame in enumerate(container.decode(video=0)):
                if index == limit:
                    return
                width, height = frame.width // 2 * 2, frame.height // 2 * 2
                if frame.format.name != "yuv420p" or (width, height) != (frame.width, frame.height):
                    frame = frame.reformat(width=width, height=height, format="yuv420p")
                yield crop_to_multiple(
                    from_i420(np.asarray(frame.to_ndarray(), dtype=np.uint8)), multiple
                )
    except av.FFmpegError as error:
        raise ConfigError(f"{path.name} cannot be decoded ({error})") from error


def read_image(path: Path, *, multiple: int) -> Planes:
    """An image as BT.601 limited-range 4:2:0, cropped to a multiple (even)."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise ConfigError(f"{path.name} cannot be read as an image")
    height, width = (side // multiple * multiple for side in picture.shape[:2])
    return from_bgr(np.ascontiguousarray(picture[:height, :width], dtype=np.uint8))


def read_provenance(folder: Path) -> dict[str, dict[str, str]]:
    """Source and licence of each file, by file name, from the folder's MANIFEST.tsv if any."""
    table = folder / "MANIFEST.tsv"
    if not table.is_file():
        return {}
    with table.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    kept = ("source_repo", "licence")
    return {row["file"]: {key: row.get(key) or "" for key in kept} for row in rows}
