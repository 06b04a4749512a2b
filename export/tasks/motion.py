"""Interpolation and prediction as the training loop sees them: runs of frames, one left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.data.clips import find_data
from export.data.lost_slices import draw_loss_setting, draw_lost_masks
from export.data.motion import SceneSource, open_scenes
from export.data.motion_patches import MotionCache, Runs, open_motion_cache
from export.data.motion_recipe import SceneRecipe
from export.data.motion_shapes import draw_overlay
from export.data.resample import to_codes
from export.motion_judge import Made, held_out_runs, judge
from export.motion_losses import compose, confidence_loss, error_loss
from export.motion_tables import STANDING_SECOND, TABLES, error_tables, expected_error
from export.networks.base import Network
from export.networks.motion import HEADS, MotionNetwork, choose, mismatches
from export.recipe import MotionRecipe, Recipe
from export.tasks.base import Task
from streamer.ops.motion import (
    MOTIONS,
    PICTURES,
    Floats,
    FlowEstimator,
    half,
    pack_motion,
)

Bytes = NDArray[np.uint8]

# First, second and wanted frame of a run of five; entries that stand twice are drawn twice as often.
TRIPLES = {
    "interpolation": (
        *((0, 2, 1), (1, 3, 2), (2, 4, 3)) * 2,
        *((0, 4, 1), (0, 4, 2), (0, 4, 2), (0, 4, 3), (0, 3, 1), (1, 4, 3)),
    ),
    "prediction": (
        *((0, 1, 2), (1, 2, 3), (2, 3, 4)) * 2,
        *((0, 2, 4), (0, 2, 3), (1, 3, 4), (0, 1, 3), (0, 2, 4), (1, 2, 4)),
    ),
}


WHOLE_SHARE = 0.5
"""Of the pictures in a roll-out, those that were lost altogether; of the others slices were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Inputs of the network, and what the made picture is compared with; luma / 255."""

    pictures: Tensor
    """(N, 6, 2h, 2w), see ``pack_motion``."""
    motion: Tensor
    """(N, 5, h, w)."""
    first: Tensor
    """(N, 1, 4h, 4w)."""
    second: Tensor
    wanted: Tensor
    tables: Tensor
    """(N, TABLES, h/2, w/2), see ``error_tables``."""
    later: tuple[Later, ...] = ()
    """Of a roll-out: what the wanted pictures are to be used for once they are made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Triple:
    """Two pictures as received, (P, P) uint8, the one wanted as it was, and its time."""

    first: Bytes
    second: Bytes
    wanted: Bytes
    time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """The step after a prediction; all (P, P) uint8."""

    first: Bytes
    second: Bytes
    """As received; where ``lost`` is 1 the prediction takes its place."""
    lost: Bytes
    wanted: Bytes


def open_motion(recipe: Recipe, data: Path, cache: Path, report: Callable[[str], None]) -> Task:
    """Runs of frames of the training clips, and made-up scenes where the recipe wants some."""
    assert isinstance(recipe, MotionRecipe)
    cv2.setNumThreads(1)
    split = find_data(data, validation=recipe.data.validation)
    runs = open_motion_cache(split, recipe.data, folder=cache, report=report)
    report(f"{len(runs)} runs in {runs.folder}")
    scenes = None
    if recipe.train.scene_share:
        scenes = open_scenes(split, SceneRecipe(), report=report)
    return MotionTask(recipe, runs, scenes, held_out_runs(split.validation, task=recipe.task))


