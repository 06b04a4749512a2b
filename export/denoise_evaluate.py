"""Measures a shipped denoising network, by itself and before an enlargement, and notes it down."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from export.data.clips import find_data
from export.denoise_judge import noisy_runs
from export.model_file import held_out_names
from export.run_judge import BORDER, HeldOut, Table, made_run, means, model_change, psnrs
from export.steady_judge import SCALE, judged_upscaler
from export.validation import Upscaler, bicubic, psnr_y
from streamer.model import ModelManifest
from streamer.ops.follower import Follower

UNDAMAGED = "clean"

METHOD = (
    "Mean over clips of luma PSNR in dB on rounded 8-bit code values, peak 255, a border of 2 pixels cut, "
    "of the 5th, 8th and 10th picture of a run that begins with the clip. Clips are shrunk to half by the "
    "area kernel; noise n: normal, of n code values in luma and chroma; smooth: blurred by 0.7 pixels, as "
    "strong; crf: x264 veryfast zerolatency, mjpeg: quantiser 5, both after the noise. Enlarged: compared "
    "with the clips before they were shrunk."
)


def evaluate_denoising(
    manifest: ModelManifest, data: Path, *, report: Callable[[str], None]
) -> dict[str, Any]:
    """The measured quality of a network for denoising."""
    split = find_data(data, validation=held_out_names(manifest))
    follower = Follower(model_change(manifest))
    enlarging = {"enlarged_plain": bicubic(SCALE), "enlarged": judged_upscaler()}
    found: dict[str, dict[str, list[tuple[float, float]]]] = {"held_out_clips": {}}
    gains: Table = {}
    changed: dict[str, float] = {}
    for run in noisy_runs(split.validation):
        made = made_run(follower, run.noisy)
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
    for name, pairs in found.items():
        quality[name] = means(pairs)
        for condition, row in quality[name].items():
            before, after = row["input"], row["model"]
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
