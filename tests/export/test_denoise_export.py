"""A denoising network on its way to the streamer: what it is fed, exported, made smaller, and run there."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto

from export.data.clips import find_data
from export.data.planes import Planes
from export.denoise_judge import noisy_runs
from export.feeds import DRAWN_SIZES, drawn_feeds, real_feeds
from export.half import make_half
from export.networks import build_network
from export.networks.denoiser import Denoiser
from export.operators import check_operators
from export.quantise import ALLOWED_LOSS_DB, quantise
from export.quantise_tensorrt import SYMMETRIC
from export.run_feeds import followed
from export.run_judge import made_run, model_change, network_change
from export.run_quantise import run_feeds, run_losses_db
from export.to_onnx import write_model
from export.upscalers import pack_planes
from export.verify import check, verify
from kernels.native import native
from streamer.errors import ConfigError
from streamer.infer import self_test
from streamer.infer.native import NativeEngine
from streamer.infer.ort import OrtCpuEngine
from streamer.model import ModelManifest, find_models, read_manifest
from streamer.ops.follower import Follower
from tests.export.tiny import coloured_texture, tiny_denoise_recipe, write_clips

RECIPE = tiny_denoise_recipe()
QUALITY = (
    "noise 5",
    "noise 5, smooth",
    "noise 5, mjpeg",
    "noise 2, crf 23",
    "noise 5, crf 23",
    "crf 28",
)

needs_native = pytest.mark.skipif(
    native() is None,
    reason="nothing is compiled for processors; run: python -m kernels.native_build",
)


def quiet(line: str) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("noisy")
    return write_clips(folder, frames=6, first_seed=1, picture=coloured_texture)


@pytest.fixture(scope="module")
def network() -> Denoiser:
    """One that adds more than a new one does."""
    torch.manual_seed(0)
    network = build_network(RECIPE)
    assert isinstance(network, Denoiser)
    with torch.no_grad():
        network.tail.wide[6:] *= 3
    return network


@pytest.fixture(scope="module")
def exported(
    network: Denoiser, clips: Path, tmp_path_factory: pytest.TempPathFactory
) -> ModelManifest:
    """In all precisions that there are of it."""
    folder = tmp_path_factory.mktemp("exported")
    manifest = write_model(network, RECIPE, folder=folder, weights=folder)
    make_half(manifest, folder, report=quiet)
    quantise(manifest, clips, report=quiet)
    return read_manifest(folder / f"{manifest.name}.json")


@pytest.fixture
def shipped(exported: ModelManifest, tmp_path: Path) -> ModelManifest:
    """A copy that a test may spoil."""
    shutil.copytree(exported.folder, tmp_path, dirs_exist_ok=True)
    return read_manifest(tmp_path / f"{exported.name}.json")


@pytest.fixture
def int8(shipped: ModelManifest) -> ModelManifest:
    return read_manifest(shipped.folder / f"{shipped.name}-int8.json")


def even(luma: int, *, width: int = 48, height: int = 32) -> Planes:
    grey = np.full((height // 2, width // 2), 128, np.uint8)
    return Planes(np.full((height, width), luma, np.uint8), grey, grey)


def held_out_clips(folder: Path) -> tuple[Path, ...]:
    return find_data(folder, validation=["beta"]).validation


def test_a_network_is_fed_each_picture_and_how_the_one_before_differs() -> None:
    frames = [coloured_texture(n, width=96, height=64, seed=2) for n in range(3)]
    feeds = followed(frames)
    assert [feed["followed"].shape for feed in feeds] == [(1, 12, 32, 48)] * 3
    for feed, planes in zip(feeds, frames, strict=True):
        assert np.allclose(feed["followed"][:, :6], pack_planes(planes), atol=1e-6)
    changes = [np.abs(feed["followed"][:, 6:]).mean() * 219 for feed in feeds]
    assert changes[0] == 0
    # What moved was followed.
    stood = np.abs(frames[1].y.astype(int) - frames[0].y).mean()
    assert 0 < changes[1] < 0.3 * stood


def test_what_is_compared_with_was_cleaned_by_half() -> None:
    feeds = followed([even(100), even(110), even(110)])
    differences = [feed["followed"][0, 6:10] * 219 for feed in feeds]
    for seen, expected in zip(differences, (0, -10, -5), strict=True):
        np.testing.assert_allclose(seen, expected, atol=1e-3)
    assert all((feed["followed"][0, 10:] == 0).all() for feed in feeds)


def test_a_model_says_what_it_takes_and_gives(shipped: ModelManifest) -> None:
    assert (shipped.task, shipped.scale, shipped.multiple_of) == ("denoising", 1, 2)
    model = onnx.load_from_string(shipped.verified_bytes())
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    for value, name in zip(
        (*model.graph.input, *model.graph.output), ("followed", "change"), strict=True
    ):
        sides = [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim]
        assert (value.name, sides) == (name, [1, 12, "h", "w"])
    check_operators(model, file=shipped.file)
    assert [spec.name for spec in (*shipped.inputs, *shipped.outputs)] == ["followed", "change"]


def test_all_precisions_give_what_torch_gives(shipped: ModelManifest, clips: Path) -> None:
    for data in (None, clips):
        rows = verify(shipped, shipped.folder, data=data)
        check(rows)
        assert [row.precision for row in rows] == ["fp32", "fp16", "fp16", "int8"]
        assert all(row.size > 1 for row in rows)
    drawn, real = drawn_feeds(shipped), real_feeds(shipped, clips)
    assert [feed["followed"].shape[2:] for feed in drawn] == [
        (height // 2, width // 2) for height, width in DRAWN_SIZES
    ]
    # One for the clip that is held out, noisy, at half of 160x128.
    assert [feed["followed"].shape for feed in real] == [(1, 12, 32, 40)]
    assert 0.5 < np.abs(real[0]["followed"][:, 6:]).mean() * 219 < 20


def test_models_are_found_by_their_task(shipped: ModelManifest) -> None:
    found = find_models(shipped.folder, task="denoising", scale=1)
    assert {model.precision for model in found} == {"fp32", "fp16", "int8"}
    half = next(model for model in found if model.precision == "fp16")
    assert {spec.dtype for spec in (*half.inputs, *half.outputs)} == {"float16"}
    assert all(model.self_test == shipped.self_test for model in found)


def test_int8_gives_whole_codes_in_bytes_and_keeps_the_first_layer_float(
    int8: ModelManifest,
) -> None:
    model = onnx.load_from_string(int8.verified_bytes())
    check_operators(model, file=int8.file, is_for_cpu=True)
    graph = model.graph
    makers = {name: node.op_type for node in graph.node for name in node.output}
    stored = {tensor.name: tensor.data_type for tensor in graph.initializer}
    first, *others = [node for node in graph.node if node.op_type == "Conv"]
    assert makers[first.input[0]] == "Pad"
    assert stored[first.input[1]] == TensorProto.FLOAT
    # As deep as the recipe says, and the last one.
    assert len(others) == RECIPE.network.depth + 1
    for node in others:
        assert [makers.get(name) for name in node.input[:2]] == ["DequantizeLinear"] * 2
    assert [spec.dtype for spec in (*int8.inputs, *int8.outputs)] == ["float32", "uint8"]
    assert graph.output[0].type.tensor_type.elem_type == TensorProto.UINT8


def test_int8_loses_next_to_nothing_in_any_condition_that_has_a_psnr(int8: ModelManifest) -> None:
    lost = int8.quality["lost_against_fp32_db"]
    assert tuple(lost) == QUALITY
    assert max(lost.values()) <= ALLOWED_LOSS_DB
    assert any(lost.values())


def test_what_a_variant_loses_is_the_psnr_of_the_other_less_its_own(
    shipped: ModelManifest, network: Denoiser, clips: Path, tmp_path: Path
) -> None:
    judged = held_out_clips(clips)
    same = run_losses_db(shipped, shipped, judged)
    assert same == dict.fromkeys(QUALITY, 0.0)
    worse = build_network(RECIPE)
    worse.load_state_dict(network.state_dict())
    assert isinstance(worse, Denoiser)
    with torch.no_grad():
        worse.tail.bias[6:] += 1.0
    other = write_model(worse, RECIPE, folder=tmp_path / "worse", weights=tmp_path / "worse")
    # All pictures are 14 codes too bright.
    assert min(run_losses_db(shipped, other, judged).values()) > 3
    assert max(run_losses_db(other, shipped, judged).values()) < -3
    with pytest.raises(ConfigError, match=r"no clip of more than 4 frames is held out: name some"):
        run_losses_db(shipped, shipped, [])


def test_an_int8_variant_that_loses_much_is_refused_and_not_written(
    shipped: ModelManifest, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shipped.folder / f"{shipped.name}-int8.json").unlink()
    (shipped.folder / f"{shipped.name}-int8.onnx").unlink()
    monkeypatch.setattr("export.quantise.ALLOWED_LOSS_DB", -1.0)
    with pytest.raises(ConfigError, match=rf"^{shipped.name}-int8\.onnx loses .* allowed are"):
        quantise(shipped, clips, report=quiet)
    assert not list(shipped.folder.glob("*int8*"))


def test_int8_for_tensorrt_is_refused(shipped: ModelManifest, clips: Path) -> None:
    before = sorted(shipped.folder.iterdir())
    with pytest.raises(ConfigError) as refusal:
        quantise(shipped, clips, report=quiet, precision=SYMMETRIC)
    assert str(refusal.value) == (
        f"{shipped.name} is for denoising; only networks for super_resolution are made in "
        "int8-symmetric: leave it in fp32 or fp16 for TensorRT"
    )
    assert sorted(shipped.folder.iterdir()) == before


def test_it_is_calibrated_on_a_picture_of_each_clip_clean_and_noisy(
    shipped: ModelManifest, clips: Path, tmp_path: Path
) -> None:
    training = find_data(clips, validation=["beta"]).training
    feeds = run_feeds(shipped, training)
    assert len(feeds) == 2 * 3
    assert {feed["followed"].shape for feed in feeds} == {(1, 12, 32, 40)}
    grain = [float(np.abs(feed["followed"][0, 6:10]).mean()) * 219 for feed in feeds[:3]]
    assert 0 < grain[0] < grain[1]
    short = write_clips(tmp_path, frames=4, picture=coloured_texture)
    with pytest.raises(ConfigError, match=r"no training clip in .* has 5 frames; put longer ones"):
        quantise(shipped, short, report=quiet)


def changes(manifest: ModelManifest, packed: NDArray[np.float32]) -> NDArray[np.uint8]:
    """What our own convolutions give."""
    engine = NativeEngine(manifest, threads=1)
    made = np.empty(packed.shape, np.uint8)
    engine.run({"followed": packed}, {"change": made})
    engine.close()
    return made


@needs_native
def test_our_own_convolutions_give_what_the_int8_file_says(
    int8: ModelManifest, clips: Path
) -> None:
    options = onnxruntime.SessionOptions()
    # As the graph is written, without what saturates on processors without VNNI.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        int8.verified_bytes(), options, providers=["CPUExecutionProvider"]
    )
    for feed in (*drawn_feeds(int8), *real_feeds(int8, clips)):
        packed = np.ascontiguousarray(feed["followed"], np.float32)
        (expected,) = session.run(["change"], {"followed": packed})
        error = changes(int8, packed).astype(int) - expected
        # The first layer's weights are whole numbers here; a step before a rounding now and then.
        for part in np.split(error, 2, axis=1):
            assert np.mean(np.abs(part) > 1) < 1e-3
            assert np.mean(part != 0) < 0.25
            assert abs(part.mean()) < 0.1
        assert expected[:, :6].std() > 3
        assert expected[:, 6:].std() > 1


@needs_native
def test_our_own_convolutions_pass_the_self_test_and_another_networks_do_not(
    int8: ModelManifest, tmp_path: Path
) -> None:
    engine = NativeEngine(int8, threads=2)
    self_test.check(engine)
    engine.close()
    torch.manual_seed(5)
    other = build_network(tiny_denoise_recipe(seed=5))
    told = write_model(other, RECIPE, folder=tmp_path / "other", weights=tmp_path / "other")
    expected, seen = (np.asarray(one.self_test["change"]) for one in (told, int8))
    error = self_test.root_mean_square(expected - seen)
    size = self_test.root_mean_square(expected)
    assert error > self_test.allowed_error(size, int8, is_rounded=True)


def test_the_streamer_runs_the_fp32_model(shipped: ModelManifest) -> None:
    engine = OrtCpuEngine(shipped, threads=1)
    self_test.check(engine)
    engine.close()


def test_pictures_are_cleaned_alike_by_torch_and_by_every_model(
    shipped: ModelManifest, int8: ModelManifest, network: Denoiser, clips: Path
) -> None:
    (run,) = noisy_runs(held_out_clips(clips), conditions=("noise 5",))
    expected, by_file, by_int8 = (
        made_run(Follower(change), run.noisy[:2])
        for change in (network_change(network), model_change(shipped), model_change(int8))
    )
    # Further on what this network, which learnt nothing, makes of both are two scenes.
    noisy = 0.0
    for truth, one, other, arrived in zip(expected, by_file, by_int8, run.noisy[:2], strict=True):
        for name in ("y", "u", "v"):
            wanted = getattr(truth, name).astype(int)
            exact, rounded = (np.abs(getattr(made, name) - wanted) for made in (one, other))
            assert exact.max() <= 1
            assert exact.mean() < 0.01
            assert rounded.mean() < 1.0
            noisy += np.abs(getattr(arrived, name) - wanted).mean()
    assert noisy > 4
