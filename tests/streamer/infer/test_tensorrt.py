"""The engine over a TensorRT that computes by ONNX Runtime; see ``tensorrt_double``."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from streamer.clock import MonotonicClock
from streamer.errors import EngineError
from streamer.infer import tensorrt
from streamer.infer.backends import Use, choose_super_resolution
from streamer.infer.batching_graph import BATCH, batched
from streamer.infer.batching_group import BATCHES, KEPT_SIZES
from streamer.infer.engine import code_values
from streamer.infer.engine_cache import EngineCache, user_engines
from streamer.infer.ort import OrtCpuEngine
from streamer.infer.self_test import check, drawn_inputs, storage
from streamer.infer.swapping import Swapping
from streamer.infer.tensorrt import TensorRtEngine
from streamer.infer.tensorrt_build import BuildSettings
from streamer.model import ModelManifest
from tests.streamer.infer.host_stream import FACTS, HostStream
from tests.streamer.infer.tensorrt_double import TIMINGS, World
from tests.streamer.models import shipped, tiny

SIZES = {"h": 24, "w": 32}


@pytest.fixture
def stream() -> HostStream:
    return HostStream()


def ready(stream: HostStream, manifest: ModelManifest | None = None) -> TensorRtEngine:
    engine = TensorRtEngine(manifest or shipped("fp16"), stream=stream)
    engine.prepare(SIZES)
    return engine


def run(engine: Any, sizes: dict[str, int] | None = None) -> NDArray[Any]:
    chosen = sizes or SIZES
    outputs = storage(engine.manifest, chosen)
    engine.run(drawn_inputs(engine.manifest, chosen), outputs)
    return outputs["residual"]


@pytest.mark.usefixtures("world")
def test_it_gives_what_its_model_should_and_passes_the_self_test(stream: HostStream) -> None:
    engine = TensorRtEngine(shipped("fp16"), stream=stream)
    check(engine)
    exact = OrtCpuEngine(shipped("fp16"), threads=1)
    inputs = drawn_inputs(shipped("fp16"), SIZES)
    outputs = storage(shipped("fp16"), SIZES)
    exact.run(inputs, outputs)
    residual = run(engine)
    assert residual.dtype == np.float32
    assert np.array_equal(residual, outputs["residual"].astype(np.float32))
    engine.close()
    assert stream.is_closed


@pytest.mark.usefixtures("world")
def test_a_run_is_one_graph_and_every_picture_is_its_own(stream: HostStream) -> None:
    engine = ready(stream)
    inputs = drawn_inputs(engine.manifest, SIZES)
    first, second = (storage(engine.manifest, SIZES) for _ in range(2))
    engine.run(inputs, first)
    engine.run({"packed": inputs["packed"] * 0.5}, second)
    assert stream.replays == 2
    assert not np.array_equal(first["residual"], second["residual"])
    engine.run(inputs, second)
    assert np.array_equal(first["residual"], second["residual"])
    engine.close()


@pytest.mark.usefixtures("world")
def test_what_cannot_be_captured_runs_part_by_part(stream: HostStream) -> None:
    whole = run(ready(stream))
    parts = HostStream(captures=False)
    engine = ready(parts)
    assert np.array_equal(run(engine), whole)
    assert parts.replays == 0
    engine.close()


def test_an_engine_is_built_once_with_what_was_asked_for(world: World, stream: HostStream) -> None:
    settings = BuildSettings(optimisation_level=5, workspace_bytes=1 << 28)
    engine = TensorRtEngine(shipped("fp16"), stream=stream, settings=settings)
    built = run(engine)
    run(engine)
    engine.close()
    (build,) = world.builds
    assert build["shapes"] == {"packed": [1, 6, 24, 32]}
    assert build["builder_optimization_level"] == 5
    assert build["workspace_bytes"] == 1 << 28
    again = TensorRtEngine(shipped("fp16"), stream=HostStream(), settings=settings)
    assert np.array_equal(run(again), built)
    assert len(world.builds) == 1
    again.close()
    other = TensorRtEngine(shipped("fp16"), stream=HostStream())
    run(other)
    assert len(world.builds) == 2
    other.close()


def test_a_model_of_float32_is_computed_in_float32(
    world: World, bindings: Any, tmp_path: Path
) -> None:
    for manifest in (tiny(tmp_path), shipped("fp16")):
        ready(HostStream(), manifest).close()
    assert [build["cleared"] for build in world.builds] == [[bindings.BuilderFlag.TF32], []]


def test_timings_of_one_build_help_the_next(world: World, stream: HostStream) -> None:
    engine = ready(stream)
    engine.prepare({"h": 8, "w": 8})
    assert [build["given_timings"] for build in world.builds] == [b"", TIMINGS + b"1"]
    engine.close()


def test_timings_that_tensorrt_does_not_take_are_left_out(world: World, stream: HostStream) -> None:
    world.rejects_timings = True
    engine = ready(stream)
    engine.prepare({"h": 8, "w": 8})
    assert [build["given_timings"] for build in world.builds] == [b"", b""]
    engine.close()


def test_damaged_timings_never_reach_tensorrt(
    world: World, stream: HostStream, tmp_path: Path
) -> None:
    cache = EngineCache(tmp_path / "engines")
    engine = TensorRtEngine(shipped("fp16"), stream=stream, cache=cache)
    engine.prepare(SIZES)
    (path,) = cache.folder.glob("timings-*")
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    engine.prepare({"h": 8, "w": 8})
    assert world.builds[1]["given_timings"] == b""
    engine.close()


def test_an_engine_of_another_device_is_built_anew(world: World, stream: HostStream) -> None:
    # As when a driver or a card changes without a word to the key.
    world.tensorrt_device = "Another"
    ready(HostStream()).close()
    world.tensorrt_device = "This computer"
    engine = ready(stream)
    assert len(world.builds) == 2
    engine.close()
    ready(HostStream()).close()
    assert len(world.builds) == 2


def test_each_device_and_driver_has_engines_of_its_own(world: World) -> None:
    for facts in (FACTS, replace(FACTS, driver="590.1"), replace(FACTS, name="NVIDIA L4")):
        ready(HostStream(facts=facts)).close()
    assert len(world.builds) == 3


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(
    world: World, cache: Path, stream: HostStream, caplog: pytest.LogCaptureFixture
) -> None:
    cache.write_text("a file where the folder should be")
    engine = ready(stream)
    with caplog.at_level(logging.WARNING):
        engine.prepare({"h": 8, "w": 8})
    assert run(engine).any()
    engine.close()
    assert len(world.builds) == 2


@pytest.mark.usefixtures("world")
def test_sizes_long_gone_give_their_memory_back(stream: HostStream) -> None:
    engine = TensorRtEngine(shipped("fp16"), stream=stream)
    taken = []
    for number in range(KEPT_SIZES + 3):
        run(engine, {"h": 8, "w": 8 + number})
        taken.append(len(stream.live))
    assert max(taken) == taken[-1] == 4 * KEPT_SIZES
    engine.close()


@pytest.mark.usefixtures("world")
def test_what_is_in_use_stays_open_while_other_sizes_come_and_go(stream: HostStream) -> None:
    engine = TensorRtEngine(shipped("fp16"), stream=stream)
    plan = engine.resident(SIZES)
    for number in range(KEPT_SIZES + 3):
        engine.resident({"h": 8, "w": 8 + number})
        assert engine.resident(SIZES) is plan
    engine.close()


@pytest.mark.usefixtures("world")
def test_four_sizes_of_picture_stay_open_in_all_batch_sizes(stream: HostStream) -> None:
    engine = TensorRtEngine(batched(shipped("fp16")), stream=stream)
    used = [{BATCH: number, "h": 8, "w": 8 + n} for n in range(4) for number in BATCHES]
    plans = [engine.resident(sizes) for sizes in used]
    assert [engine.resident(sizes) for sizes in used] == plans
    engine.close()


def refusal(manifest: ModelManifest | None = None, *, stream: HostStream | None = None) -> str:
    """What an engine says that cannot be made ready; nothing of it may stay behind."""
    stream = stream or HostStream()
    engine = TensorRtEngine(manifest or shipped("fp16"), stream=stream)
    with pytest.raises(EngineError) as error:
        engine.prepare(SIZES)
    engine.close()
    assert stream.is_closed
    return str(error.value)


def test_a_graph_that_cannot_be_read_is_named_with_the_parsers_words(world: World) -> None:
    world.parse_errors = ["no importer registered for op: Magic"]
    said = refusal()
    assert "cannot read sr-nano-x2-live-fp16.onnx (no importer registered for op: Magic" in said
    assert "at node 7" in said


def test_a_build_without_memory_says_what_to_do(world: World) -> None:
    world.build_error = "Error Code 2: OutOfMemory (Requested size was 1 TB)"
    said = refusal()
    assert "cannot build sr-nano-x2-live-fp16.onnx for h=24, w=32 (Error Code 2: OutOf" in said
    assert said.endswith(
        "free memory of the device, use a smaller network, or use another --backend"
    )


@pytest.mark.usefixtures("world")
def test_a_device_without_memory_leaves_nothing_locked() -> None:
    class Full(HostStream):
        def allocate(self, size_bytes: int) -> int:
            raise EngineError(f"{size_bytes} bytes are more than there is")

    assert "are more than there is" in refusal(stream=Full())


def test_a_driver_older_than_cuda_is_told_apart(world: World) -> None:
    world.null_pointer = (
        "CUDA initialization failure with error: 35. Please check your installation"
    )
    assert "the driver is older than its CUDA: update the driver" in refusal()


def test_a_device_that_is_not_there_is_told_apart(world: World) -> None:
    world.null_pointer = (
        "CUDA initialization failure with error: 100. Please check your installation"
    )
    assert "; see that nvidia-smi lists a device" in refusal()


def test_a_workspace_that_is_too_small_is_no_old_driver(world: World) -> None:
    world.build_error = (
        "Error Code 10: Internal Error (Could not find any implementation for node Conv_0 due to "
        "insufficient workspace. See verbose log for requested sizes.)"
    )
    assert "log for requested sizes.)); free memory of the device, use a smaller" in refusal()


def test_a_cause_is_found_in_what_is_too_long_to_be_shown(world: World) -> None:
    world.build_error = "Error Code 1: Myelin (" + "a name of a layer " * 20 + "out of memory)"
    said = refusal()
    assert "a name of a layer" in said
    assert said.endswith(
        "free memory of the device, use a smaller network, or use another --backend"
    )
    assert len(said) < 500


def test_a_build_that_fails_without_a_word_is_still_a_sentence(world: World) -> None:
    world.build_error = " "
    assert "(it does not say why); use --backend ort-cuda or ort-cpu" in refusal()


def test_a_run_that_fails_frees_its_memory_and_says_so(world: World) -> None:
    world.run_error = "Cask error: an illegal memory access was encountered"
    assert "cannot run sr-nano-x2-live-fp16.onnx (Cask error: an illegal" in refusal()


@pytest.mark.usefixtures("world")
def test_a_model_that_is_not_what_its_manifest_says_is_refused(tmp_path: Path) -> None:
    manifest = tiny(tmp_path)
    wrong = replace(manifest.outputs[0], dtype="float16")
    assert "has residual as float32 (1, 24, 24, 32), the manifest as float16" in refusal(
        replace(manifest, outputs=(wrong,))
    )
    renamed = replace(manifest.inputs[0], name="picture")
    assert "takes 'packed', its manifest names picture" in refusal(
        replace(manifest, inputs=(renamed,))
    )


def test_auto_lets_another_engine_serve_until_the_one_for_the_picture_is_built(
    device: World,
) -> None:
    choice = choose_super_resolution(
        scale=2, backend="auto", variant="nano", use=Use(clock=MonotonicClock())
    )
    (engine,) = choice.engines
    assert isinstance(engine, Swapping)
    assert device.builds == []
    before = run(engine)
    assert engine.backend != "tensorrt"
    engine.wait()
    after = run(engine)
    assert (engine.backend, engine.manifest.precision) == ("tensorrt", "fp16")
    assert [build["shapes"]["packed"][2:] for build in device.builds] == [[24, 32], [48, 64]]
    assert 0 < np.abs(code_values(after) - code_values(before)).mean() < 0.5
    engine.close()


def test_a_build_that_nobody_waits_for_ends_early(device: World) -> None:
    choice = choose_super_resolution(
        scale=2, backend="auto", variant="nano", use=Use(clock=MonotonicClock())
    )
    (engine,) = choice.engines
    assert isinstance(engine, Swapping)
    device.waits_to_be_given_up = True
    run(engine)
    assert device.is_building.wait(20)
    engine.close()
    engine.wait()
    assert len(device.builds) == 1
    assert list(user_engines().folder.glob("*")) == []


def test_what_is_asked_for_by_name_is_built_before_the_stream_begins(device: World) -> None:
    choice = choose_super_resolution(
        scale=2, backend="tensorrt", variant="nano", use=Use(clock=MonotonicClock())
    )
    assert [engine.backend for engine in choice.engines] == ["tensorrt"]
    assert choice.reason == "nano runs here on tensorrt fp16 alone"
    assert len(device.builds) == 1
    choice.engines[0].close()


def test_without_a_device_auto_does_not_even_load_the_package(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt, "has_device", lambda: False)
    world.null_pointer = "nobody should see this"
    choice = choose_super_resolution(
        scale=2, backend="auto", variant="nano", use=Use(clock=MonotonicClock())
    )
    assert choice.engines[0].backend != "tensorrt"
    assert "tensorrt" not in choice.reason
    choice.engines[0].close()


@pytest.mark.parametrize(
    ("level", "workspace_bytes"), [(-1, 1 << 30), (6, 1 << 30), (3, 0), (3, 1000)]
)
def test_settings_that_make_no_sense_are_refused(level: int, workspace_bytes: int) -> None:
    with pytest.raises(EngineError, match="take "):
        BuildSettings(optimisation_level=level, workspace_bytes=workspace_bytes)


@pytest.mark.usefixtures("world")
def test_on_the_device_a_run_is_a_graph_of_its_own_without_copies(stream: HostStream) -> None:
    engine = TensorRtEngine(shipped("fp16"), stream=stream)
    plan = engine.resident(SIZES)
    assert engine.resident(SIZES) is plan
    (packed,), (residual,) = plan.inputs.values(), plan.outputs.values()
    assert (packed.shape, packed.dtype) == ((1, 6, 24, 32), "float16")
    drawn, expected = drawn_inputs(shipped("fp16"), SIZES), storage(shipped("fp16"), SIZES)
    OrtCpuEngine(shipped("fp16"), threads=1).run(drawn, expected)
    stream.live[packed.address][:] = drawn["packed"].reshape(-1).view(np.uint8)
    for runs in (1, 2):
        stream.live[residual.address][:] = 0
        replays = stream.replays
        plan.queue()
        assert not stream.live[residual.address].any(), "it is only queued"
        stream.wait()
        seen = stream.live[residual.address].view(np.float16).reshape(residual.shape)
        assert np.array_equal(seen, expected["residual"]), runs
        assert stream.replays == replays + 1
    assert len(stream.graphs) == 2
    engine.close()


@pytest.mark.usefixtures("world")
def test_on_the_device_a_run_without_graphs_is_queued_step_by_step() -> None:
    stream = HostStream(captures=False)
    engine = TensorRtEngine(shipped("fp16"), stream=stream)
    plan = engine.resident(SIZES)
    plan.queue()
    stream.wait()
    (residual,) = plan.outputs.values()
    assert stream.live[residual.address].any()
    assert not stream.replays
    engine.close()
    HostStream.by_handle.clear()
