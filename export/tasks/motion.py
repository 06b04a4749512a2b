"""Interpolation and prediction as the training loop sees them: two pictures, and one that is wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from export.data.clips import find_data
from export.data.motion_triples import TripleCache, open_triples
from export.motion_judge import Made, held_out_runs, judge
from export.motion_losses import compose, gain_loss
from export.networks.base import Network
from export.networks.motion import Motion
from export.recipe import MotionRecipe, Recipe
from export.tasks.base import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Inputs of the network, and what the made picture is compared with."""

    pictures: Tensor
    """(N, 6, P/2, P/2), ``motion`` (N, 5, P/4, P/4), ``guide`` (N, 6, P/4, P/4): ``NetworkInputs``."""
    motion: Tensor
    guide: Tensor
    luma: Tensor
    """(N, 3, P, P) first, second and wanted, code values."""


def open_motion(recipe: Recipe, data: Path, cache: Path, report: Callable[[str], None]) -> Task:
    """Triples of the training clips and of made-up scenes."""
    assert isinstance(recipe, MotionRecipe)
    cv2.setNumThreads(1)
    split = find_data(data, validation=recipe.data.validation)
    triples = open_triples(split, recipe.data, task=recipe.task, folder=cache, report=report)
    report(f"{len(triples)} triples in {triples.folder}")
    return MotionTask(recipe, triples, held_out_runs(split.validation, task=recipe.task))


class MotionTask:
    """Batches drawn from triples; judged by luma PSNR beside the guide without a network."""

    def __init__(self, recipe: MotionRecipe, triples: TripleCache, held_out: list[Made]) -> None:
        self._recipe, self._triples, self._held_out = recipe, triples, held_out

    def batch(self, iteration: int) -> Batch:
        settings = self._recipe.train
        rng = np.random.default_rng([settings.seed, iteration])
        triples = self._triples.sample(rng, settings.batch, settings.crop)
        return Batch(
            pictures=torch.from_numpy(triples.pictures),
            motion=torch.from_numpy(triples.motion),
            guide=torch.from_numpy(triples.guide),
            luma=torch.from_numpy(triples.luma).float(),
        )

    def loss(self, network: Network, batch: Batch) -> Tensor:
        first, second, wanted = (batch.luma[:, n : n + 1] for n in range(3))
        plain = Motion(batch.guide[:, :4], batch.guide[:, 4:5], batch.guide[:, 5:6])
        with torch.no_grad():
            before = compose(plain, first, second)
        made = network(batch.pictures, batch.motion, batch.guide)
        return gain_loss(compose(made, first, second), before, wanted)

    def judge(self, network: Network) -> str | None:
        return judge(network, self._held_out) if self._held_out else None
