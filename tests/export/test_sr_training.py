"""The training loop: it learns, it can be killed, it refuses foreign checkpoints."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from export.checkpoint import check_start, checkpoint_path, read_start, write_checkpoint
from export.networks import build_network
from export.networks.super_resolution import SuperResolution
from export.recipe import FOLDER, Recipe, read_recipe, recipe_from
from export.reopen import read_weights
from export.to_onnx import load_averaged
from export.train import Learner, Place, learning_rate, train
from streamer.clock import ManualClock
from streamer.errors import ConfigError
from tests.export.tiny import (
    moving_picture,
    tiny_denoise_recipe,
    tiny_motion_recipe,
    tiny_recipe,
    write_clips,
)

MakePlace = Callable[..., Place]


def test_thirty_steps_lower_the_loss(make_place: MakePlace, recipe: Recipe) -> None:
    spoken: list[str] = []
    train(recipe, make_place("run"), clock=ManualClock(), report=spoken.append)
    losses = [float(m[1]) for line in spoken if (m := re.search(r"loss ([0-9.]+)", line))]
    assert len(losses) == 3
    assert losses[2] < 0.95 * losses[0]


def test_a_killed_run_ends_at_the_weights_of_an_unbroken_one(
    make_place: MakePlace, recipe: Recipe
) -> None:
    def run(place: Place) -> dict[str, torch.Tensor]:
        spoken: list[str] = []
        network = train(recipe, place, clock=ManualClock(), report=spoken.append)
        return {key: value.clone() for key, value in network.state_dict().items()}

    whole = run(make_place("whole"))
    half = run(make_place("broken", stop_after=13))
    continued = run(make_place("broken"))
    assert not all(torch.equal(whole[key], half[key]) for key in whole)
    assert all(torch.equal(whole[key], continued[key]) for key in whole)


def test_a_run_whose_time_is_up_leaves_a_checkpoint_and_can_be_continued(
    make_place: MakePlace, recipe: Recipe
) -> None:
    clock, spoken = ManualClock(), list[str]()

    def report(line: str) -> None:
        # Time passes with each line: the one after ten iterations is past the limit.
        clock.advance_ms(10_000 if "/30 loss" in line else 0)
        spoken.append(line)

    train(recipe, replace(make_place("run"), limit_s=9.0), clock=clock, report=report)
    assert read_start(checkpoint_path(make_place("run").work, recipe), recipe)["iteration"] == 11
    train(recipe, make_place("run"), clock=clock, report=report)
    assert any("continues" in line and "iteration 11" in line for line in spoken)
    assert "30/30" in spoken[-2]


def test_a_journal_says_what_a_run_reached(make_place: MakePlace, recipe: Recipe) -> None:
    place = make_place("run")
    train(recipe, place, clock=ManualClock(), report=lambda _: None)
    journal = place.work / f"{recipe.name}.jsonl"
    notes = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    assert (notes[0]["begins"], notes[0]["device"]) == (0, "cpu")
    assert [note["iteration"] for note in notes if "loss" in note] == [10, 20, 30]
    assert notes[-1]["iteration"] == 30
    assert "dB" in notes[-1]["validation"]


@pytest.mark.parametrize("scale", [1, 3, 4])
def test_every_scale_can_be_trained(make_place: MakePlace, scale: int) -> None:
    spoken: list[str] = []
    recipe = tiny_recipe(scale=scale)
    network = train(recipe, make_place("run", 2), clock=ManualClock(), report=spoken.append)
    assert all(bool(torch.isfinite(value).all()) for value in network.state_dict().values())
    assert any("clean" in line for line in spoken)


def test_a_checkpoint_of_another_network_is_refused(make_place: MakePlace) -> None:
    train(tiny_recipe(), make_place("run", 2), clock=ManualClock(), report=lambda _: None)
    with pytest.raises(ConfigError, match="another network"):
        train(
            tiny_recipe(channels=12), make_place("run"), clock=ManualClock(), report=lambda _: None
        )


def test_a_new_run_can_start_from_the_weights_of_another(make_place: MakePlace) -> None:
    spoken: list[str] = []
    first = train(tiny_recipe(), make_place("first", 5), clock=ManualClock(), report=spoken.append)
    start = checkpoint_path(make_place("first").work, tiny_recipe())
    place = replace(make_place("second", 1), start_from=start)
    second = train(tiny_recipe(), place, clock=ManualClock(), report=spoken.append)
    assert "starts from the weights of sr-tiny-x2-test.ckpt" in spoken
    assert isinstance(first, SuperResolution)
    assert isinstance(second, SuperResolution)
    assert (second.tail.wide - first.tail.wide).abs().max() < 0.01
    _, history = load_averaged(place.work, tiny_recipe())
    assert [run["iterations"] for run in history["earlier"]] == [5]
    with pytest.raises(ConfigError, match="another network"):
        train(
            tiny_recipe(depth=2),
            replace(make_place("third"), start_from=start),
            clock=ManualClock(),
            report=spoken.append,
        )


def test_a_new_run_can_start_from_shipped_weights(
    make_place: MakePlace, exported: Path, network: SuperResolution
) -> None:
    spoken: list[str] = []
    recipe = tiny_recipe()
    place = replace(make_place("on", 1), start_from=exported / f"{recipe.name}.safetensors")
    after = train(recipe, place, clock=ManualClock(), report=spoken.append)
    assert f"starts from the weights of {recipe.name}.safetensors" in spoken
    assert isinstance(after, SuperResolution)
    # One step of the optimizer away.
    assert (after.tail.kernel() - network.tail.kernel()).abs().max() < 0.01
    _, history = load_averaged(place.work, recipe)
    assert [run["train"]["batch"] for run in history["earlier"]] == [recipe.train.batch]
    for smaller in ({"channels": 4, "depth": 3}, {"long_skip": True}):
        with pytest.raises(ConfigError, match="another network"):
            train(
                tiny_recipe(**smaller),
                replace(make_place("other"), start_from=place.start_from),
                clock=ManualClock(),
                report=spoken.append,
            )


@pytest.mark.parametrize("more", [{"channels": 12}, {"depth": 3}, {"channels": 20, "depth": 2}])
def test_a_larger_network_begins_at_what_the_smaller_one_gives(
    more: dict[str, int], make_place: MakePlace, exported: Path, network: SuperResolution
) -> None:
    recipe = tiny_recipe(**more)
    large = build_network(recipe)
    assert isinstance(large, SuperResolution)
    packed = torch.rand(2, 6, 12, 12, generator=torch.Generator().manual_seed(1))
    assert (large(packed) - network(packed)).abs().max() > 1e-3
    start = exported / f"{tiny_recipe().name}.safetensors"
    large.load_state_dict(read_weights(start, recipe)["network"])
    assert torch.allclose(large(packed), network(packed), atol=1e-5)
    # What is new is listened to once something was learnt.
    optimizer = torch.optim.SGD(large.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        (large(packed) - 1).square().mean().backward()
        optimizer.step()
    heard = large.tail.kernel().abs().amax(dim=(0, 2, 3)) > 0
    assert heard[network.channels :].sum() >= 0.5 * (large.channels - network.channels)


def holding_out(*names: str) -> Recipe:
    raw = tiny_recipe().as_dict()
    raw["data"]["validation"] = names
    return recipe_from(raw)


def test_weights_that_learnt_from_what_is_held_out_now_are_no_start(
    make_place: MakePlace, exported: Path
) -> None:
    train(tiny_recipe(), make_place("first", 1), clock=ManualClock(), report=lambda _: None)
    start = checkpoint_path(make_place("first").work, tiny_recipe())
    shipped = exported / f"{tiny_recipe().name}.safetensors"
    for read, path in ((read_start, start), (read_weights, shipped)):
        # What begins so was held out there as well.
        read(path, holding_out("beta_1"))
        read(path, holding_out())
        with pytest.raises(
            ConfigError,
            match=rf"{path.name} comes from a run that may have learnt from alpha_1, by which "
            "sr-tiny-x2-test is judged; that run held out beta: hold out no more than that",
        ):
            read(path, holding_out("beta", "alpha_1"))


def test_what_the_runs_before_a_start_learnt_from_counts_as_well() -> None:
    recipe = tiny_recipe()
    state = {"recipe": recipe.as_dict(), "iteration": 5}
    place = Path("start.ckpt")
    check_start(
        place, {**state, "earlier": [{"iterations": 3, "data": recipe.as_dict()["data"]}]}, recipe
    )
    # Nobody knows any more.
    check_start(place, {**state, "earlier": [{"iterations": 3}]}, recipe)
    earlier = [{"iterations": 3, "data": {"validation": []}}]
    with pytest.raises(ConfigError, match=r"learnt from beta, by .* held out nothing: hold out no"):
        check_start(place, {**state, "earlier": earlier}, recipe)


def test_each_shipped_recipe_takes_the_start_that_it_names() -> None:
    for first in sorted(FOLDER.glob("*_first.toml")):
        recipe = read_recipe(first.with_stem(first.stem.removesuffix("_first")))
        check_start(first, {"recipe": read_recipe(first).as_dict()}, recipe)
    weights = Path(__file__).parents[2] / "export" / "weights"
    for path in sorted(weights.glob("sr-*.safetensors")):
        read_weights(path, read_recipe(FOLDER / f"{path.stem.replace('-', '_')}.toml"))
    live = read_recipe(FOLDER / "sr_medium_x2_live.toml")
    read_weights(weights / "sr-medium-x2-clean.safetensors", live)


def test_weights_of_a_motion_network_are_no_start() -> None:
    weights = Path(__file__).parents[2] / "export" / "weights" / "prediction-lite.safetensors"
    with pytest.raises(ConfigError, match="only weights of super_resolution"):
        read_weights(weights, tiny_recipe())


def test_a_run_for_another_scale_gives_all_layers_but_the_last(make_place: MakePlace) -> None:
    spoken: list[str] = []
    first = train(tiny_recipe(), make_place("first", 5), clock=ManualClock(), report=spoken.append)
    start = checkpoint_path(make_place("first").work, tiny_recipe())
    learner = Learner(tiny_recipe(scale=1))
    fresh_tail = learner.network.state_dict()["tail.wide"].clone()
    learner.start_from(read_start(start, tiny_recipe(scale=1)))
    ours, theirs = learner.network.state_dict(), first.state_dict()
    assert ours["tail.wide"].shape != theirs["tail.wide"].shape
    assert torch.equal(ours["tail.wide"], fresh_tail)
    others = [name for name in ours if not name.startswith("tail.")]
    assert len(others) > 4
    assert all(torch.equal(ours[name], theirs[name]) for name in others)


def test_a_checkpoint_with_damaged_weights_is_refused(
    make_place: MakePlace, recipe: Recipe
) -> None:
    place = make_place("run", 2)
    train(recipe, place, clock=ManualClock(), report=print)
    path = checkpoint_path(place.work, recipe)
    state = torch.load(path, weights_only=True)
    weights = max(state["average"].values(), key=torch.Tensor.numel).numpy().tobytes()
    path.write_bytes(path.read_bytes().replace(weights, bytes(len(weights))))
    assert torch.load(path, weights_only=True)["iteration"] == 2
    with pytest.raises(ConfigError, match="or damaged"):
        load_averaged(place.work, recipe)


def test_a_file_that_is_no_checkpoint_is_refused(make_place: MakePlace, recipe: Recipe) -> None:
    place = make_place("run")
    path = checkpoint_path(place.work, recipe)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"something else")
    with pytest.raises(ConfigError, match="not a checkpoint"):
        train(recipe, place, clock=ManualClock(), report=lambda _: None)


def test_patches_larger_than_every_clip_are_an_error(make_place: MakePlace, recipe: Recipe) -> None:
    raw = recipe.as_dict()
    raw["data"]["patch"] = 200
    with pytest.raises(ConfigError, match="no clip is large enough"):
        train(recipe_from(raw), make_place("run"), clock=ManualClock(), report=lambda _: None)


def test_the_learning_rate_warms_up_and_ends_near_zero(recipe: Recipe) -> None:
    rates = [learning_rate(recipe.train, iteration) for iteration in range(30)]
    assert rates[0] == pytest.approx(2e-3)
    assert max(rates) == pytest.approx(1e-2, rel=0.1)
    assert rates[-1] < 0.01 * max(rates)


@pytest.mark.parametrize("raw", [tiny_motion_recipe("prediction"), tiny_denoise_recipe()])
def test_a_seed_below_zero_is_named_for_every_task(raw: Recipe) -> None:
    for section in ("data", "train"):
        changed = raw.as_dict()
        changed[section]["seed"] = -1
        with pytest.raises(ConfigError, match=rf"{section}\.seed is -1"):
            recipe_from(changed)


def test_a_task_that_is_no_text_is_named() -> None:
    with pytest.raises(ConfigError, match="task is"):
        recipe_from({**tiny_recipe().as_dict(), "task": ["super_resolution"]})


def test_a_work_folder_that_cannot_be_written_is_one_sentence(
    make_place: MakePlace, recipe: Recipe
) -> None:
    place = make_place("run", 2)
    place.work.write_text("a file")
    with pytest.raises(ConfigError, match=r"jsonl could not be written .*run the same again"):
        train(recipe, place, clock=ManualClock(), report=print)


def test_a_start_that_does_not_fit_is_not_to_be_removed(
    make_place: MakePlace, tmp_path: Path
) -> None:
    """It may be a shipped one."""
    other = recipe_from(
        {
            **tiny_recipe().as_dict(),
            "network": {**tiny_recipe().as_dict()["network"], "channels": 12},
        }
    )
    path = tmp_path / "other.ckpt"
    write_checkpoint(path, Learner(other).state())
    with pytest.raises(ConfigError, match="name other weights with --start-from"):
        read_start(path, tiny_recipe())


def test_held_out_clips_that_are_too_short_to_be_judged_are_refused_at_once(
    make_place: MakePlace, tmp_path: Path
) -> None:
    folder = tmp_path / "short"
    folder.mkdir()
    write_clips(folder, frames=2, picture=moving_picture)
    place = replace(make_place("run", 2), data=folder)
    with pytest.raises(ConfigError, match="no held-out clip has enough frames"):
        train(tiny_recipe(), place, clock=ManualClock(), report=print)
    assert not place.work.exists()


def test_unknown_recipe_keys_are_named() -> None:
    raw = tiny_recipe().as_dict()
    raw["train"]["momentum"] = 0.9
    with pytest.raises(ConfigError, match=r"train\.momentum"):
        recipe_from(raw)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("network", "scale", 5),
        ("network", "channels", "many"),
        ("data", "patch", 33),
        ("data", "seed", -1),
        ("train", "seed", -1),
        ("train", "seed", 10**22),
        ("train", "warmup", -5),
        ("train", "weight_decay", -1.0),
        ("train", "chroma_weight", float("nan")),
        ("train", "spectral_weight", -1e30),
    ],
)
def test_impossible_recipe_values_are_named(section: str, key: str, value: object) -> None:
    raw = tiny_recipe().as_dict()
    raw[section][key] = value
    with pytest.raises(ConfigError, match=rf"{section}\.{key}"):
        recipe_from(raw)


def test_the_shipped_recipes_can_be_read() -> None:
    from export.recipe import read_recipe

    folder = Path(__file__).parents[2] / "export" / "recipes"
    names = [read_recipe(path).name for path in sorted(folder.glob("*.toml"))]
    assert "sr-lite-x2-live" in names
