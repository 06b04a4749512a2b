"""What networks for denoising and steadying are calibrated on, and what they lose in int8."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from export.data.planes import crop
from export.run_feeds import TASKS, followed
from export.run_judge import FIRST_JUDGED, model_change, psnr_by_condition
from export.runner import Feed
from export.validation import UNDAMAGED
from streamer.errors import ConfigError
from streamer.model import ModelManifest
from streamer.ops.follower import Follower

FRAMES = 3
"""Of each run; its last one is taken."""


def run_feeds(manifest: ModelManifest, clips: Sequence[Path]) -> list[Feed]:
    """A network's inputs from a picture of each clip in each condition, all cut to one size."""
    judging = TASKS[manifest.task]
    made = judging.held_out(clips, conditions=judging.calibrated)
    runs = [run.noisy[:FRAMES] for run in made]
    runs = [run for run in runs if len(run) == FRAMES]
    height = min((run[0].height for run in runs), default=0)
    width = min((run[0].width for run in runs), default=0)
    return [
        followed([crop(planes, top=0, left=0, height=height, width=width) for planes in run])[-1]
        for run in runs
    ]


def run_losses_db(
    reference: ModelManifest, variant: ModelManifest, clips: Sequence[Path]
) -> dict[str, float]:
    """By condition; undamaged pictures only where their PSNR tells anything."""
    judging = TASKS[reference.task]
    runs = judging.held_out(clips)
    if not runs:
        raise ConfigError(
            f"no clip of more than {FIRST_JUDGED} frames is held out: name some under data.validation in "
            "the recipe"
        )
    before, after = (
        psnr_by_condition(Follower(model_change(one)), runs) for one in (reference, variant)
    )
    return {
        name: float(np.mean([made for _, made in before[name]]))
        - float(np.mean([made for _, made in after[name]]))
        for name in before
        if name != UNDAMAGED or judging.has_undamaged
    }
