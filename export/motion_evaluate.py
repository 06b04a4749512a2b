"""Measures a shipped network for made frames against frames made without one, and notes it down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from export.data.clips import CLIP_ENDINGS, find_data
from export.model_file import held_out_names
from export.motion_judge import Guided, held_out_runs, psnr_by_clip
from export.runner import Floats, open_model
from export.validation import CONDITIONS
from streamer.model import ModelManifest

JUDGED = ("clean", "x264_crf23", "x264_crf28")
"""Conditions of the held-out clips; what is wanted is never coded."""

VID4 = "vid4"

METHOD = (
    "Mean over clips of the mean luma PSNR in dB, peak 255, a border of 8 pixels cut, of frames made by "
    "the streamer's own warps: 12 runs of three neighbouring frames spread over each clip, longest side "
    "640, area kernel; interpolated: the middle one, predicted: the last one. Coded ones: x264 veryfast "
    "zerolatency. Motion is found as where the network is used: interpolated at the pictures' own size, as "
    "for files, predicted at half of it. Without a network: the guide that the model changes."
)

Table = dict[str, dict[str, float]]


def evaluate_motion(
    manifest: ModelManifest, data: Path, *, report: Callable[[str], None]
) -> dict[str, Any]:
    """The measured quality of a network for interpolation or prediction."""
    estimate = estimate_of(manifest)
    clips = find_data(data, validation=held_out_names(manifest)).validation
    quality: dict[str, Any] = {"method": METHOD}
    means: Table = {}
    gains: Table = {}
    quality |= {"held_out_clips": means, "held_out_clips_gain_db": gains}
    for name in JUDGED:
        runs = held_out_runs(clips, task=manifest.task, coding=CONDITIONS[name])
        _note(name, psnr_by_clip(estimate, runs), means, gains, report)
    others = data / "tests" / VID4
    clips = tuple(sorted(path for path in others.glob("*") if path.suffix in CLIP_ENDINGS))
    if clips:
        means, gains = {}, {}
        quality |= {VID4: means, f"{VID4}_gain_db": gains}
        runs = held_out_runs(clips, task=manifest.task)
        _note("clean", psnr_by_clip(estimate, runs), means, gains, report)
    return quality


def estimate_of(manifest: ModelManifest) -> Callable[[Mapping[str, Floats]], Guided]:
    """The model, run by ONNX Runtime, as what is judged."""
    run = open_model(manifest)

    def estimate(inputs: Mapping[str, Floats]) -> Guided:
        outputs = run(inputs)
        return outputs["flow"], outputs["mask"], outputs["softness"]

    return estimate


def _note(
    condition: str,
    by_clip: Mapping[str, tuple[float, ...]],
    means: Table,
    gains: Table,
    report: Callable[[str], None],
) -> None:
    repetition, motion, model = np.mean(list(by_clip.values()), axis=0)
    row = {"repetition": repetition, "motion": motion, "model": model}
    means[condition] = {name: round(float(value), 3) for name, value in row.items()}
    for clip, (_, without, made) in by_clip.items():
        gains.setdefault(clip, {})[condition] = round(made - without, 3)
    worst = min(gain[condition] for gain in gains.values())
    report(
        f"{condition:>10}: repetition {repetition:.2f}, motion {motion:.2f}, model {model:.2f} dB "
        f"({model - motion:+.3f}, worst clip {worst:+.3f})"
    )
