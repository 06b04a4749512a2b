"""int8 models over a TensorRT that computes by ONNX Runtime, and engines built from a command."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from export.cli import main
from export.networks import build_network
from export.quantise import quantise
from export.quantise_tensorrt import SYMMETRIC
from export.to_onnx import write_model
from streamer.clock import MonotonicClock
from streamer.errors import EngineError
from streamer.infer.backends import Use, choose_super_resolution
from streamer.infer.batching_graph import BATCH, batched
from streamer.infer.engine import Tensors
from streamer.infer.ort import OrtCpuEngine
from streamer.infer.self_test import TOLERANCES, drawn_inputs, storage
from streamer.infer.swapping import Swapping
from streamer.infer.tensorrt import TensorRtEngine
from streamer.model import ModelManifest, read_manifest
from tests.export.tiny import tiny_recipe, write_clip
from tests.streamer.infer.tensorrt_double import World

SIZES = {"h": 24, "w": 32}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelManifest, ModelManifest]:
    """A network in fp32, and in int8 for TensorRT."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "train_video").mkdir()
    for seed, name in enumerate(("alpha", "beta")):
        path = folder / "train_video" / f"{name}.mp4"
        write_clip(path, width=160, height=128, frames=6, seed=seed)
    torch.manual_seed(0)
    recipe = tiny_recipe(depth=2)
    exact = write_model(build_network(recipe), recipe, folder=folder, weights=folder)
    path = quantise(exact, folder, report=lambda line: None, precision=SYMMETRIC)
    return exact, read_manifest(path)


def is_near(seen: Tensors, expected: Tensors) -> bool:
    error = seen["residual"].astype(np.float32) - expected["residual"]
    size = np.sqrt(np.mean(expected["residual"] ** 2))
    return bool(0 < np.sqrt(np.mean(error**2)) <= TOLERANCES["int8"] * size)


@pytest.mark.usefixtures("device")
def test_an_int8_engine_gives_nearly_what_the_fp32_model_gives(
    models: tuple[ModelManifest, ModelManifest],
) -> None:
    exact, symmetric = models
    inputs, expected = drawn_inputs(exact, SIZES), storage(exact, SIZES)
    OrtCpuEngine(exact, threads=1).run(inputs, expected)
    engine = TensorRtEngine(symmetric)
    seen = storage(engine.manifest, SIZES)
    engine.run(inputs, seen)
    assert is_near(seen, expected)
    (packed,), (residual,) = (
        list(slots.values())
        for slots in (engine.resident(SIZES).inputs, engine.resident(SIZES).outputs)
    )
    assert (packed.dtype, residual.dtype) == ("float16", "float16")
    engine.close()


@pytest.mark.usefixtures("device")
def test_several_pictures_run_at_once_in_int8_too(
    models: tuple[ModelManifest, ModelManifest],
) -> None:
    one, several = TensorRtEngine(models[1]), TensorRtEngine(batched(models[1]))
    inputs, expected = drawn_inputs(models[0], SIZES), storage(one.manifest, SIZES)
    one.run(inputs, expected)
    sizes = {**SIZES, BATCH: 2}
    seen = storage(several.manifest, sizes)
    several.run({"packed": np.concatenate([inputs["packed"], inputs["packed"] * 0.5])}, seen)
    assert np.allclose(seen["residual"][:1], expected["residual"], atol=0.01)
    assert not np.allclose(seen["residual"][1:], expected["residual"], atol=0.01)
    one.close()
    several.close()


@pytest.mark.usefixtures("device")
def test_auto_leaves_int8_alone_which_is_there_by_name() -> None:
    use = Use(clock=MonotonicClock())
    for backend, precision in (("auto", "fp16"), ("tensorrt-int8", SYMMETRIC)):
        choice = choose_super_resolution(scale=2, backend=backend, variant="lite", use=use)
        (engine,) = choice.engines
        outputs = storage(engine.manifest, SIZES)
        engine.run(drawn_inputs(engine.manifest, SIZES), outputs)
        if isinstance(engine, Swapping):
            engine.wait()
            outputs = storage(engine.manifest, SIZES)
            engine.run(drawn_inputs(engine.manifest, SIZES), outputs)
        assert (engine.backend, engine.manifest.precision) == ("tensorrt", precision)
        engine.close()
    with pytest.raises(
        EngineError, match="tensorrt-int8 runs int8-symmetric, and lite x3 is there"
    ):
        choose_super_resolution(scale=3, backend="tensorrt-int8", variant="lite", use=use)


@pytest.mark.parametrize("model", ["sr-nano-x2-live-fp16", "sr-lite-x2-live-int8-symmetric"])
def test_engines_are_built_by_the_offline_command(
    device: World, capsys: pytest.CaptureFixture[str], model: str
) -> None:
    sizes = ("--size", "64x48", "--size", "128x96", "--optimisation-level", "1")
    assert main(["tensorrt", model, *sizes]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{model} for 64x48, 1 at once: built in ")
    # The self-test's is as large as one that is asked for.
    assert lines[1].startswith(f"{model} for 128x96, 1 at once: was there already, ")
    assert [build["shapes"]["packed"][2:] for build in device.builds] == [[48, 64], [24, 32]]
    assert {build["builder_optimization_level"] for build in device.builds} == {1}
    assert main(["tensorrt", model, *sizes]) == 0
    assert len(device.builds) == 2
