"""Measures a shipped denoising network, by itself and before an enlargement, and notes it down."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from export.data.clips import find_data
from export.denoise_judge import noisy_runs
from export.model_file import held_out_names
from export.run_judge import BORDER, HeldOut, cleaned_run, model_change, psnrs
from export.runner import model_residual
from export.upscalers import residual_upscaler
from export.validation import Upscaler, bicubic, psnr_y
from streamer.model import ModelManifest, find_models
from streamer.ops.denoising import Denoise

UNDAMAGED = "clean"

ENLARGING = "lite"
"""The network that enlarges what was cleaned, as it ships for live pictures at x2."""

METHOD = (
    "Mean over clips of luma PSNR in dB on rounded 8-bit code values, peak 255, a border of 2 pixels cut, "
    "of the 5th, 8th and 10th picture of a run that begins with the clip. Clips are shrunk to half by the "
    "area kernel; noise n: normal, of n code values in luma and chroma; smooth: blurred by 0.7 pixels, as "
    "strong; crf: x264 veryfast zerolatency, mjpeg: quantiser 5, both after the noise. Enlarged: compared "
    "with the clips before they were shrunk."
)

Table = dict[str, dict[str, float]]


def evaluate_denoising(
    manifest: ModelManifest, data: Path, *, report: Callable[[str], None]
) -> dict[str, Any]:
    """The measured quality of a network for denoising."""
    split = find_data(data, validation=held_out_names(manifest))
    denoise = Denoise(model_change(manifest))
    enlarging: dict[str, Upscaler] = {"enlarged_plain": bicubic(2)}
    models = find_models(manifest.folder, task="super_resolution", scale=2)
    for model in models:
        if (model.variant, model.training, model.precision) == (ENLARGING, "live", "fp32"):
            enlarging["enlarged"] = residual_upscaler(model_residual(model), scale=2)
    found: dict[str, dict[str, list[tuple[float, float]]]] = {"held_out_clips": {}}
    gains: Table = {}
    changed: dict[str, float] = {}
    for run in noisy_runs(split.validation):
        made = cleaned_run(denoise, run.noisy)
        if run.condition == UNDAMAGED:
            changed[run.clip] = round(_change(run, made), 3)
        else:
            pair = psnrs(run, made)
            found["held_out_clips"].setdefault(run.condition, []).append(pair)
            gains.setdefault(run.clip, {})[run.condition] = round(pair[1] - pair[0], 3)
        for name, upscaler in enlarging.items():
            pair = _enlarged(run, [run.noisy, made], upscaler)
            found.setdefault(name, {}).setdefault(run.condition, []).append(pair)
    quality: dict[str, Any] = {"method": METHOD, "undamaged_changed_codes": changed}
    for name, table in found.items():
        quality[name] = {}
        for condition, pairs in table.items():
            before, after = (round(float(value), 3) for value in np.mean(pairs, axis=0))
            quality[name][condition] = {"input": before, "model": after}
            report(f"{name}, {condition}: {before:.2f} -> {after:.2f} dB ({after - before:+.2f})")
    return quality | {"held_out_clips_gain_db": gains}


def _enlarged(run: HeldOut, series: list[Any], upscaler: Upscaler) -> tuple[float, float]:
    before, after = (
        float(
            np.mean(
                [
                    psnr_y(upscaler(one[n]).y, large.y, border=BORDER)
                    for n, large in run.large.items()
                ]
            )
        )
        for one in series
    )
    return before, after


def _change(run: HeldOut, made: list[Any]) -> float:
    """Mean of what is changed in pictures that nothing damaged, in code values."""
    changes = [
        np.abs(made[n].y.astype(np.int16) - clean.y).mean() for n, clean in run.clean.items()
    ]
    return float(np.mean(changes))
