"""Held-out clips in a dim room: what a denoising network is judged on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from export.data.clips import read_clip
from export.data.codec import Coding, x264
from export.data.noise import Dimness, soil
from export.data.noisy_runs import shrunk
from export.data.runs import MULTIPLE
from export.run_judge import FIRST_JUDGED, FRAMES, HeldOut

CONDITIONS: Mapping[str, Dimness] = {
    "clean": Dimness(),
    "noise 5": Dimness(gauss_sigma=5.0),
    "noise 5, smooth": Dimness(gauss_sigma=5.0, smooth_sigma=0.7),
    "noise 5, mjpeg": Dimness(gauss_sigma=5.0, coding=Coding(codec="mjpeg", quality=5)),
    "noise 2, crf 23": Dimness(gauss_sigma=2.0, coding=x264(23)),
    "noise 5, crf 23": Dimness(gauss_sigma=5.0, coding=x264(23)),
    "crf 28": Dimness(coding=x264(28)),
}

JUDGED = (FIRST_JUDGED, 7, 9)
FACTOR = 2.0
"""What held-out clips are shrunk by: what they were coded with goes, and x2 is judged on this size."""


def noisy_runs(
    clips: Sequence[Path], conditions: Sequence[str] = tuple(CONDITIONS)
) -> list[HeldOut]:
    """Every clip in every condition; none of a clip that ends before the first judged picture."""
    runs = []
    for path in clips:
        large = list(read_clip(path, multiple=2 * MULTIPLE, limit=FRAMES))
        clean = [shrunk(planes, FACTOR) for planes in large]
        judged = [n for n in JUDGED if n < len(clean)]
        if not judged:
            continue
        for name in conditions:
            noisy = soil(clean, CONDITIONS[name], np.random.default_rng(0))
            runs.append(
                HeldOut(
                    clip=path.stem,
                    condition=name,
                    noisy=noisy,
                    clean={n: clean[n] for n in judged},
                    large={n: large[n] for n in judged},
                )
            )
    return runs
