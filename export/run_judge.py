"""What networks that follow pictures, for denoising and for steadying, make of held-out runs of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from export.data.planes import Planes
from export.networks.base import Network
from export.runner import open_model
from export.validation import psnr_y
from streamer.model import ModelManifest
from streamer.ops.follower import Change, Follower

BORDER = 2
"""Pixels at the edges that are not judged."""

FRAMES = 10
"""Of a held-out run."""

FIRST_JUDGED = 4
"""By then there is something behind a picture."""


Table = dict[str, dict[str, float]]
"""By condition and what was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """A run of pictures as it arrives, and its judged pictures as they were, by number."""

    clip: str
    condition: str
    noisy: Sequence[Planes]
    clean: Mapping[int, Planes]
    large: Mapping[int, Planes] = field(default_factory=dict)
    """What the clean ones were shrunk from, where that is judged too."""


def judge(network: Network, runs: Sequence[HeldOut]) -> str:
    """Luma PSNR before and after, by condition."""
    parts = []
    for condition, pairs in psnr_by_condition(Follower(network_change(network)), runs).items():
        before, after = np.mean(pairs, axis=0)
        parts.append(f"{condition} {before:.2f} -> {after:.2f} ({after - before:+.2f} dB)")
    return ", ".join(parts)


def psnr_by_condition(
    follower: Follower, runs: Sequence[HeldOut]
) -> dict[str, list[tuple[float, float]]]:
    """Luma PSNR as it arrives and cleaned, means over each clip's judged pictures."""
    found: dict[str, list[tuple[float, float]]] = {}
    for run in runs:
        pair = psnrs(run, made_run(follower, run.noisy))
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


def made_run(follower: Follower, frames: Sequence[Planes]) -> list[Planes]:
    """All pictures of a run, each with the help of the one before."""
    follower.reset()
    made = []
    for planes in frames:
        y, u, v = (np.ascontiguousarray(plane) for plane in (planes.y, planes.u, planes.v))
        out = (np.empty_like(y), np.empty_like(u), np.empty_like(v))
        follower.make((y, u, v), out)
        made.append(Planes(*out))
    return made


def psnrs(run: HeldOut, made: Sequence[Planes]) -> tuple[float, float]:
    """Luma PSNR of a run as it arrives and cleaned, means over its judged pictures."""
    before, after = (
        float(np.mean([psnr_y(one[n].y, clean.y, border=BORDER) for n, clean in run.clean.items()]))
        for one in (run.noisy, made)
    )
    return before, after


def means(pairs_by_condition: Mapping[str, Sequence[tuple[float, float]]]) -> Table:
    """Of pairs as a picture arrives and as it was made the means over clips, to three places."""
    table: Table = {}
    for condition, pairs in pairs_by_condition.items():
        before, after = (round(float(value), 3) for value in np.mean(pairs, axis=0))
        table[condition] = {"input": before, "model": after}
    return table
