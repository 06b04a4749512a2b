"""What networks for denoising and steadying are given of a run of pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.data.planes import Planes
from export.denoise_judge import noisy_runs
from export.run_judge import FIRST_JUDGED, HeldOut, made_run
from export.runner import Feed
from export.steady_judge import enlarged_runs
from streamer.ops.follower import Follower

SHARE = 0.5
"""Of the difference that is taken here, in place of what a network would say."""


@dataclass(frozen=True, slots=True)
class Judging:
    """What a task's networks are judged on."""

    held_out: Callable[..., list[HeldOut]]
    """Makes runs of held-out clips, in the conditions that it is told."""
    calibrated: tuple[str, ...]
    """Conditions that ranges of int8 are found in."""
    compared: str
    """The condition that variants of a network are compared in."""
    has_undamaged: bool
    """Whether PSNR tells anything where nothing is damaged; with denoising it tells of single codes."""


TASKS: Mapping[str, Judging] = {
    "denoising": Judging(
        noisy_runs,
        calibrated=("clean", "noise 5", "noise 5, crf 23"),
        compared="noise 5, crf 23",
        has_undamaged=False,
    ),
    "steadying": Judging(
        enlarged_runs,
        calibrated=("clean", "x264_crf23", "x264_crf28"),
        compared="x264_crf28",
        has_undamaged=True,
    ),
}


def followed(frames: Sequence[Planes]) -> list[Feed]:
    """The network's input for each picture of a run."""
    feeds: list[Feed] = []

    def halfway(packed: NDArray[np.float32], change: NDArray[np.float32]) -> bool:
        feeds.append({"followed": packed.copy()})
        change[:, :6], change[:, 6:] = SHARE * 255 - 128, 0
        return True

    made_run(Follower(halfway), frames)
    return feeds


def held_out_feeds(clips: Sequence[Path], *, task: str) -> list[Feed]:
    """One for each clip, damaged as the task's networks are for."""
    judging = TASKS[task]
    runs = judging.held_out(clips, conditions=(judging.compared,))
    return [followed(run.noisy[: FIRST_JUDGED + 1])[-1] for run in runs]
