"""Clips and recipes small enough to train on within a test."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from threading import Event
from typing import TypeVar

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame

from export.data.planes import Planes, to_i420
from export.recipe import DenoiseRecipe, MotionRecipe, PairRecipe, SteadyRecipe, recipe_from
from tests.streamer.pictures import texture

PATIENCE_S = 60


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


Opened = TypeVar("Opened")


def opened_at_once(
    open_one: Callable[[Callable[[str], None]], Opened],
) -> tuple[list[Opened], list[str], list[str]]:
    """What two runs get that begin with a cache at the same time, and what each of them reports.

    The first goes on once the second has said something, or is over.
    """
    has_begun, goes_on = Event(), Event()
    first: list[str] = []
    second: list[str] = []

    def report(line: str) -> None:
        first.append(line)
        has_begun.set()
        goes_on.wait(PATIENCE_S)

    def report_second(line: str) -> None:
        second.append(line)
        goes_on.set()

    def open_second() -> Opened:
        has_begun.wait(PATIENCE_S)
        try:
            return open_one(report_second)
        finally:
            goes_on.set()

    with ThreadPoolExecutor(2) as both:
        opened = [both.submit(open_one, report), both.submit(open_second)]
        return [one.result(PATIENCE_S) for one in opened], first, second


STEP = (2.5, -1.5)
"""Pixels per frame of the moving texture."""


def moving_texture(index: int, *, width: int, height: int, seed: int) -> Planes:
    """A smooth texture that moves by ``STEP`` per frame; optical flow can tell how far."""
    moved = index * STEP[0], index * STEP[1]
    luma = texture(
        width=width // 2, height=height // 2, moved=(moved[0] / 2, moved[1] / 2), seed=seed
    )
    y = cv2.resize(luma, (width, height), interpolation=cv2.INTER_CUBIC)
    grey = np.full((height // 2, width // 2), 128, np.uint8)
    return Planes(np.asarray(y, dtype=np.uint8), grey, grey)


def coloured_texture(index: int, *, width: int, height: int, seed: int) -> Planes:
    """``moving_texture`` whose colours move as well."""
    small = {"width": width // 2, "height": height // 2}
    moved = index * STEP[0] / 2, index * STEP[1] / 2
    u, v = (texture(**small, moved=moved, seed=seed + n) for n in (20, 40))
    return Planes(moving_texture(index, width=width, height=height, seed=seed).y, u, v)


def write_clip(
    path: Path,
    *,
    width: int,
    height: int,
    frames: int,
    seed: int,
    picture: Callable[..., Planes] = moving_picture,
) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25), options={"crf": "8"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            planes = picture(index, width=width, height=height, seed=seed)
            frame = VideoFrame.from_ndarray(to_i420(planes), format="yuv420p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_clips(
    folder: Path,
    *,
    frames: int,
    first_seed: int = 0,
    picture: Callable[..., Planes] = moving_texture,
) -> Path:
    """Three clips for training, of two sources, in a folder of data; gives the folder."""
    (folder / "train_video").mkdir()
    for seed, name in enumerate(("alpha_1", "alpha_2", "beta_1"), start=first_seed):
        path = folder / "train_video" / f"{name}.mp4"
        write_clip(path, width=160, height=128, frames=frames, seed=seed, picture=picture)
    return folder


def tiny_recipe(**network: float) -> PairRecipe:
    recipe = recipe_from(
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
    assert isinstance(recipe, PairRecipe)
    return recipe


def tiny_clean_recipe() -> PairRecipe:
    raw = tiny_recipe(long_skip=True).as_dict()
    raw |= {"name": "sr-tiny-x2-clean-test", "training": "clean"}
    raw["train"]["iterations"] = 10
    recipe = recipe_from(raw)
    assert isinstance(recipe, PairRecipe)
    return recipe


def tiny_motion_recipe(task: str, **train: float) -> MotionRecipe:
    """20 iterations of interpolation or prediction on the tiny clips."""
    recipe = recipe_from(
        {
            "name": f"{task}-tiny-test",
            "task": task,
            "variant": "tiny",
            "training": "live",
            "network": {"channels": [8, 8], "depth": 1},
            "data": {
                "validation": ["beta"],
                "patch": 72,
                "longest_sides": [160],
                "segments_per_clip": 2,
                "segment_frames": 6,
                "triples_per_segment": 3,
                "max_skip": 1,
                "coded_share": 0.5,
                "noise_share": 0.5,
                "scenes": 0,
            },
            "train": {
                "iterations": 20,
                "batch": 2,
                "crop": 64,
                "learning_rate": 3e-3,
                "warmup": 5,
                "clip_norm": 1.0,
                **train,
            },
        }
    )
    assert isinstance(recipe, MotionRecipe)
    return recipe


def tiny_denoise_recipe(*, data: dict[str, object] | None = None, **train: float) -> DenoiseRecipe:
    """30 iterations of denoising on the tiny clips."""
    recipe = recipe_from(_tiny_runs("denoising", data, train))
    assert isinstance(recipe, DenoiseRecipe)
    return recipe


def tiny_steady_recipe(*, data: dict[str, object] | None = None, **train: float) -> SteadyRecipe:
    """30 iterations of steadying on the tiny clips."""
    recipe = recipe_from(_tiny_runs("steadying", data, train))
    assert isinstance(recipe, SteadyRecipe)
    return recipe


def _tiny_runs(
    task: str, data: dict[str, object] | None, train: dict[str, float]
) -> dict[str, object]:
    return {
        "name": f"{task}-tiny-test",
        "task": task,
        "variant": "tiny",
        "training": "live",
        "network": {"channels": 8, "depth": 1, "expansion": 16},
        "data": {
            "validation": ["beta"],
            "patch": 32,
            "run": 4,
            "segments_per_clip": 1,
            "segment_frames": 6,
            "patches_per_segment": 6,
            "image_segments": 0,
            **(data or {}),
        },
        "train": {
            "iterations": 30,
            "batch": 4,
            "learning_rate": 3e-3,
            "warmup": 5,
            "clip_norm": 1.0,
            **train,
        },
    }
