"""What networks for made frames are calibrated on, and what they lose in int8."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from export.data.clips import read_clip
from export.motion_evaluate import estimate_of
from export.motion_inputs import network_inputs
from export.motion_judge import held_out_runs, inputs_of, psnr_by_clip, run_of, smaller
from export.runner import Feed
from streamer.model import ModelManifest
from streamer.ops.motion import FlowEstimator

FRAMES = (2, 3, 4)
"""Of each clip; the one in the middle is wanted, or the last one."""


def calibration_feeds(manifest: ModelManifest, clips: Sequence[Path]) -> list[Feed]:
    """A network's inputs from some frames of each clip, all cut to one size."""
    triples = []
    for clip in clips:
        frames = [
            planes.y for planes in islice(smaller(read_clip(clip, multiple=2)), FRAMES[-1] + 1)
        ]
        if len(frames) > FRAMES[-1]:
            triples.append([frames[number] for number in FRAMES])
    height = min((luma.shape[0] for triple in triples for luma in triple), default=0)
    width = min((luma.shape[1] for triple in triples for luma in triple), default=0)
    estimator = FlowEstimator()
    feeds: list[Feed] = []
    for triple in triples:
        cut = [np.ascontiguousarray(luma[:height, :width]) for luma in triple]
        run = run_of(cut, cut, task=manifest.task)
        feeds.append(inputs_of(run, estimator, network_inputs()))
    return feeds


def motion_losses_db(
    reference: ModelManifest, variant: ModelManifest, clips: Sequence[Path]
) -> dict[str, float]:
    """On the mean of the held-out clips, and on the one that loses most."""
    runs = held_out_runs(clips, task=reference.task)
    before, after = (
        np.array([made for _, _, made in psnr_by_clip(estimate_of(one), runs).values()])
        for one in (reference, variant)
    )
    lost = before - after
    return {"clean": float(lost.mean()), "clean, worst clip": float(lost.max())}
