"""Measures a shipped steadying network behind the network that enlarges, and notes it down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from export import stillness
from export.data.clips import find_data
from export.data.planes import Planes
from export.model_file import held_out_names
from export.run_judge import HeldOut, Table, made_run, means, model_change, psnrs
from export.steady_judge import enlarged_runs
from streamer.model import ModelManifest
from streamer.ops.follower import Follower

METHOD = (
    "Mean over clips of luma PSNR in dB on rounded 8-bit code values, peak 255, a border of 2 pixels cut, "
    "of the 5th to 10th picture of a run that begins with the clip. Clips are shrunk by the area kernel, "
    "coded by x264 veryfast zerolatency, and enlarged by lite x2 in fp32: the input here. Flicker: by how "
    "many code values of luma a picture differs from the one before where the original stands still."
)


def evaluate_steadying(
    manifest: ModelManifest, data: Path, *, report: Callable[[str], None]
) -> dict[str, Any]:
    """The measured quality of a network for steadying."""
    split = find_data(data, validation=held_out_names(manifest))
    follower = Follower(model_change(manifest))
    quality: dict[str, list[tuple[float, float]]] = {}
    flickers: dict[str, list[tuple[float, float]]] = {}
    gains: Table = {}
    for run in enlarged_runs(split.validation):
        made = made_run(follower, run.noisy)
        pair = psnrs(run, made)
        quality.setdefault(run.condition, []).append(pair)
        gains.setdefault(run.clip, {})[run.condition] = round(pair[1] - pair[0], 3)
        before, after = (flicker(pictures, run) for pictures in (run.noisy, made))
        if before is not None and after is not None:
            flickers.setdefault(run.condition, []).append((before, after))
    tables = {"held_out_clips": means(quality), "flicker_codes": means(flickers)}
    for name, table in tables.items():
        for condition, row in table.items():
            report(f"{name}, {condition}: {row['input']:.3f} -> {row['model']:.3f}")
    return {"method": METHOD, **tables, "held_out_clips_gain_db": gains}


def flicker(pictures: Sequence[Planes], run: HeldOut) -> float | None:
    """Mean change from picture to picture where the originals stand still, in code values of luma;
    ``None`` where nothing does."""
    found = [
        stillness.change(
            pictures[before].y,
            pictures[now].y,
            stillness.standing(run.clean[before].y, run.clean[now].y),
        )
        for before, now in pairwise(sorted(run.clean))
    ]
    changes = [one for one in found if one is not None]
    return float(np.mean(changes)) if changes else None