class MotionTask:
    """Batches drawn from runs; judged by luma PSNR beside flow without a network."""

    def __init__(
        self,
        recipe: MotionRecipe,
        runs: MotionCache,
        scenes: SceneSource | None,
        held_out: list[Made],
    ) -> None:
        self._recipe, self._runs, self._scenes = recipe, runs, scenes
        self._held_out = held_out
        self._estimator = FlowEstimator()

    def batch(self, iteration: int) -> Batch:
        settings = self._recipe.train
        rng = np.random.default_rng([settings.seed, iteration])
        if settings.rollout_share and rng.random() < settings.rollout_share:
            return self._rollout([self._draw_runs(rng) for _ in range(settings.batch)], rng)
        return self._prepared([self._draw(rng) for _ in range(settings.batch)])

    def loss(self, network: Network, batch: Batch) -> Tensor:
        assert isinstance(network, MotionNetwork)
        if batch.later:
            batch = self._continued(network, batch)
        time, tables = batch.motion[:, 4:5], batch.tables
        mismatch, heads = mismatches(batch.pictures), network.heads(batch.pictures, batch.motion)
        error = expected_error(choose(heads, mismatch, time), tables)
        with torch.no_grad():
            start = expected_error(choose(torch.zeros_like(heads), mismatch, time), tables)
        repeated = tables[:, STANDING_SECOND : STANDING_SECOND + 1]
        loss = error_loss(error, [start, repeated])
        if network.has_confidence:
            confidence = torch.sigmoid(heads[:, HEADS:])
            weight = self._recipe.train.confidence_weight
            loss = loss + weight * confidence_loss(confidence, error)
        return loss

    def judge(self, network: Network) -> str | None:
        return judge(network, self._held_out) if self._held_out else None

    def _draw_runs(self, rng: np.random.Generator) -> Runs:
        settings = self._recipe.train
        if self._scenes is not None and rng.random() < settings.scene_share:
            scenes = self._scenes.sample(rng, 1, settings.crop, pairs=())
            return Runs(scenes.seen, scenes.clean)
        runs = self._runs.sample(rng, 1, settings.crop)
        if rng.random() < settings.overlay_share:
            overlay = draw_overlay(settings.crop, settings.crop, rng)
            runs = Runs(*(overlay.over(part[0])[None] for part in runs))
        return runs

    def _draw(self, rng: np.random.Generator) -> Triple:
        runs = self._draw_runs(rng)
        triples = TRIPLES[self._recipe.task]
        first, second, wanted = triples[int(rng.integers(len(triples)))]
        return Triple(
            first=runs.seen[0, first],
            second=runs.seen[0, second],
            wanted=runs.clean[0, wanted],
            time=(wanted - first) / (second - first),
        )

    def _rollout(self, runs: list[Runs], rng: np.random.Generator) -> Batch:
        """Predictions of the third frames, to be used for predictions of the fourth."""
        triples, later = [], []
        for run in runs:
            a, b, c = run.seen[0, :3]
            triples.append(Triple(first=a, second=b, wanted=run.clean[0, 2], time=2.0))
            losses, slicing = draw_loss_setting(rng)
            lost = draw_lost_masks(1, *a.shape, losses=losses, slicing=slicing, rng=rng)[0]
            if rng.random() < WHOLE_SHARE:
                lost = np.ones_like(lost)
            later.append(Later(first=b, second=c, lost=lost, wanted=run.clean[0, 3]))
        return replace(self._prepared(triples), later=tuple(later))

    def _continued(self, network: Network, batch: Batch) -> Batch:
        """The batch after this one, with what the network made in the place of what was lost."""
        with torch.no_grad():
            made = network(batch.pictures, batch.motion)
            pictures = compose(made, batch.first, batch.second)[:, 0].numpy()
        predicted = to_codes(255 * pictures)
        return self._prepared(
            [
                Triple(
                    first=step.first,
                    second=np.where(step.lost > 0, picture, step.second),
                    wanted=step.wanted,
                    time=2.0,
                )
                for step, picture in zip(batch.later, predicted, strict=True)
            ]
        )

    def _prepared(self, triples: list[Triple]) -> Batch:
        side = self._recipe.train.crop // 2
        pictures = np.empty((len(triples), PICTURES, side, side), np.float32)
        motion = np.empty((len(triples), MOTIONS, side // 2, side // 2), np.float32)
        tables = np.empty((len(triples), TABLES, side // 4, side // 4), np.float32)
        for n, triple in enumerate(triples):
            first, second = half(triple.first), half(triple.second)
            flows = self._estimator.between(first, second)
            pack_motion(first, second, flows, triple.time, pictures=pictures[n], motion=motion[n])
            tables[n] = error_tables(
                triple.first,
                triple.second,
                triple.wanted,
                motion[n, :4],
                ahead=_ahead(pictures[n], triple.time),
                time=triple.time,
            )
        return Batch(
            pictures=torch.from_numpy(pictures),
            motion=torch.from_numpy(motion),
            first=_luma([triple.first for triple in triples]),
            second=_luma([triple.second for triple in triples]),
            wanted=_luma([triple.wanted for triple in triples]),
            tables=torch.from_numpy(tables),
        )


def _ahead(pictures: Floats, time: float) -> Floats:
    """(h, w) share of the forward flow by mismatch alone."""
    mismatch = mismatches(torch.from_numpy(pictures[None]))
    times = torch.full_like(mismatch[:, :1], time)
    chosen = choose(torch.zeros(1, HEADS, *mismatch.shape[2:]), mismatch, times)
    return np.asarray(chosen.ahead[0, 0].numpy())


def _luma(planes: list[Bytes]) -> Tensor:
    return torch.from_numpy(np.stack(planes)[:, None]).float() / 255
