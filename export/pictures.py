"""Side-by-side pictures of held-out frames, for eyes rather than numbers."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from export.data.clips import find_data
from export.data.planes import Planes, to_i420
from export.recipe import recipe_from
from export.upscalers import residual_upscaler
from export.validation import bicubic, held_out_samples
from export.verify import model_residual
from streamer.model import ModelManifest

EDGE = 240
"""Side of the crop in pixels of the large picture."""

ENLARGED = 2
"""Each pixel is shown as a square of this many."""

SHOWN_FRAMES = (3, 8)
"""Predicted frames: they carry the damage of the frames before them."""


def write_comparisons(
    manifest: ModelManifest, data: Path, folder: Path, *, condition: str = "x264_crf28"
) -> list[Path]:
    """PNGs of held-out clips: plain upscale, model, original, at its most detailed place."""
    split = find_data(data, validation=recipe_from(manifest.recipe).data.validation)
    scale = manifest.scale
    plain = bicubic(scale)
    enhance = residual_upscaler(model_residual(manifest), scale=scale)
    samples = held_out_samples(
        split.validation, scale=scale, conditions=[condition], frames=SHOWN_FRAMES
    )
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for index, sample in enumerate(samples[condition]):
        top, left = _detailed_place(sample.large)
        shown = [plain(sample.small), enhance(sample.small), sample.large]
        strip = np.hstack([_bgr(planes)[top : top + EDGE, left : left + EDGE] for planes in shown])
        path = folder / f"{index:02d}-{sample.clip}-{condition}.png"
        large = strip.repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)
        cv2.imwrite(str(path), large)
        written.append(path)
    return written


def _bgr(planes: Planes) -> NDArray[np.uint8]:
    converted = cv2.cvtColor(to_i420(planes), cv2.COLOR_YUV2BGR_I420)
    return np.asarray(converted, dtype=np.uint8)


def _detailed_place(planes: Planes) -> tuple[int, int]:
    """Top left corner of the crop whose luma has the largest mean Laplacian."""
    edges = np.abs(cv2.Laplacian(planes.y, cv2.CV_32F))
    mean = cv2.boxFilter(edges, -1, (EDGE, EDGE), anchor=(0, 0))
    inner = mean[: max(1, planes.height - EDGE), : max(1, planes.width - EDGE)]
    top, left = np.unravel_index(int(np.argmax(inner)), inner.shape)
    return int(top), int(left)
