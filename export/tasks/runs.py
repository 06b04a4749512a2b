"""Networks that follow pictures as the training loop sees them: each of a run made with the one before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from export.data.clips import find_data
from export.data.enlarged_runs import open_enlarged
from export.data.noisy_runs import open_runs
from export.data.runs import RunCache
from export.denoise_judge import noisy_runs
from export.networks.base import Network
from export.networks.denoiser import cleaned
from export.networks.super_resolution import CHROMA_GAIN, LUMA_GAIN, pack, unpack
from export.recipe import DenoiseRecipe, Recipe, RunRecipe, SteadyRecipe
from export.run_judge import HeldOut, judge
from export.steady_judge import enlarged_runs, enlarging
from export.tasks.base import Task

MARGIN = 8
"""Pixels at a patch's edges that are not judged: beyond them the picture before is not known."""


def open_denoising(recipe: Recipe, data: Path, cache: Path, report: Callable[[str], None]) -> Task:
    """Noisy runs of the training clips and images."""
    assert isinstance(recipe, DenoiseRecipe)
    split = find_data(data, validation=recipe.data.validation)
    runs = open_runs(split, recipe.data, folder=cache, report=report)
    report(f"{len(runs)} runs in {runs.folder}")
    return RunTask(recipe, runs, noisy_runs(split.validation))


def open_steadying(recipe: Recipe, data: Path, cache: Path, report: Callable[[str], None]) -> Task:
    """Runs of the training clips and images, enlarged by what ships for live pictures."""
    assert isinstance(recipe, SteadyRecipe)
    split = find_data(data, validation=recipe.data.validation)
    runs = open_enlarged(split, recipe.data, enlarging(), folder=cache, report=report)
    report(f"{len(runs)} runs in {runs.folder}")
    return RunTask(recipe, runs, enlarged_runs(split.validation))


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """N runs of T pictures; pictures as ``pack`` gives them."""

    noisy: Tensor
    """(N, T, 6, P/2, P/2)"""
    clean: Tensor
    back: Tensor
    """(N, T - 1, P/2, P/2, 2), as in ``Runs``."""
    is_cut: Tensor
    """(N, T - 1): whether what came before is another run's picture."""


class RunTask:
    """Batches drawn from runs; judged by luma PSNR beside the pictures as they arrive."""

    def __init__(self, recipe: RunRecipe, runs: RunCache, held_out: list[HeldOut]) -> None:
        self._recipe, self._runs, self._held_out = recipe, runs, held_out

    def batch(self, iteration: int) -> Batch:
        settings = self._recipe.train
        rng = np.random.default_rng([settings.seed, iteration])
        runs = self._runs.sample(rng, settings.batch)
        is_cut = rng.random(runs.back.shape[:2]) < settings.cut_share
        return Batch(
            noisy=_packed(runs.noisy_y, runs.noisy_uv),
            clean=_packed(runs.clean_y, runs.clean_uv),
            back=torch.from_numpy(runs.back).float(),
            is_cut=torch.from_numpy(is_cut),
        )

    def loss(self, network: Network, batch: Batch) -> Tensor:
        settings = self._recipe.train
        steps = batch.noisy.shape[1]
        before = batch.noisy[:, 0]
        total = before.new_zeros(())
        for step in range(steps):
            now = batch.noisy[:, step]
            if step:
                before = brought(before, batch.back[:, step - 1])
                is_cut = batch.is_cut[:, step - 1, None, None, None]
                before = torch.where(is_cut, before.roll(1, dims=0), before)
            packed = torch.cat([now, before - now], dim=1)
            packed = packed.contiguous(memory_format=torch.channels_last)
            before = cleaned(network(packed), packed)
            total = total + _share_left(
                before, now, batch.clean[:, step], settings.chroma_weight, settings.floor_codes
            )
        return total / steps

    def judge(self, network: Network) -> str | None:
        return judge(network, self._held_out) if self._held_out else None


def brought(picture: Tensor, back: Tensor) -> Tensor:
    """A packed picture (N, 6, h, w) to where things are now; ``back`` (N, h, w, 2) as in ``Runs``.

    Cubic (a = -0.75), as OpenCV looks up: at every step a little sharpness would go otherwise.
    """
    luma, chroma = unpack(picture, scale=1)
    flow = back.permute(0, 3, 1, 2)
    height, width = flow.shape[-2:]
    of_luma = 2.0 * functional.interpolate(
        flow, size=(2 * height, 2 * width), mode="bilinear", align_corners=False
    )
    looked_up = [_looked_up(luma, of_luma), _looked_up(chroma, flow)]
    return torch.cat([functional.pixel_unshuffle(looked_up[0], 2), looked_up[1]], dim=1)


def _looked_up(planes: Tensor, flow: Tensor) -> Tensor:
    height, width = planes.shape[-2:]
    rows, columns = torch.meshgrid(
        torch.arange(height, device=flow.device),
        torch.arange(width, device=flow.device),
        indexing="ij",
    )
    across = (2.0 * (columns + flow[:, 0]) + 1.0) / width - 1.0
    down = (2.0 * (rows + flow[:, 1]) + 1.0) / height - 1.0
    return functional.grid_sample(
        planes,
        torch.stack([across, down], dim=-1),
        mode="bicubic",
        padding_mode="border",
        align_corners=False,
    )


def _packed(luma: NDArray[np.uint8], chroma: NDArray[np.uint8]) -> Tensor:
    count, steps = luma.shape[:2]
    both = [
        torch.from_numpy(part.reshape(count * steps, -1, *part.shape[-2:]))
        for part in (luma[:, :, None], chroma)
    ]
    packed = pack(*both)
    return packed.reshape(count, steps, *packed.shape[1:])


def _share_left(
    made: Tensor, noisy: Tensor, clean: Tensor, chroma_weight: float, floor_codes: float
) -> Tensor:
    """Squared error as a share of what arrived with, mean over the batch."""
    inner = (..., slice(MARGIN // 2, -MARGIN // 2), slice(MARGIN // 2, -MARGIN // 2))
    total = made.new_zeros(())
    for part, weight, gain in (
        (slice(0, 4), 1.0, LUMA_GAIN),
        (slice(4, 6), chroma_weight, CHROMA_GAIN),
    ):
        after, arrived = (
            ((picture - clean)[:, part][inner] ** 2).mean(dim=(1, 2, 3))
            for picture in (made, noisy)
        )
        total = total + weight * (after / (arrived + (floor_codes / gain) ** 2)).mean()
    return total
