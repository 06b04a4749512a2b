"""Inputs to compare a network's variants on: drawn ones, and frames of held-out clips."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from export.data.clips import find_data
from export.data.planes import Planes, crop
from export.model_file import held_out_names
from export.motion_inputs import network_inputs
from export.motion_judge import held_out_runs, inputs_of
from export.run_feeds import TASKS, followed, held_out_feeds
from export.runner import Feed
from export.scenes import SHOTS, drawn_frames
from export.upscalers import pack_planes
from export.validation import held_out_samples
from streamer.errors import ConfigError
from streamer.model import ModelManifest
from streamer.ops.motion import FlowEstimator, half

DRAWN_SIZES = ((32, 32), (66, 94), (180, 320))
"""Heights and widths in luma pixels; half of 66 and 94 is odd."""

REAL_CODING = "x264_crf28"
REAL_FRAMES = (4,)
"""A predicted frame of each held-out clip."""


def drawn_feeds(manifest: ModelManifest) -> list[Feed]:
    """One per shot of the drawn scene, each at another size."""
    prepare = _preparation(manifest)
    drawn = []
    for shot, (height, width) in zip(SHOTS, DRAWN_SIZES, strict=True):
        frames = drawn_frames(shot, width=320, height=192, frames=3)
        drawn.append(prepare([crop(f, top=0, left=0, height=height, width=width) for f in frames]))
    return drawn


def real_feeds(manifest: ModelManifest, data: Path) -> list[Feed]:
    """One per held-out clip: shrunk by the model's scale and coded, or its first run."""
    prepare = _preparation(manifest)
    split = find_data(data, validation=held_out_names(manifest))
    if manifest.task in TASKS:
        return held_out_feeds(split.validation, task=manifest.task)
    if manifest.task != "super_resolution":
        runs = held_out_runs(split.validation, task=manifest.task)
        first = {run.clip: run for run in reversed(runs)}
        # Storage of its own for each: they are all compared in the end.
        return [inputs_of(run, FlowEstimator(), network_inputs()) for run in first.values()]
    samples = held_out_samples(
        split.validation, scale=manifest.scale, conditions=(REAL_CODING,), frames=REAL_FRAMES
    )
    return [prepare([sample.small]) for sample in samples[REAL_CODING]]


def _super_resolution(frames: Sequence[Planes]) -> Feed:
    return {"packed": pack_planes(frames[-1])}


def _interpolation(frames: Sequence[Planes]) -> Feed:
    return _motion(frames[0], frames[-1], time=0.5)


def _prediction(frames: Sequence[Planes]) -> Feed:
    return _motion(frames[-2], frames[-1], time=2.0)


def _motion(first: Planes, second: Planes, *, time: float) -> Feed:
    small, packed = (half(first.y), half(second.y)), network_inputs()
    packed.fill(small, FlowEstimator().between(*small), time)
    return packed.arrays


def _following(frames: Sequence[Planes]) -> Feed:
    return followed(frames)[-1]


PREPARE: Mapping[str, Callable[[Sequence[Planes]], Feed]] = {
    "super_resolution": _super_resolution,
    "interpolation": _interpolation,
    "prediction": _prediction,
    "denoising": _following,
    "steadying": _following,
}
"""Per task, a network's inputs from consecutive frames."""


def _preparation(manifest: ModelManifest) -> Callable[[Sequence[Planes]], Feed]:
    if manifest.task not in PREPARE:
        raise ConfigError(
            f"{manifest.name}.json is for the task {manifest.task!r}, known are "
            f"{', '.join(PREPARE)}; export it anew"
        )
    return PREPARE[manifest.task]
