"""Interpolation and prediction learn from triples of frames, always the same way."""

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
from export.data.codec import x264
from export.motion_inputs import INPUTS, network_inputs
from export.motion_judge import (
    estimate_by,
    held_out_runs,
    inputs_of,
    judge,
    without_network,
)
from export.motion_losses import compose
from export.networks import build_network
from export.networks.base import Network
from export.networks.motion import Motion, MotionNetwork
from export.recipe import MotionRecipe, Recipe
from export.tasks import open_task
from export.tasks.motion import Batch
from export.train import Place, train
from export.validation import psnr_y
from streamer.clock import ManualClock
from streamer.ops.motion import FlowEstimator
from tests.export.tiny import (
    moving_texture,
    tiny_denoise_recipe,
    tiny_motion_recipe,
    write_clips,
)

NAMES = ["interpolation", "prediction"]
RECIPES = [tiny_motion_recipe(name) for name in NAMES]
TASKS = pytest.mark.parametrize("recipe", RECIPES, ids=NAMES)

MakeRun = Callable[..., Place]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("motion"), frames=6, first_seed=1)


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


def trained(recipe: Recipe, place: Place) -> tuple[Network, list[str]]:
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


@pytest.mark.parametrize("recipe", [*RECIPES, tiny_denoise_recipe()], ids=[*NAMES, "denoising"])
def test_a_killed_run_ends_at_the_weights_of_an_unbroken_one(
    recipe: Recipe, make_run: MakeRun
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
        r"20 repetition [\d.]+, flow [\d.]+ -> [\d.]+ \([+-][\d.]+ dB, by clip [+-][\d.]+\)",
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
    assert set(first) == {"pictures", "motion", "guide", "luma"}
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["luma"], other["luma"])
    reseeded = replace(recipe, train=replace(recipe.train, seed=2))
    assert not torch.equal(first["luma"], batch_of(reseeded, place, 3).luma)


@pytest.mark.parametrize("task", NAMES)
def test_held_out_runs_leave_out_a_frame_and_flow_finds_it(
    task: str, folder: Path, make_run: MakeRun
) -> None:
    split = find_data(folder, validation=["beta"])
    runs = held_out_runs(split.validation, task=task)
    assert [run.clip for run in runs] == ["beta_1"] * 4
    expected = [moving_texture(n, width=160, height=128, seed=3).y for n in (0, 1, 2)]
    order = (0, 2, 1) if task == "interpolation" else (0, 1, 2)
    for seen, number in zip((runs[0].first, runs[0].second, runs[0].wanted), order, strict=True):
        assert np.abs(seen.astype(int) - expected[number]).mean() < 2
    recipe = tiny_motion_recipe(task)
    found = re.findall(r"[\d.]+", judge(build_network(recipe), runs))
    repetition, flow = float(found[0]), float(found[1])
    assert flow > repetition + 20


def test_the_exported_network_gives_what_is_trained() -> None:
    network = drawn_network()
    given = torch.rand(2, 6, 32, 48), 3 * torch.randn(2, 5, 16, 24), torch.rand(2, 6, 16, 24)
    with torch.no_grad():
        made, fused = network(*given), network.fused()(*given)
    for one, other in zip(made, fused, strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    assert not torch.allclose(made.flow, given[2][:, :4])


def drawn_network() -> MotionNetwork:
    """One that changes everything."""
    torch.manual_seed(0)
    network = MotionNetwork(channels=(8, 12), depth=2)
    torch.nn.init.normal_(network.tail.weight, std=0.3)
    return network


def test_an_untrained_network_changes_nothing(folder: Path) -> None:
    split = find_data(folder, validation=["beta"])
    inputs = inputs_of(
        held_out_runs(split.validation, task="interpolation")[0], FlowEstimator(), network_inputs()
    )
    network = MotionNetwork(channels=(8, 8), depth=1)
    for mode in (network.train(), network.eval()):
        seen, expected = estimate_by(mode)(inputs), without_network(inputs)
        for one, other in zip(seen, expected, strict=True):
            assert np.array_equal(one, other)


def test_what_a_network_says_has_the_sizes_of_the_guide_and_bounded_shares() -> None:
    given = torch.rand(1, 6, 32, 48), 3 * torch.randn(1, 5, 16, 24), torch.rand(1, 6, 16, 24)
    with torch.no_grad():
        made = drawn_network()(*given)
    assert [part.shape for part in made] == [(1, 4, 16, 24), (1, 1, 16, 24), (1, 1, 16, 24)]
    for share in (made.mask, made.softness):
        assert 0 <= share.min() < share.max() <= 1
    # What is added is one motion: its ends lie on one line through the wanted pixel.
    added, time = made.flow - given[2][:, :4], given[1][:, 4:5]
    assert torch.allclose((1 - time) * added[:, :2], -time * added[:, 2:], atol=1e-5)


def test_small_doubts_change_nothing_but_are_learnt_from() -> None:
    network = MotionNetwork(channels=(8, 8), depth=1)
    given = torch.rand(1, 6, 32, 48), 3 * torch.randn(1, 5, 16, 24), torch.rand(1, 6, 16, 24)
    bias = network.tail.bias
    assert bias is not None
    torch.nn.init.constant_(bias, 0.05)
    made = network(*given)
    assert torch.equal(made.mask, given[2][:, 4:5])
    made.softness.sum().backward()
    assert bias.grad is not None
    assert bias.grad[-1] > 0


@TASKS
def test_the_guide_of_a_batch_leads_to_what_is_wanted(
    recipe: MotionRecipe, make_run: MakeRun
) -> None:
    place, told, kept = make_run("run"), 0.0, 0.0
    for iteration in range(8):
        batch = batch_of(recipe, place, iteration)
        first, second, wanted = (batch.luma[:, n : n + 1] for n in range(3))
        plain = Motion(batch.guide[:, :4], batch.guide[:, 4:5], batch.guide[:, 5:6])
        errors = [
            float((compose(way, first, second) - wanted)[..., 16:-16, 16:-16].abs().mean())
            for way in (plain, plain._replace(flow=0 * plain.flow))
        ]
        told, kept = told + errors[0], kept + errors[1]
    assert told < 0.8 * kept


def test_a_coding_damages_what_is_seen_and_not_what_is_wanted(folder: Path) -> None:
    clips = find_data(folder, validation=["beta"]).validation
    clean = held_out_runs(clips, task="interpolation")
    coded = held_out_runs(clips, task="interpolation", coding=x264(33))
    for one, other in zip(clean, coded, strict=True):
        assert np.array_equal(one.wanted, other.wanted)
        assert 25 < psnr_y(other.first, one.first, border=0) < 45
    assert set(inputs_of(coded[0], FlowEstimator(), network_inputs())) == set(INPUTS)
