"""Clips and recipes small enough to train on within a test."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame

from export.data.planes import Planes, to_i420
from export.recipe import Recipe, recipe_from


def moving_picture(index: int, *, width: int, height: int, seed: int) -> Planes:
    """Sharp stripes and blocks that move two pixels per frame."""
    rows, columns = np.mgrid[0:height, 0:width]
    shifted = columns + 2 * index + 11 * seed
    stripes = ((shifted // (3 + seed)) + (rows // 5)) % 2
    blocks = ((shifted // 16) + (rows // 12)) % 3
    y = (40 + 110 * stripes + 35 * blocks).astype(np.uint8)
    u = (100 + 20 * blocks[::2, ::2]).astype(np.uint8)
    v = (150 - 20 * blocks[::2, ::2]).astype(np.uint8)
    return Planes(y, u, v)


def write_clip(path: Path, *, width: int, height: int, frames: int, seed: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25), options={"crf": "8"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            planes = moving_picture(index, width=width, height=height, seed=seed)
            frame = VideoFrame.from_ndarray(to_i420(planes), format="yuv420p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def tiny_recipe(**network: int) -> Recipe:
    return recipe_from(
        {
            "name": "sr-tiny-x2-test",
            "variant": "tiny",
            "training": "live",
            "network": {"scale": 2, "channels": 8, "depth": 1, "expansion": 16, **network},
            "data": {
                "validation": ["beta"],
                "patch": 24,
                "passes": 1,
                "segments_per_clip": 1,
                "segment_frames": 6,
                "sampled_frames": 3,
                "patches_per_frame": 6,
                "image_segments": 0,
            },
            "train": {"iterations": 30, "batch": 8, "learning_rate": 1e-2, "warmup": 5},
        }
    )
