"""Recipes name what is wrong with them, and checkpoints only continue what they began."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from export.checkpoint import read_checkpoint, read_start, write_checkpoint
from export.data.motion_recipe import MotionDataRecipe
from export.data.run_recipe import NoiseDataRecipe
from export.networks import build_network
from export.networks.denoiser import Denoiser
from export.networks.motion import MotionNetwork
from export.networks.super_resolution import SuperResolution
from export.recipe import (
    MotionNetworkRecipe,
    PairRecipe,
    Recipe,
    read_recipe,
    recipe_from,
)
from export.train import Learner
from streamer.errors import ConfigError
from tests.export.tiny import tiny_denoise_recipe, tiny_motion_recipe, tiny_recipe

Change = Callable[[dict[str, Any]], None]


def changed(recipe: Recipe, section: str, **values: object) -> Recipe:
    raw = recipe.as_dict()
    raw[section] |= values
    return recipe_from(raw)


def test_a_recipe_without_a_task_is_super_resolution() -> None:
    raw = tiny_recipe().as_dict()
    del raw["task"]
    recipe = recipe_from(raw)
    assert isinstance(recipe, PairRecipe)
    assert recipe == tiny_recipe()


@pytest.mark.parametrize(
    "recipe",
    [tiny_recipe(scale=3), tiny_motion_recipe("prediction"), tiny_denoise_recipe(cut_share=0.3)],
)
def test_what_a_recipe_says_of_itself_is_read_back_as_the_same(recipe: Recipe) -> None:
    assert recipe_from(recipe.as_dict()) == recipe


def test_the_task_decides_what_is_read_and_built() -> None:
    for task in ("interpolation", "prediction"):
        recipe = tiny_motion_recipe(task)
        assert isinstance(recipe.network, MotionNetworkRecipe)
        assert isinstance(recipe.data, MotionDataRecipe)
        assert recipe.scale == 1
        assert isinstance(build_network(recipe), MotionNetwork)
    assert isinstance(build_network(tiny_recipe()), SuperResolution)
    denoising = tiny_denoise_recipe()
    assert isinstance(denoising.data, NoiseDataRecipe)
    assert denoising.scale == 1
    assert isinstance(build_network(denoising), Denoiser)


def test_images_are_learnt_from_where_the_recipe_says_so() -> None:
    assert not tiny_recipe().uses_images
    clean = tiny_recipe().as_dict() | {"training": "clean"}
    assert recipe_from(clean).uses_images
    assert not tiny_motion_recipe("interpolation").uses_images
    assert changed(tiny_motion_recipe("interpolation"), "data", scenes=1).uses_images
    assert not tiny_denoise_recipe().uses_images
    assert changed(tiny_denoise_recipe(), "data", image_segments=1).uses_images


def test_a_key_of_another_task_is_named_with_those_there_are() -> None:
    with pytest.raises(ConfigError) as refusal:
        changed(tiny_motion_recipe("interpolation"), "network", scale=2)
    assert str(refusal.value) == "unknown key network.scale; known are channels, depth"
    with pytest.raises(ConfigError, match=r"unknown key train\.crop"):
        changed(tiny_recipe(), "train", crop=64)
    with pytest.raises(ConfigError, match=r"unknown key data\.passes"):
        changed(tiny_motion_recipe("prediction"), "data", passes=1)
    with pytest.raises(ConfigError) as refusal:
        changed(tiny_denoise_recipe(), "network", scale=2)
    assert str(refusal.value) == "unknown key network.scale; known are channels, depth, expansion"
    with pytest.raises(ConfigError, match=r"unknown key data\.passes; .*flicker_share"):
        changed(tiny_denoise_recipe(), "data", passes=1)
    with pytest.raises(ConfigError, match=r"unknown key train\.crop; .*cut_share"):
        changed(tiny_denoise_recipe(), "train", crop=64)


def test_an_unknown_task_is_named_with_those_there_are(tmp_path: Path) -> None:
    path = tmp_path / "odd.toml"
    path.write_text('name = "odd"\ntask = "cook"\n', encoding="utf-8")
    with pytest.raises(ConfigError) as refusal:
        read_recipe(path)
    assert str(refusal.value) == (
        "recipe odd.toml: task is 'cook', known are super_resolution, interpolation, prediction, "
        "denoising, steadying"
    )


@pytest.mark.parametrize(
    ("channels", "said"),
    [
        ([8], r"network\.channels is \[8\], it must be two numbers"),
        ([8, 8, 8], r"network\.channels is \[8, 8, 8\], it must be two numbers"),
        ([8, 0], r"network\.channels is 0, allowed is 1 to 512"),
        ([8, 8.5], r"network\.channels is .*, it must be a list of whole numbers"),
        ([8, True], r"network\.channels is .*, it must be a list of whole numbers"),
        (8, r"network\.channels is 8, it must be a list of whole numbers"),
    ],
    ids=str,
)
def test_channels_are_two_whole_numbers(channels: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        changed(tiny_motion_recipe("interpolation"), "network", channels=channels)


@pytest.mark.parametrize("value", [1, "yes", None])
def test_a_skip_is_true_or_false(value: object) -> None:
    with pytest.raises(ConfigError, match=r"network\.long_skip is .*, it must be true or false"):
        changed(tiny_recipe(), "network", long_skip=value)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("crop", 72, "must be a multiple of 16"),
        ("crop", 16, "allowed is 32 to 512"),
        ("crop", 80, "must be at most data.patch, 72"),
        ("ema", 2.0, "allowed is 0.0 to 1.0"),
        ("clip_norm", True, "must be a number"),
    ],
)
def test_impossible_settings_of_motion_training_are_named(
    key: str, value: object, said: str
) -> None:
    with pytest.raises(ConfigError, match=rf"train\.{key} is .*{said}"):
        changed(tiny_motion_recipe("prediction"), "train", **{key: value})


@pytest.mark.parametrize(
    ("section", "key", "value", "said"),
    [
        ("network", "channels", 0, "allowed is 1 to 512"),
        ("network", "channels", [8, 8], "must be a number"),
        ("network", "depth", 65, "allowed is 1 to 64"),
        ("network", "expansion", 0, "allowed is 1 to 4096"),
        ("data", "patch", 28, "allowed is 32 to 512"),
        ("data", "patch", 34, "must be a multiple of 4"),
        ("data", "run", 1, "allowed is 2 to 64"),
        ("data", "segment_frames", 3, "allowed is 4 to 250"),
        ("data", "segments_per_clip", 0, "allowed is 1 to 1000"),
        ("data", "patches_per_segment", 0, "allowed is 1 to 1000"),
        ("data", "image_segments", -1, "allowed is 0 to 1000"),
        ("data", "noise_share", 1.1, "allowed is 0.0 to 1.0"),
        ("data", "smooth_noise_share", -0.1, "allowed is 0.0 to 1.0"),
        ("data", "coded_share", 2.0, "allowed is 0.0 to 1.0"),
        ("data", "flicker_share", -1.0, "allowed is 0.0 to 1.0"),
        ("train", "floor_codes", 0.0, "allowed is 0.1 to 255.0"),
        ("train", "cut_share", 1.5, "allowed is 0.0 to 1.0"),
        ("train", "cut_share", "often", "must be a number"),
        ("train", "ema", 2.0, "allowed is 0.0 to 1.0"),
    ],
)
def test_impossible_settings_of_denoising_are_named(
    section: str, key: str, value: object, said: str
) -> None:
    with pytest.raises(ConfigError, match=rf"{section}\.{key} is .*{said}"):
        changed(tiny_denoise_recipe(), section, **{key: value})


def test_a_run_is_no_longer_than_the_stretches_that_it_is_cut_from() -> None:
    assert changed(tiny_denoise_recipe(), "data", run=6)
    with pytest.raises(ConfigError, match=r"data\.segment_frames is 6, allowed is 7 to 250"):
        changed(tiny_denoise_recipe(), "data", run=7)


def test_a_missing_key_is_named() -> None:
    raw = tiny_motion_recipe("prediction").as_dict()
    del raw["train"]["iterations"]
    with pytest.raises(ConfigError, match=r"missing key train\.'iterations'"):
        recipe_from(raw)


@pytest.mark.parametrize(
    ("recipe", "section", "key"),
    [
        (tiny_recipe(), "network", "long_skip"),
        (tiny_recipe(), "train", "clip_norm"),
        (tiny_motion_recipe("prediction", ema=0.999), "train", "ema"),
        (tiny_denoise_recipe(), "train", "cut_share"),
    ],
)
def test_a_checkpoint_from_before_a_key_with_a_default_is_continued(
    tmp_path: Path, recipe: Recipe, section: str, key: str
) -> None:
    state = Learner(recipe).state()
    path = tmp_path / "old.ckpt"
    write_checkpoint(path, state)
    assert read_checkpoint(path, recipe)["iteration"] == 0
    if section == "train":
        raw = recipe.as_dict()
        raw[section][key] = 0.5
        with pytest.raises(ConfigError, match=rf"\[{section}\]"):
            read_checkpoint(path, recipe_from(raw))
    del state["recipe"][section][key]
    write_checkpoint(path, state)
    assert read_checkpoint(path, recipe)["iteration"] == 0


def test_a_full_disk_leaves_the_checkpoint_before_as_it_was(tmp_path: Path) -> None:
    path, state = tmp_path / "tiny.ckpt", Learner(tiny_recipe()).state()
    write_checkpoint(path, state)
    before = path.read_bytes()
    (tmp_path / "tiny.partial").symlink_to("/dev/full")
    with pytest.raises(ConfigError, match=r"tiny\.ckpt could not be written.* make room"):
        write_checkpoint(path, state)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_checkpoint_knows_nothing_of_the_bound_of_what_is_exported(tmp_path: Path) -> None:
    path = tmp_path / "unbounded.ckpt"
    write_checkpoint(path, Learner(tiny_recipe()).state())
    bounded = changed(tiny_recipe(), "network", residual_limit=3.0)
    assert read_checkpoint(path, bounded)["iteration"] == 0
    assert read_start(path, bounded)["iteration"] == 0
    with pytest.raises(ConfigError, match=r"\[network\]"):
        read_checkpoint(path, changed(bounded, "network", long_skip=True))


@pytest.mark.parametrize(
    ("limit", "said"), [(-1.0, "allowed is 0.0 to 255.0"), (0.5, "must be 0 or at least 1")]
)
def test_an_impossible_bound_of_the_residual_is_named(limit: float, said: str) -> None:
    with pytest.raises(ConfigError, match=rf"network\.residual_limit is {limit}, .*{said}"):
        changed(tiny_recipe(), "network", residual_limit=limit)


def test_a_checkpoint_of_the_time_before_tasks_is_continued(tmp_path: Path) -> None:
    state = Learner(tiny_recipe()).state()
    del state["recipe"]["task"]
    write_checkpoint(tmp_path / "old.ckpt", state)
    assert read_checkpoint(tmp_path / "old.ckpt", tiny_recipe())["iteration"] == 0


@pytest.mark.parametrize("change", [{"training": "clean"}, {"name": "other"}])
def test_a_checkpoint_of_other_training_is_refused_but_may_be_a_start(
    tmp_path: Path, change: dict[str, str]
) -> None:
    path = tmp_path / "live.ckpt"
    write_checkpoint(path, Learner(tiny_recipe()).state())
    other = recipe_from(tiny_recipe().as_dict() | change)
    with pytest.raises(ConfigError, match="belongs to another network or recipe"):
        read_checkpoint(path, other)
    assert read_start(path, other)["iteration"] == 0


def test_a_checkpoint_of_another_task_is_no_start(tmp_path: Path) -> None:
    path = tmp_path / "between.ckpt"
    write_checkpoint(path, Learner(tiny_motion_recipe("interpolation")).state())
    with pytest.raises(ConfigError, match="'interpolation' there, 'prediction' here"):
        read_start(path, tiny_motion_recipe("prediction"))
