"""Super-resolution as the training loop sees it: pairs of patches, a residual to learn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.data.clips import find_data
from export.data.extremes import with_extremes
from export.data.patches import Pair, PatchCache, open_cache
from export.data.planes import upscale_plane
from export.data.stills import StillPairs, open_stills
from export.losses import reconstruction_loss, share_left
from export.networks.base import Network
from export.networks.super_resolution import CHROMA_GAIN, LUMA_GAIN, SuperResolution, pack, unpack
from export.recipe import PairRecipe, Recipe
from export.tasks.base import Task
from export.upscalers import network_upscaler
from export.validation import (
    SHRINKING,
    UNDAMAGED,
    Sample,
    bicubic,
    held_out_samples,
    mean_change,
    mean_psnr,
    refuse_none,
    seen_conditions,
)

JUDGED_FRAMES = (3, 10)

Batch = tuple[Tensor, Tensor, Tensor]
"""Packed input, luma target and chroma target; the targets are what the residual should be."""


def open_super_resolution(
    recipe: Recipe, data: Path, cache: Path, report: Callable[[str], None]
) -> Task:
    """Pairs for ``training = "clean"`` from sharp pictures, for ``"live"`` from damaged clips."""
    assert isinstance(recipe, PairRecipe)
    split = find_data(data, validation=recipe.data.validation)
    pairs: PatchCache | StillPairs
    if recipe.training == "clean":
        pairs = open_stills(split, patch=recipe.data.patch, scale=recipe.scale, report=report)
    else:
        pairs = open_cache(split, recipe.data, scale=recipe.scale, folder=cache, report=report)
        report(f"{len(pairs)} pairs in {pairs.folder}")
    held_out: dict[str, list[Sample]] = {}
    if split.validation:
        seen = seen_conditions(recipe.training, scale=recipe.scale)
        held_out = held_out_samples(
            split.validation,
            scale=recipe.scale,
            conditions=dict.fromkeys((UNDAMAGED, *seen)),
            frames=JUDGED_FRAMES,
            kernel=SHRINKING.get(recipe.training, "area"),
        )
        # Told now and not after minutes of training.
        refuse_none(held_out[UNDAMAGED])
    return SuperResolutionTask(recipe, pairs, held_out)


class SuperResolutionTask:
    """Batches drawn from pairs; judged by luma PSNR beside the plain upscale."""

    def __init__(
        self, recipe: PairRecipe, pairs: PatchCache | StillPairs, held_out: dict[str, list[Sample]]
    ) -> None:
        self._recipe, self._pairs, self._held_out = recipe, pairs, held_out

    def batch(self, iteration: int) -> Batch:
        settings = self._recipe.train
        rng = np.random.default_rng([settings.seed, iteration])
        pairs = self._pairs.sample(rng, settings.batch)
        if settings.extremes_share:
            pairs = with_extremes(pairs, rng, share=settings.extremes_share)
        return prepare(pairs)

    def loss(self, network: Network, batch: Batch) -> Tensor:
        packed, luma, chroma = batch
        settings = self._recipe.train
        residual_luma, residual_chroma = unpack(network(packed), scale=self._recipe.scale)
        if floor_codes := settings.floor_codes:
            of_luma = share_left(residual_luma - luma, luma, floor=floor_codes / LUMA_GAIN)
            of_chroma = share_left(
                residual_chroma - chroma, chroma, floor=floor_codes / CHROMA_GAIN
            )
            return of_luma + settings.chroma_weight * of_chroma
        return reconstruction_loss(
            residual_luma - luma,
            residual_chroma - chroma,
            chroma_weight=settings.chroma_weight,
            spectral_weight=settings.spectral_weight,
        )

    def judge(self, network: Network) -> str | None:
        assert isinstance(network, SuperResolution)
        scale = network.scale
        upscaler, plain = network_upscaler(network), bicubic(scale)
        parts = []
        for condition, samples in self._held_out.items():
            if condition == UNDAMAGED and scale == 1:
                parts.append(f"{condition} changed by {mean_change(samples, upscaler):.3f} codes")
                continue
            before = mean_psnr(samples, plain, scale=scale)
            after = mean_psnr(samples, upscaler, scale=scale)
            parts.append(f"{condition} {before:.2f} -> {after:.2f} ({after - before:+.2f} dB)")
        return ", ".join(parts) or None


def prepare(pairs: Pair) -> Batch:
    """Tensors of a batch of pairs; the plain upscale is computed as the host will compute it."""
    small_y, small_uv, large_y, large_uv = pairs
    scale = large_y.shape[-1] // small_y.shape[-1]
    base_y = _upscale_stack(small_y, scale)
    base_uv = _upscale_stack(small_uv, scale)
    packed = pack(torch.from_numpy(small_y)[:, None], torch.from_numpy(small_uv))
    luma = torch.from_numpy(large_y.astype(np.float32) - base_y)[:, None] / LUMA_GAIN
    chroma = torch.from_numpy(large_uv.astype(np.float32) - base_uv) / CHROMA_GAIN
    return packed.to(memory_format=torch.channels_last), luma, chroma


def _upscale_stack(stack: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    flat = stack.reshape(-1, *stack.shape[-2:])
    enlarged = np.stack([upscale_plane(plane, scale) for plane in flat])
    return enlarged.reshape(*stack.shape[:-2], *enlarged.shape[-2:])
