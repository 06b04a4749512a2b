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
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in endings)
    for path in found:
        if not path.exists():
            raise ConfigError(f"{path} is a link to nothing; mend or remove it")
    return tuple(found)


def read_clip(path: Path, *, multiple: int, limit: int | None = None) -> Iterator[Planes]:
    """Decoded frames, cropped to a multiple; at most ``limit``. Raises ``ConfigError``."""
    index: int | None = None
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ConfigError(f"{path.name} has no video stream")
            for index, frame in enumerate(container.decode(video=0)):
                if index == limit:
                    return
                _check_size(path, height=frame.height, width=frame.width, least=multiple)
                if frame.format.name != "yuv420p":
                    frame = frame.reformat(format="yuv420p")
                yield crop_to_multiple(_even(frame), multiple)
    except av.FFmpegError as error:
        raise ConfigError(f"{path.name} cannot be decoded ({error})") from error
    if index is None:
        raise ConfigError(f"{path.name} holds no frames; replace or remove it")


def _even(frame: av.VideoFrame) -> Planes:
    """The planes of 8-bit 4:2:0; an odd last line or column is cut, as the run time does."""
    if frame.width % 2 == 0 == frame.height % 2:
        return from_i420(np.asarray(frame.to_ndarray(), dtype=np.uint8))
    y, u, v = (
        np.frombuffer(bytes(plane), np.uint8).reshape(-1, plane.line_size)[
            : plane.height, : plane.width
        ]
        for plane in frame.planes
    )
    rows, columns = frame.height // 2, frame.width // 2
    return Planes(
        y[: 2 * rows, : 2 * columns].copy(), u[:rows, :columns].copy(), v[:rows, :columns].copy()
    )


def _check_size(path: Path, *, height: int, width: int, least: int) -> None:
    if min(height, width) < least:
        raise ConfigError(
            f"{path.name} is {width}x{height}, both sides must have at least {least} pixels; remove it"
        )


def read_image(path: Path, *, multiple: int) -> Planes:
    """An image as BT.601 limited-range 4:2:0, cropped to a multiple (even). Raises ``ConfigError``."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise ConfigError(f"{path.name} cannot be read as an image")
    _check_size(path, height=picture.shape[0], width=picture.shape[1], least=multiple)
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
