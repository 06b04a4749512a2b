"""Tasks on a device: super-resolution keeps its data there, of others each batch is carried over."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from export.data.resident import PlainUpscale, size_bytes, to_device
from export.device import has_room, moved
from export.networks.base import Network
from export.networks.super_resolution import CHROMA_GAIN, LUMA_GAIN, pack
from export.recipe import PairRecipe, Recipe
from export.tasks.base import Task
from export.tasks.super_resolution import Batch, SuperResolutionTask


def on_device(task: Task, recipe: Recipe, device: torch.device) -> Task:
    """The task with batches on the device: the same pairs as on the host, in the same order; pairs that are
    changed as they are drawn are carried over."""
    if device.type == "cpu":
        return task
    if (
        isinstance(recipe, PairRecipe)
        and isinstance(task, SuperResolutionTask)
        and not recipe.train.extremes_share
        and has_room(size_bytes(task._pairs), device)
    ):
        return ResidentSuperResolution(task, recipe, device)
    return Carried(task, device)


class Carried:
    """Any task whose batches are made on the host."""

    def __init__(self, task: Task, device: torch.device) -> None:
        self._task, self._device = task, device

    def batch(self, iteration: int) -> Any:
        return moved(self._task.batch(iteration), self._device)

    def loss(self, network: Network, batch: Any) -> Tensor:
        return self._task.loss(network, batch)

    def judge(self, network: Network) -> str | None:
        return self._task.judge(network)


class ResidentSuperResolution(Carried):
    """Super-resolution whose pairs were copied to the device once; only places travel."""

    def __init__(self, task: SuperResolutionTask, recipe: PairRecipe, device: torch.device) -> None:
        super().__init__(task, device)
        self._recipe, self._pairs = recipe, to_device(task._pairs, device)
        patch = recipe.data.patch
        self._upscale_luma = PlainUpscale(patch, recipe.scale, device)
        self._upscale_chroma = PlainUpscale(patch // 2, recipe.scale, device)

    def batch(self, iteration: int) -> Batch:
        settings = self._recipe.train
        rng = np.random.default_rng([settings.seed, iteration])
        small_y, small_uv, large_y, large_uv = self._pairs.sample(rng, settings.batch)
        packed = pack(small_y[:, None], small_uv)
        luma = (large_y.float() - self._upscale_luma(small_y))[:, None] / LUMA_GAIN
        chroma = (large_uv.float() - self._upscale_chroma(small_uv)) / CHROMA_GAIN
        return packed.to(memory_format=torch.channels_last), luma, chroma
