"""Held-out clips in a dim room, and what a denoising network makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from export.data.clips import read_clip
from export.data.codec import Coding, x264
from export.data.noise import Dimness, soil
from export.data.noisy_runs import shrunk
from export.data.planes import Planes
from export.data.runs import MULTIPLE
from export.networks.base import Network
from export.runner import open_model
from export.validation import psnr_y
from streamer.model import ModelManifest
from streamer.ops.denoising import Change, Denoise

CONDITIONS: Mapping[str, Dimness] = {
    "clean": Dimness(),
    "noise 5": Dimness(gauss_sigma=5.0),
    "noise 5, smooth": Dimness(gauss_sigma=5.0, smooth_sigma=0.7),
    "noise 5, mjpeg": Dimness(gauss_sigma=5.0, coding=Coding(codec="mjpeg", quality=5)),
    "noise 2, crf 23": Dimness(gauss_sigma=2.0, coding=x264(23)),
    "noise 5, crf 23": Dimness(gauss_sigma=5.0, coding=x264(23)),
    "crf 28": Dimness(coding=x264(28)),
}

BORDER = 2
"""Pixels at the edges that are not judged."""

FRAMES = 10
JUDGED = (4, 7, 9)
FACTOR = 2.0
"""What held-out clips are shrunk by: what they were coded with goes, and x2 is judged on this size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """A run of pictures as it arrives, and its judged pictures as they were, by number."""

    clip: str
    condition: str
    noisy: Sequence[Planes]
    clean: Mapping[int, Planes]
    large: Mapping[int, Planes] = field(default_factory=dict)
    """What the clean ones were shrunk from, by ``FACTOR``, where they were."""


def held_out(clips: Sequence[Path], conditions: Sequence[str] = tuple(CONDITIONS)) -> list[HeldOut]:
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


def judge(network: Network, runs: Sequence[HeldOut]) -> str:
    """Luma PSNR before and after, by condition."""
    parts = []
    for condition, pairs in psnr_by_condition(Denoise(network_change(network)), runs).items():
        before, after = np.mean(pairs, axis=0)
        parts.append(f"{condition} {before:.2f} -> {after:.2f} ({after - before:+.2f} dB)")
    return ", ".join(parts)


def psnr_by_condition(
    denoise: Denoise, runs: Sequence[HeldOut]
) -> dict[str, list[tuple[float, float]]]:
    """Luma PSNR as it arrives and cleaned, means over each clip's judged pictures."""
    found: dict[str, list[tuple[float, float]]] = {}
    for run in runs:
        pair = psnrs(run, cleaned_run(denoise, run.noisy))
        found.setdefault(run.condition, []).append(pair)
    return found


def network_change(network: Network) -> Change:
    """What a fused copy of the network's present weights gives."""
    fused = network.fused().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.no_grad()
    def change(packed: NDArray[np.float32], out: NDArray[np.float32]) -> bool:
        tensor = torch.from_numpy(packed).to(memory_format=torch.channels_last)
        out[:] = fused(tensor).numpy()
        return True

    return change


def model_change(manifest: ModelManifest) -> Change:
    """What a model file gives."""
    run = open_model(manifest)

    def change(packed: NDArray[np.float32], out: NDArray[np.float32]) -> bool:
        out[:] = run({"followed": packed})["change"]
        return True

    return change


def cleaned_run(denoise: Denoise, frames: Sequence[Planes]) -> list[Planes]:
    """All pictures of a run, each with the help of the one before."""
    denoise.reset()
    made = []
    for planes in frames:
        y, u, v = (np.ascontiguousarray(plane) for plane in (planes.y, planes.u, planes.v))
        out = (np.empty_like(y), np.empty_like(u), np.empty_like(v))
        denoise.clean((y, u, v), out)
        made.append(Planes(*out))
    return made


def psnrs(run: HeldOut, made: Sequence[Planes]) -> tuple[float, float]:
    """Luma PSNR of a run as it arrives and cleaned, means over its judged pictures."""
    before, after = (
        float(np.mean([psnr_y(one[n].y, clean.y, border=BORDER) for n, clean in run.clean.items()]))
        for one in (run.noisy, made)
    )
    return before, after
