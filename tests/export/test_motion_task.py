"""Interpolation and prediction learn from runs of frames, always the same way."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from export.checkpoint import checkpoint_path, read_checkpoint
from export.data.clips import find_data
from export.motion_judge import (
    estimate_by,
    estimate_by_agreement,
    held_out_runs,
    inputs_of,
    judge,
)
from export.motion_losses import compose
from export.motion_tables import TABLES
from export.networks import build_network
from export.networks.base import Network
from export.networks.motion import MotionNetwork
from export.recipe import MotionRecipe
from export.tasks import open_task
from export.tasks.motion import TRIPLES, Batch
from export.train import Place, train
from streamer.clock import ManualClock
from streamer.ops.motion import FlowEstimator
from tests.export.tiny import moving_texture, tiny_motion_recipe, write_clip

RECIPES = [
    tiny_motion_recipe("interpolation"),
    tiny_motion_recipe("prediction", rollout_share=0.5),
]
NAMES = ["interpolation", "prediction"]
TASKS = pytest.mark.parametrize("recipe", RECIPES, ids=NAMES)

MakeRun = Callable[..., Place]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("motion")
    (folder / "train_video").mkdir()
    for seed, name in enumerate(("alpha_1", "alpha_2", "beta_1"), start=1):
        path = folder / "train_video" / f"{name}.mp4"
        write_clip(path, width=160, height=128, frames=6, seed=seed, picture=moving_texture)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def make_run(folder: Path, cache: Path, tmp_path: Path) -> MakeRun:
    torch.set_num_threads(1)

    def make(name: str, stop_after: int | None = None) -> Place:
        work = tmp_path / name
        return Place(data=folder, cache=cache, work=work, log_every=10, stop_after=stop_after)

    return make


def trained(recipe: MotionRecipe, place: Place) -> tuple[Network, list[str]]:
    spoken: list[str] = []
    return train(recipe, place, clock=ManualClock(), report=spoken.append), spoken


def batch_of(recipe: MotionRecipe, place: Place, iteration: int) -> Batch:
    task = open_task(recipe, data=place.data, cache=place.cache, report=lambda _: None)
    batch = task.batch(iteration)
    assert isinstance(batch, Batch)
    return batch


def tensors(batch: Batch) -> dict[str, Tensor]:
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


@TASKS
def test_a_killed_run_ends_at_the_weights_of_an_unbroken_one(
    recipe: MotionRecipe, make_run: MakeRun
) -> None:
    whole = trained(recipe, make_run("whole"))[0].state_dict()
    half = trained(recipe, make_run("broken", 7))[0].state_dict()
    continued, spoken = trained(recipe, make_run("broken"))
    assert f"continues {recipe.name}.ckpt at iteration 7" in spoken
    assert not all(torch.equal(whole[key], half[key]) for key in whole)
    assert all(torch.equal(value, whole[key]) for key, value in continued.state_dict().items())


@TASKS
def test_twenty_steps_bring_the_made_picture_nearer(
    recipe: MotionRecipe, make_run: MakeRun
) -> None:
    place = make_run("run")
    network, spoken = trained(recipe, place)
    assert re.fullmatch(
        r"20 repetition [\d.]+, flow [\d.]+ -> [\d.]+ \([+-][\d.]+ dB, worst clip [+-][\d.]+\)",
        spoken[-1],
    )
    state = read_checkpoint(checkpoint_path(place.work, recipe), recipe)
    task = open_task(recipe, data=place.data, cache=place.cache, report=lambda _: None)
    torch.manual_seed(recipe.train.seed)
    fresh, learnt = build_network(recipe), build_network(recipe)
    learnt.load_state_dict(state["network"])
    with torch.no_grad():
        before, after = (
            sum(float(task.loss(n, task.batch(number))) for number in range(6))
            for n in (fresh, learnt)
        )
    assert after < before
    assert all(bool(value.isfinite().all()) for value in network.state_dict().values())


@TASKS
def test_a_batch_follows_from_seed_and_number(recipe: MotionRecipe, make_run: MakeRun) -> None:
    place = make_run("run")
    first, again, other = (tensors(batch_of(recipe, place, number)) for number in (3, 3, 4))
    assert set(first) == {"pictures", "motion", "first", "second", "wanted", "tables"}
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["wanted"], other["wanted"])
    reseeded = replace(recipe, train=replace(recipe.train, seed=2))
    assert not torch.equal(first["wanted"], batch_of(reseeded, place, 3).wanted)


@TASKS
def test_what_is_wanted_lies_between_or_after(recipe: MotionRecipe, make_run: MakeRun) -> None:
    is_between = recipe.task == "interpolation"
    for first, second, wanted in TRIPLES[recipe.task]:
        assert 0 <= first < second <= 4
        assert first < wanted < second if is_between else second < wanted <= 4
    batch = batch_of(recipe, make_run("run"), 1)
    side = recipe.train.crop
    assert batch.wanted.shape == (2, 1, side, side)
    assert batch.pictures.shape == (2, 6, side // 2, side // 2)
    assert batch.motion.shape == (2, 5, side // 4, side // 4)
    assert batch.tables.shape == (2, TABLES, side // 8, side // 8)
    for time in batch.motion[:, 4].flatten(1).unbind():
        assert bool((time == time[0]).all())
        assert (0 < time[0] < 1) == is_between


@pytest.mark.parametrize("task", NAMES)
def test_held_out_runs_leave_out_a_frame_and_flow_finds_it(
    task: str, folder: Path, make_run: MakeRun
) -> None:
    split = find_data(folder, validation=["beta"])
    runs = held_out_runs(split.validation, task=task)
    assert [run.clip for run in runs] == ["beta_1"]
    expected = [moving_texture(n, width=160, height=128, seed=3).y for n in (0, 1, 2)]
    order = (0, 2, 1) if task == "interpolation" else (0, 1, 2)
    for seen, number in zip((runs[0].first, runs[0].second, runs[0].wanted), order, strict=True):
        assert np.abs(seen.astype(int) - expected[number]).mean() < 2
    recipe = tiny_motion_recipe(task)
    found = re.findall(r"[\d.]+", judge(build_network(recipe), runs))
    repetition, flow = float(found[0]), float(found[1])
    assert flow > repetition + 20


@pytest.mark.parametrize("has_confidence", [False, True])
def test_the_fused_network_gives_the_same(*, has_confidence: bool) -> None:
    torch.manual_seed(0)
    network = MotionNetwork(channels=(8, 12, 16), depth=2, has_confidence=has_confidence)
    pictures, motion = torch.rand(2, 6, 32, 48), 3 * torch.randn(2, 5, 16, 24)
    with torch.no_grad():
        made, fused = network(pictures, motion), network.fused()(pictures, motion)
    names = {name for name, value in made._asdict().items() if value is not None}
    expected = {"flow", "mask", "residual", "softness"}
    assert names == expected | ({"confidence"} if has_confidence else set())
    for name in names:
        assert torch.equal(getattr(made, name), getattr(fused, name))


@TASKS
def test_an_untrained_network_follows_the_motion_it_is_told(
    recipe: MotionRecipe, make_run: MakeRun
) -> None:
    batch = batch_of(recipe, make_run("run"), 2)
    torch.manual_seed(0)
    network = build_network(recipe)
    with torch.no_grad():
        made = network(batch.pictures, batch.motion)
        still = made._replace(flow=0 * made.flow, residual=0 * made.residual)
        told, kept = (
            (compose(way, batch.first, batch.second) - batch.wanted)[..., 16:-16, 16:-16]
            for way in (made, still)
        )
    assert told.abs().mean() < kept.abs().mean()


def test_a_network_chooses_motions_as_arithmetic_does(folder: Path) -> None:
    split = find_data(folder, validation=["beta"])
    run = held_out_runs(split.validation, task="interpolation")[0]
    inputs = inputs_of(run, FlowEstimator())
    network = MotionNetwork(channels=(8, 8, 8), depth=1, has_confidence=False)
    seen = estimate_by(network)(inputs["pictures"], inputs["motion"])
    expected = estimate_by_agreement(inputs["pictures"], inputs["motion"])
    # Flow and mask; what softness starts from is the network's own.
    for one, other in zip(seen[:2], expected[:2], strict=True):
        # OpenCV repeats the edge where torch averages over less.
        apart = np.abs(one - other)[..., 4:-4, 4:-4]
        assert apart.max() < 0.01
