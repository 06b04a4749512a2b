"""A network for made frames on its way to the streamer: exported, checked, measured, and run there."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from export.evaluate import evaluate
from export.expected import with_expected
from export.feeds import drawn_feeds, real_feeds
from export.model_file import with_quality, write_manifest
from export.motion_evaluate import estimate_of
from export.motion_inputs import INPUTS, network_inputs
from export.motion_judge import held_out_runs, inputs_of, without_network
from export.networks import build_network
from export.networks.motion import MotionNetwork
from export.quantise import ALLOWED_LOSS_DB, quantise
from export.to_onnx import describe, load_fused, write_model
from export.verify import check, verify
from streamer.clock import ManualClock
from streamer.enhance.guiding import NetworkGuiding, guiding_by
from streamer.infer import self_test
from streamer.infer.engine import Tensors
from streamer.infer.guarded import Guarded
from streamer.infer.ort import OrtCpuEngine
from streamer.infer.reference_motion import ReferenceMotionEngine
from streamer.metrics import Metrics
from streamer.model import ModelManifest, read_manifest
from streamer.ops.motion import FlowEstimator, half
from tests.export.tiny import moving_texture, tiny_motion_recipe, write_clips


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("motion"), frames=6, first_seed=1)


@pytest.fixture(scope="module")
def interpolation(tmp_path_factory: pytest.TempPathFactory) -> ModelManifest:
    """A network that changes the guide everywhere."""
    torch.manual_seed(0)
    recipe = tiny_motion_recipe("interpolation")
    network = build_network(recipe)
    assert isinstance(network, MotionNetwork)
    torch.nn.init.normal_(network.tail.weight, std=0.05)
    folder = tmp_path_factory.mktemp("interpolation")
    return write_model(network, recipe, folder=folder, weights=folder)


@pytest.fixture(scope="module")
def prediction(
    interpolation: ModelManifest, tmp_path_factory: pytest.TempPathFactory
) -> ModelManifest:
    """The same network for the other task: both have one graph, which takes long to export."""
    folder = tmp_path_factory.mktemp("prediction")
    recipe = tiny_motion_recipe("prediction")
    weights = f"{interpolation.name}.safetensors"
    shutil.copy(interpolation.folder / weights, folder / f"{recipe.name}.safetensors")
    shutil.copy(interpolation.folder / interpolation.file, folder / f"{recipe.name}.onnx")
    fused = load_fused(interpolation, interpolation.folder)
    told = describe(fused, recipe, folder=folder, sha256=interpolation.sha256, data=())
    manifest = with_expected(with_quality(told, {"training": {}}))
    write_manifest(manifest)
    return manifest


@pytest.fixture(scope="module", params=["interpolation", "prediction"])
def exported(request: pytest.FixtureRequest) -> Path:
    manifest: ModelManifest = request.getfixturevalue(request.param)
    return manifest.folder / f"{manifest.name}.json"


@pytest.fixture
def shipped(exported: Path, tmp_path: Path) -> ModelManifest:
    shutil.copytree(exported.parent, tmp_path, dirs_exist_ok=True)
    return read_manifest(tmp_path / exported.name)


def test_a_model_gives_what_torch_gives(shipped: ModelManifest, folder: Path) -> None:
    check(verify(shipped, shipped.folder))
    check(verify(shipped, shipped.folder, data=folder))
    for feeds in (drawn_feeds(shipped), real_feeds(shipped, folder)):
        assert all(tuple(feed) == INPUTS for feed in feeds)
        times = {float(feed["motion"][0, 4].mean()) for feed in feeds}
        assert times == {0.5 if shipped.task == "interpolation" else 2.0}


def test_a_model_is_measured_beside_frames_made_without_it(
    shipped: ModelManifest, folder: Path
) -> None:
    spoken: list[str] = []
    quality = read_manifest(evaluate(shipped, folder, report=spoken.append)).quality
    assert len(spoken) == 3
    row = quality["held_out_clips"]["clean"]
    assert set(row) == {"repetition", "motion", "model"}
    assert row["motion"] > row["repetition"]
    # It was never trained; found in full, this motion leaves it next to nothing to say.
    said = abs(row["model"] - row["motion"])
    assert said > 0 if shipped.task == "prediction" else said < 0.01, row
    gain = quality["held_out_clips_gain_db"]["beta_1"]["clean"]
    assert gain == pytest.approx(row["model"] - row["motion"], abs=2e-3)
    assert quality["training"] == {}


def test_int8_ships_beside_fp32(shipped: ModelManifest, folder: Path) -> None:
    variant = read_manifest(quantise(shipped, folder, report=lambda line: None))
    assert (variant.name, variant.precision) == (f"{shipped.name}-int8", "int8")
    assert variant.outputs == shipped.outputs
    assert max(variant.quality["lost_against_fp32_db"].values()) <= ALLOWED_LOSS_DB
    check(verify(shipped, shipped.folder))
    clips = [folder / "train_video" / "beta_1.mp4"]
    runs = held_out_runs(clips, task=shipped.task)
    for run in runs:
        inputs = inputs_of(run, FlowEstimator(), network_inputs())
        ways = (estimate_of(shipped), estimate_of(variant), without_network)
        said, rounded, plain = (
            np.concatenate([part.ravel() for part in way(inputs)]) for way in ways
        )
        assert np.linalg.norm(said - rounded) < np.linalg.norm(said - plain)


def test_the_streamer_runs_it_at_any_size(shipped: ModelManifest) -> None:
    engine = OrtCpuEngine(shipped)
    self_test.check(engine)
    guiding, plain = guiding_by(engine), guiding_by(ReferenceMotionEngine())
    assert isinstance(guiding, NetworkGuiding)
    for width, height in ((160, 128), (202, 94), (64, 50)):
        pair = [half(moving_texture(n, width=width, height=height, seed=3).y) for n in (0, 2)]
        flows = FlowEstimator().between(pair[0], pair[1])
        time = 0.5 if shipped.task == "interpolation" else 2.0
        changed = guiding.guide((pair[0], pair[1]), flows, time, with_pictures=True)
        unchanged = plain.guide((pair[0], pair[1]), flows, time, with_pictures=True)
        assert changed.flow.shape == unchanged.flow.shape
        assert not np.array_equal(changed.flow, unchanged.flow)
        # What is bounded stays so: a few cells of motion, shares within 0 and 1.
        assert np.abs(changed.flow - unchanged.flow).max() < 60
        assert 0 <= changed.softness.min() <= changed.softness.max() <= 1
    engine.close()


class Broken(OrtCpuEngine):
    """Runs, and gives what cannot be."""

    def run(self, inputs: Tensors, outputs: Tensors) -> None:
        super().run(inputs, outputs)
        outputs["mask"][...] = np.nan


def test_where_it_breaks_frames_are_made_without_it(shipped: ModelManifest) -> None:
    metrics = Metrics()
    engine = Guarded(Broken(shipped), ManualClock(), metrics, fallback=ReferenceMotionEngine())
    pair = [half(moving_texture(n, width=160, height=128, seed=3).y) for n in (0, 2)]
    flows = FlowEstimator().between(pair[0], pair[1])
    time = 0.5 if shipped.task == "interpolation" else 2.0
    found, plain = (
        guiding_by(one).guide((pair[0], pair[1]), flows, time, with_pictures=True)
        for one in (engine, ReferenceMotionEngine())
    )
    assert engine.fell_back
    # Compiled and not, the same arithmetic; choices flip here and there.
    assert np.median(np.abs(found.flow - plain.flow)) < 0.02
    assert np.isfinite(found.mask).all()
    engine.close()
