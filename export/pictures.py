"""Side-by-side pictures of held-out frames, for eyes rather than numbers."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from export.data.clips import find_data
from export.data.planes import Planes, to_i420
from export.model_file import held_out_names
from export.runner import model_residual
from export.upscalers import residual_upscaler
from export.validation import bicubic, held_out_samples
from streamer.model import ModelManifest

EDGE = 240
"""Side of the crop in pixels of the large picture."""

ENLARGED = 2
"""Each pixel is shown as a square of this many."""

SHOWN_FRAMES = (3, 8)
"""Predicted frames: they carry the damage of the frames before them."""


CONDITION = "x264_crf28"
"""What held-out clips are shown in."""


def write_comparisons(manifest: ModelManifest, data: Path, folder: Path) -> list[Path]:
    """PNGs of held-out clips: plain upscale, model, original, at its most detailed place."""
    split = find_data(data, validation=held_out_names(manifest))
    scale = manifest.scale
    plain = bicubic(scale)
    enhance = residual_upscaler(model_residual(manifest), scale=scale)
    samples = held_out_samples(
        split.validation, scale=scale, conditions=[CONDITION], frames=SHOWN_FRAMES
    )
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for index, sample in enumerate(samples[CONDITION]):
        top, left = detailed_place(sample.large, edge=EDGE)
        shown = [plain(sample.small), enhance(sample.small), sample.large]
        strip = np.hstack([bgr(planes)[top : top + EDGE, left : left + EDGE] for planes in shown])
        path = folder / f"{index:02d}-{sample.clip}-{CONDITION}.png"
        large = strip.repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)
        cv2.imwrite(str(path), large)
        written.append(path)
    return written


def bgr(planes: Planes) -> NDArray[np.uint8]:
    """The picture as (H, W, 3), by the BT.601 matrix."""
    converted = cv2.cvtColor(to_i420(planes), cv2.COLOR_YUV2BGR_I420)
    return np.asarray(converted, dtype=np.uint8)


def detailed_place(planes: Planes, *, edge: int) -> tuple[int, int]:
    """Top left corner of the square of ``edge`` whose luma has the largest mean Laplacian."""
    edges = np.abs(cv2.Laplacian(planes.y, cv2.CV_32F))
    mean = cv2.boxFilter(edges, -1, (edge, edge), anchor=(0, 0))
    inner = mean[: max(1, planes.height - edge), : max(1, planes.width - edge)]
    top, left = np.unravel_index(int(np.argmax(inner)), inner.shape)
    return int(top), int(left)
