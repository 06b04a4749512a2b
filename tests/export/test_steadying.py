"""Steadying: runs of enlarged pictures, what is learnt from them, and a network on its way to streams."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from export.checkpoint import checkpoint_path, read_checkpoint
from export.data.clips import find_data
from export.data.enlarged_runs import open_enlarged
from export.data.planes import Planes
from export.data.run_recipe import EnlargedDataRecipe
from export.data.runs import NAMES, RunCache, Runs
from export.evaluate import evaluate
from export.feeds import drawn_feeds, real_feeds
from export.networks import build_network
from export.quantise import quantise
from export.run_judge import HeldOut
from export.run_quantise import run_feeds, run_losses_db
from export.steady_evaluate import flicker
from export.steady_judge import enlarged_runs, enlarging
from export.tasks import open_task
from export.to_onnx import write_model
from export.train import Place, train
from export.validation import bicubic, psnr_y
from streamer.clock import ManualClock
from streamer.errors import ConfigError
from streamer.model import ModelManifest, read_manifest
from tests.export.tiny import coloured_texture, tiny_steady_recipe, write_clips

RECIPE = tiny_steady_recipe()
UNDAMAGED = replace(
    RECIPE.data, blur_share=0.0, noise_share=0.0, clean_share=1.0, extremes_share=0.0
)
PLAIN = {"plain": bicubic(2)}
"""In the place of networks."""


def quiet(line: str) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("steady")
    return write_clips(folder, frames=6, first_seed=1, picture=coloured_texture)


def opened(folder: Path, clips: Path, recipe: EnlargedDataRecipe) -> Runs:
    split = find_data(clips, validation=recipe.validation)
    return stored(open_enlarged(split, recipe, PLAIN, folder=folder, report=quiet))


def stored(cache: RunCache) -> Runs:
    """All runs, as they were made."""
    return Runs(**{name: np.load(cache.folder / f"{name}.npy") for name in NAMES})


def error(runs: Runs) -> float:
    return float(np.abs(runs.noisy_y.astype(int) - runs.clean_y).mean())


def test_what_arrives_was_shrunk_coded_and_enlarged(clips: Path, tmp_path: Path) -> None:
    undamaged = opened(tmp_path, clips, UNDAMAGED)
    assert undamaged.noisy_y.shape == undamaged.clean_y.shape
    assert undamaged.noisy_uv.shape == undamaged.clean_uv.shape
    # Soft, but the same pictures at the same places.
    assert 0.1 < error(undamaged) < 0.1 * undamaged.clean_y.std()
    coded = opened(tmp_path, clips, replace(UNDAMAGED, clean_share=0.0))
    assert error(coded) > 1.2 * error(undamaged)
    noisy = opened(tmp_path, clips, replace(UNDAMAGED, noise_share=1.0))
    assert error(noisy) > 1.2 * error(undamaged)
    assert noisy.clean_y.std() > 10


def test_some_runs_are_of_full_range_and_some_have_a_bar(clips: Path, tmp_path: Path) -> None:
    recipe = replace(UNDAMAGED, extremes_share=1.0, patches_per_segment=30)
    runs = opened(tmp_path, clips, recipe)
    plain = opened(tmp_path, clips, replace(recipe, extremes_share=0.0))
    is_bar = (runs.clean_y <= 16) & (np.diff(runs.clean_y, axis=-1, append=0) == 0)
    assert is_bar.mean() > 0.02 > (plain.clean_y <= 16).mean()
    # All pictures of a run alike, and what arrives as what it was.
    whole = is_bar.all(axis=1)
    assert whole.mean() > 0.9 * is_bar.mean()
    inside = np.stack([whole] * runs.clean_y.shape[1], axis=1)
    assert np.abs(runs.noisy_y.astype(int) - runs.clean_y)[inside].mean() < 3


def test_another_network_has_other_runs(clips: Path, tmp_path: Path) -> None:
    split = find_data(clips, validation=RECIPE.data.validation)
    homes = {
        open_enlarged(split, UNDAMAGED, {name: bicubic(2)}, folder=tmp_path, report=quiet).folder
        for name in ("one", "other", "one")
    }
    assert len(homes) == 2


def test_what_ships_enlarges_what_is_learnt_from() -> None:
    networks = enlarging()
    small = coloured_texture(0, width=64, height=48, seed=1)
    made = [upscale(small) for upscale in networks.values()]
    assert [planes.y.shape for planes in made] == [(96, 128)] * 2
    assert not np.array_equal(made[0].y, made[1].y)


def test_held_out_clips_are_enlarged_in_every_condition(clips: Path) -> None:
    held_out = find_data(clips, validation=["beta"]).validation
    runs = enlarged_runs(held_out)
    assert [run.condition for run in runs] == ["clean", "x264_crf23", "x264_crf28", "x264_crf33"]
    qualities = []
    for run in runs:
        assert len(run.noisy) == 6
        assert sorted(run.clean) == [4, 5]
        qualities.append(psnr_y(run.noisy[4].y, run.clean[4].y, border=2))
    assert qualities == sorted(qualities, reverse=True)
    assert enlarged_runs([]) == []


def test_a_killed_training_goes_on_to_the_same_weights(clips: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    cache = tmp_path / "cache"
    weights = []
    for name, stops in (("whole", ()), ("cut", (7,))):
        place = Place(data=clips, cache=cache, work=tmp_path / name, log_every=10)
        for stop in stops:
            train(RECIPE, replace(place, stop_after=stop), clock=ManualClock(), report=quiet)
        train(RECIPE, place, clock=ManualClock(), report=quiet)
        state = read_checkpoint(checkpoint_path(place.work, RECIPE), RECIPE)
        weights.append(state["average"])
    for key, value in weights[0].items():
        assert torch.equal(value, weights[1][key])
    task = open_task(RECIPE, data=clips, cache=cache, report=quiet)
    said = task.judge(build_network(RECIPE))
    assert said is not None
    assert "x264_crf28" in said


@pytest.fixture(scope="module")
def exported(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelManifest:
    folder = tmp_path_factory.mktemp("exported")
    torch.manual_seed(0)
    manifest = write_model(build_network(RECIPE), RECIPE, folder=folder, weights=folder)
    quantise(manifest, clips, report=quiet)
    return read_manifest(folder / f"{manifest.name}.json")


def test_a_network_is_fed_and_measured_behind_the_one_that_enlarges(
    exported: ModelManifest, clips: Path
) -> None:
    assert (exported.task, exported.scale) == ("steadying", 1)
    assert [feed["followed"].shape[1] for feed in drawn_feeds(exported)] == [12] * 3
    (real,) = real_feeds(exported, clips)
    assert np.abs(real["followed"][:, 6:]).mean() > 0
    held_out = find_data(clips, validation=["beta"]).validation
    assert len(run_feeds(exported, held_out)) == 3
    int8 = read_manifest(exported.folder / f"{exported.name}-int8.json")
    assert set(run_losses_db(exported, int8, held_out)) == {
        "clean",
        "x264_crf23",
        "x264_crf28",
        "x264_crf33",
    }
    quality = read_manifest(evaluate(exported, clips, report=quiet)).quality
    assert set(quality["held_out_clips"]["x264_crf28"]) == {"input", "model"}
    assert set(quality["held_out_clips_gain_db"]) == {path.stem for path in held_out}


def test_flicker_is_what_changes_where_nothing_does() -> None:
    still = coloured_texture(0, width=64, height=48, seed=1)
    lighter = Planes((still.y // 2 + 20).astype(np.uint8), still.u, still.v)
    darker = Planes(lighter.y - 3, still.u, still.v)
    clean = {4: still, 5: still, 6: still}
    run = HeldOut(clip="one", condition="clean", noisy=[lighter] * 7, clean=clean)
    assert flicker(run.noisy, run) == 0.0
    assert flicker([*[lighter] * 5, darker, lighter], run) == 3.0
    moving = {n: coloured_texture(4 * n, width=64, height=48, seed=1) for n in (4, 5)}
    assert flicker(run.noisy, replace(run, clean=moving)) is None


@pytest.mark.parametrize("share", ["blur_share", "noise_share", "clean_share", "extremes_share"])
def test_a_share_of_more_than_all_is_refused(share: str) -> None:
    wrong: dict[str, Any] = {share: 1.5}
    with pytest.raises(ConfigError, match=rf"data\.{share} is 1\.5, allowed is 0\.0 to 1\.0"):
        replace(RECIPE.data, **wrong)


def test_without_what_enlarges_it_is_said_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("export.steady_judge.find_models", lambda **_: ())
    with pytest.raises(ConfigError, match="no 'lite' network is shipped that enlarges live"):
        enlarging()
