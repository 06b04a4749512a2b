"""What a denoising network is given of a run of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.data.planes import Planes
from export.denoise_judge import cleaned_run, held_out
from export.runner import Feed
from streamer.ops.denoising import Denoise

SHARE = 0.5
"""Of the difference that is taken here, in place of what a network would say."""

CONDITION = "noise 5, crf 23"
REAL_FRAME = 4


def followed(frames: Sequence[Planes]) -> list[Feed]:
    """The network's input for each picture of a run."""
    feeds: list[Feed] = []

    def halfway(packed: NDArray[np.float32], change: NDArray[np.float32]) -> bool:
        feeds.append({"followed": packed.copy()})
        change[:, :6], change[:, 6:] = SHARE * 255 - 128, 0
        return True

    cleaned_run(Denoise(halfway), frames)
    return feeds


def held_out_feeds(clips: Sequence[Path]) -> list[Feed]:
    """One for each clip, noisy and coded."""
    runs = held_out(clips, conditions=(CONDITION,))
    return [followed(run.noisy[: REAL_FRAME + 1])[-1] for run in runs]
