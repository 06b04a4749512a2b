from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from streamer.clock import MonotonicClock
from streamer.errors import EngineError
from streamer.infer import backends
from streamer.infer.backends import (
    BACKENDS,
    NAMES,
    Backend,
    Use,
    choose_motion,
    choose_super_resolution,
)
from streamer.infer.batching_pool import ENGINES
from streamer.infer.engine import Deadline
from streamer.infer.openvino import OpenVinoEngine, has_bf16
from streamer.infer.ort import OrtCpuEngine
from streamer.infer.reference import ReferenceEngine
from streamer.infer.swapping import Swapping
from streamer.infer.trial_store import trial_key, user_store
from streamer.model import ModelManifest, find_models
from tests.packages import needs_package
from tests.streamer.models import write_model

SCALES = (1, 2, 3, 4)
USE = Use(clock=MonotonicClock())

choose = partial(choose_super_resolution, use=USE)


@pytest.fixture
def one_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a tiny network for x2 were all that is shipped."""
    write_model(tmp_path)

    def found(*, task: str, scale: int) -> tuple[ModelManifest, ...]:
        return find_models(tmp_path, task=task, scale=scale)

    monkeypatch.setattr(backends, "find_models", found)


@pytest.mark.parametrize("scale", SCALES)
def test_the_reference_engine_is_always_there_and_adds_nothing(scale: int) -> None:
    choice = choose(scale=scale, backend="reference")
    assert isinstance(choice.engines[0], ReferenceEngine)
    assert choice.reason == "asked for with --backend reference"
    residual = np.ones((1, 6 * scale**2, 2, 2), np.float32)
    choice.engines[0].run({"packed": np.ones((1, 6, 2, 2), np.float32)}, {"residual": residual})
    assert not residual.any()


@pytest.mark.parametrize("scale", SCALES)
def test_auto_takes_a_shipped_network_and_says_so(scale: int) -> None:
    choice = choose(scale=scale, backend="auto")
    shipped = find_models(task="super_resolution", scale=scale)
    if shipped:
        assert {engine.manifest.file for engine in choice.engines} <= {m.file for m in shipped}
        assert {engine.backend for engine in choice.engines} <= set(BACKENDS)
        assert "tried here at 640x360" in choice.reason
        variants = {engine.manifest.variant for engine in choice.engines}
        assert choice.costs_ms.keys() == choice.pixel_ns.keys() == variants
        for name, backend in BACKENDS.items():
            is_tried = backend.is_installed() and backend.build is None
            tried = backend.runnable(shipped) if is_tried else []
            assert all(f"{name} {manifest.precision}" in choice.reason for manifest in tried)
    else:
        assert choice.engines[0].backend == "reference"
        assert f"no trained network for x{scale} is shipped yet" in choice.reason
    choice.engines[0].close()


@pytest.mark.usefixtures("one_model")
def test_the_cpu_passes_over_an_fp16_variant(tmp_path: Path) -> None:
    # A graph that no engine may open: trying it would be an error.
    write_model(tmp_path, stem="half", name="sr-tiny-x2-fp16", precision="fp16")
    (tmp_path / "half.onnx").write_bytes(b"")
    choice = choose(scale=2, backend="auto")
    assert {engine.manifest.precision for engine in choice.engines} <= {"fp32", "bf16"}
    assert "fp16" not in choice.reason
    choice.engines[0].close()


@pytest.mark.usefixtures("one_model")
def test_a_network_that_is_there_in_fp16_alone_is_not_run_on_the_cpu(tmp_path: Path) -> None:
    write_model(tmp_path, precision="fp16")
    choice = choose(scale=2, backend="auto")
    assert choice.engines[0].backend == "reference"
    assert "runs sr-tiny-x2 in fp16" in choice.reason
    with pytest.raises(EngineError, match="ort-cpu runs fp32 and int8, and tiny x2 is there in"):
        choose(scale=2, backend="ort-cpu")


@pytest.mark.parametrize("scale", SCALES)
def test_every_network_is_shipped_in_a_precision_for_the_cpu(scale: int) -> None:
    shipped = find_models(task="super_resolution", scale=scale)
    runnable = BACKENDS["ort-cpu"].runnable(shipped)
    assert {m.variant for m in runnable} == {m.variant for m in shipped}


@pytest.mark.usefixtures("one_model")
def test_a_network_is_found_by_its_variant() -> None:
    choice = choose(scale=2, backend="ort-cpu", variant="tiny")
    assert isinstance(choice.engines[0], OrtCpuEngine)
    assert choice.reason == "tiny runs here on ort-cpu fp32 alone"
    choice.engines[0].close()
    with pytest.raises(EngineError, match=r"there is no 'full' network for x2; there are: tiny x2"):
        choose(scale=2, backend="auto", variant="full")
    with pytest.raises(EngineError, match=r"there is no 'tiny' network for x3; there are: tiny x2"):
        choose(scale=3, backend="auto", variant="tiny")


@needs_package("openvino")
@pytest.mark.usefixtures("one_model")
def test_openvino_runs_an_fp32_model_in_bf16_where_the_processor_does(tmp_path: Path) -> None:
    shipped = find_models(tmp_path, task="super_resolution", scale=2)
    tried = [model.precision for model in BACKENDS["openvino"].runnable(shipped)]
    assert tried == (["fp32", "bf16"] if has_bf16() else ["fp32"])
    choice = choose(scale=2, backend="openvino")
    assert isinstance(choice.engines[0], OpenVinoEngine)
    assert choice.engines[0].manifest.precision in tried
    choice.engines[0].close()


@pytest.mark.usefixtures("one_model")
@pytest.mark.parametrize("backend", ["ort-cpu", "openvino", "ort-cuda", "tensorrt"])
def test_a_backend_that_is_not_installed_can_be_left_out_but_not_named(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = {"ort-cpu": "onnxruntime", "ort-cuda": "onnxruntime"}.get(backend, backend)
    write_model(tmp_path, stem="half", name="sr-tiny-x2-fp16", precision="fp16")
    for name in (package, f"{package}_bindings"):
        monkeypatch.setitem(sys.modules, name, None)
    has_bf16.cache_clear()
    with pytest.raises(EngineError, match=f"{backend} needs the package {package}, which is not"):
        choose(scale=2, backend=backend)
    choice = choose(scale=2, backend="auto")
    assert all(engine.backend != backend for engine in choice.engines)
    assert f"{backend} " not in choice.reason
    for engine in choice.engines:
        engine.close()
    monkeypatch.undo()
    has_bf16.cache_clear()


def spoil(folder: Path) -> None:
    """A network that gives half as much again as its manifest says, whatever runs it."""
    write_model(folder, error=0.5)


@pytest.mark.usefixtures("one_model")
def test_a_named_backend_that_fails_its_self_test_is_refused(tmp_path: Path) -> None:
    spoil(tmp_path)
    with pytest.raises(EngineError, match="fp32 on ort-cpu is wrong on this processor: residual"):
        choose(scale=2, backend="ort-cpu")


@pytest.mark.usefixtures("one_model")
def test_auto_does_without_a_network_that_fails_its_self_test_and_says_so(tmp_path: Path) -> None:
    spoil(tmp_path)
    choice = choose(scale=2, backend="auto")
    assert [engine.backend for engine in choice.engines] == ["reference"]
    assert choice.reason.startswith("tiny is not used: fp32 on ort-cpu is wrong on this processor")


@pytest.mark.usefixtures("one_model")
def test_a_network_that_fails_leaves_its_place_to_the_cheaper_one(tmp_path: Path) -> None:
    spoil(tmp_path)
    write_model(tmp_path, stem="nano", name="sr-nano-x2", variant="nano")
    choice = choose(scale=2, backend="auto")
    assert [engine.manifest.variant for engine in choice.engines] == ["nano"]
    assert choice.reason.startswith("nano ")
    assert "; tiny is not used: fp32 on ort-cpu is wrong" in choice.reason
    choice.engines[0].close()


def test_a_trial_that_the_user_has_made_is_not_made_again() -> None:
    shipped = find_models(task="super_resolution", scale=3)
    models = {f"ort-cpu {m.precision}": m for m in shipped if m.variant == "lite"}
    del models["ort-cpu fp16"]
    user_store().keep(trial_key(models), {"ort-cpu fp32": 1.0, "ort-cpu int8": 2.0})
    # Alone: what a trial of a smaller network finds hopeless here is not looked up with this one.
    choice = choose(scale=3, backend="ort-cpu", variant="lite")
    assert [engine.manifest.precision for engine in choice.engines] == ["fp32"]
    assert choice.reason.startswith("lite as in the trial of ")
    choice.engines[0].close()


@pytest.mark.usefixtures("one_model")
@pytest.mark.parametrize("task", ["interpolation", "prediction"])
@pytest.mark.parametrize("backend", NAMES)
def test_without_a_network_frames_are_made_from_motion_alone(
    task: Literal["interpolation", "prediction"], backend: str
) -> None:
    choice = choose_motion(task=task, backend=backend, use=USE)
    assert [engine.backend for engine in choice.engines] == ["reference"]
    if backend == "reference":
        assert choice.reason == "asked for with --backend reference"
    else:
        assert f"no trained network for {task} is shipped yet" in choice.reason


def write_motion(folder: Path) -> None:
    """As if a network for interpolation were shipped; the graph is that of the tiny one."""
    inputs = [{"name": "packed", "shape": [1, 6, "h", "w"]}]
    write_model(folder, scale=1, name="vfi-tiny", task="interpolation", stem="vfi", inputs=inputs)


@pytest.mark.usefixtures("one_model")
@pytest.mark.parametrize("backend", ["auto", "ort-cpu"])
def test_a_network_for_made_frames_comes_first_but_between_two_of_a_live_stream(
    backend: str, tmp_path: Path
) -> None:
    write_motion(tmp_path)
    of_file, live = (
        choose_motion(task="interpolation", backend=backend, use=replace(USE, is_live=is_live))
        for is_live in (False, True)
    )
    assert of_file.engines[0].manifest.name == "vfi-tiny"
    assert [engine.backend for engine in (*of_file.engines[1:], *live.engines)] == ["reference"] * 2
    assert live.reason.startswith("live, frames between two are made from motion alone")
    of_file.engines[0].close()


def test_an_unknown_backend_is_refused_for_made_frames_too() -> None:
    with pytest.raises(EngineError, match="there is no backend 'magic'; use one of: auto, "):
        choose_motion(task="prediction", backend="magic", use=USE)


@pytest.mark.usefixtures("one_model")
def test_networks_for_undamaged_pictures_stand_back_where_there_are_others(
    tmp_path: Path,
) -> None:
    # The same variant once more, and one that would be the costliest of all.
    write_model(tmp_path, training="live")
    for variant in ("tiny", "medium"):
        name = f"sr-{variant}-x2-clean"
        changes: dict[str, Any] = {"name": name, "variant": variant, "training": "clean"}
        write_model(tmp_path, stem=name, macs_per_pixel=9, **changes)
    choice = choose(scale=2, backend="auto")
    assert [engine.manifest.name for engine in choice.engines] == ["sr-tiny-x2"]
    for engine in choice.engines:
        engine.close()
    with pytest.raises(EngineError, match=r"no 'medium' network for x2; there are: tiny x2;"):
        choose(scale=2, backend="auto", variant="medium")


@pytest.mark.usefixtures("one_model")
def test_networks_for_undamaged_pictures_serve_where_there_is_nothing_else(tmp_path: Path) -> None:
    for variant, cost in (("medium", 2), ("lite", 1)):
        name = f"sr-{variant}-x3-clean"
        changes: dict[str, Any] = {"name": name, "variant": variant, "training": "clean"}
        write_model(tmp_path, scale=3, stem=name, macs_per_pixel=cost, **changes)
    choice = choose(scale=3, backend="auto")
    names = [engine.manifest.name for engine in choice.engines]
    assert names == ["sr-medium-x3-clean", "sr-lite-x3-clean"]
    for engine in choice.engines:
        engine.close()
    choice = choose(scale=3, backend="auto", variant="lite")
    assert [engine.manifest.name for engine in choice.engines] == ["sr-lite-x3-clean"]
    choice.engines[0].close()


@pytest.mark.usefixtures("one_model")
def test_a_named_backend_without_a_network_is_refused() -> None:
    with pytest.raises(EngineError, match="no trained network for x4"):
        choose(scale=4, backend="ort-cpu")


@pytest.mark.usefixtures("one_model")
def test_without_any_runtime_auto_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = Backend(lambda: False, OrtCpuEngine, precisions=("fp32",))
    monkeypatch.setattr(backends, "BACKENDS", dict.fromkeys(BACKENDS, absent))
    choice = choose(scale=2, backend="auto")
    assert choice.engines[0].backend == "reference"
    assert choice.reason.endswith(f"run: {sys.executable} -m pip install onnxruntime")


def test_an_unknown_backend_is_refused_with_those_there_are() -> None:
    with pytest.raises(EngineError) as refusal:
        choose(scale=2, backend="magic")
    assert str(refusal.value) == (f"there is no backend 'magic'; use one of: {', '.join(NAMES)}")


def several_at_once(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> list[OrtCpuEngine]:
    """As if there were one backend, which runs several pictures at once; what was opened of it."""
    opened: list[OrtCpuEngine] = []

    def open_one(manifest: ModelManifest) -> OrtCpuEngine:
        opened.append(OrtCpuEngine(manifest, threads=1))
        return opened[-1]

    backend = Backend(lambda: True, open_one, precisions=("fp32",), batches=True, **changes)
    monkeypatch.setattr(backends, "BACKENDS", {"several": backend})
    monkeypatch.setattr(backends, "NAMES", ("auto", "reference", "several"))
    return opened


@pytest.mark.usefixtures("one_model")
def test_streams_share_an_engine_that_runs_several_pictures_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = several_at_once(monkeypatch)
    choices = [
        choose(scale=2, backend=name, use=replace(USE, deadline=Deadline()))
        for name in ("auto", "several")
    ]
    assert len(opened) == 1
    assert opened[0].manifest.inputs[0].shape == ("n", 6, "h", "w")
    (first,), (second,) = (choice.engines for choice in choices)
    assert first is not second
    assert first.manifest.inputs[0].shape == (1, 6, "h", "w")
    assert len(ENGINES) == 1
    assert not choices[0].costs_ms, "what waits for other streams tells nothing"
    first.close()
    assert len(ENGINES) == 1
    second.close()
    assert len(ENGINES) == 0
    choose(scale=2, backend="auto", use=replace(USE, deadline=Deadline())).engines[0].close()
    assert len(opened) == 2


@pytest.mark.usefixtures("one_model")
def test_who_has_no_stream_has_an_engine_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = several_at_once(monkeypatch)
    choice = choose(scale=2, backend="auto")
    assert choice.engines == tuple(opened)
    assert len(ENGINES) == 0
    choice.engines[0].close()


@pytest.mark.usefixtures("one_model")
def test_a_shared_engine_that_fails_its_self_test_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(tmp_path)
    several_at_once(monkeypatch)
    choice = choose(scale=2, backend="auto", use=replace(USE, deadline=Deadline()))
    assert [engine.backend for engine in choice.engines] == ["reference"]
    assert len(ENGINES) == 0


@pytest.mark.usefixtures("one_model")
def test_what_takes_long_to_build_is_built_once_for_all_streams(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    several_at_once(monkeypatch)
    built: list[Mapping[str, int]] = []
    closed: list[Mapping[str, int]] = []

    class Built(OrtCpuEngine):
        def __init__(self, manifest: ModelManifest, sizes: Mapping[str, int]) -> None:
            super().__init__(replace(manifest, name="built"), threads=1)
            self.sizes = sizes
            built.append(sizes)

        def close(self) -> None:
            closed.append(self.sizes)
            super().close()

    slow = Backend(
        lambda: True,
        OrtCpuEngine,
        precisions=("fp32",),
        build=lambda manifest, sizes, abandoned: Built(manifest, sizes),
        batches=True,
    )
    monkeypatch.setattr(backends, "BACKENDS", {**backends.BACKENDS, "slow": slow})
    picture = {"packed": np.ones((1, 6, 6, 8), np.float32)}
    engines = [
        choose(scale=2, backend="auto", use=replace(USE, deadline=Deadline())).engines[0]
        for _ in range(2)
    ]
    for engine in engines:
        assert isinstance(engine, Swapping)
        for _ in range(2):
            engine.run(picture, {"residual": np.empty((1, 24, 6, 8), np.float32)})
            engine.wait()
        assert engine.manifest.name == "built"
    # Larger batch sizes are the engine's own affair, once streams come for them.
    assert built == [{"h": 6, "w": 8, "n": 1}]
    assert closed == []
    for engine in engines:
        engine.close()
    assert closed == built
    assert len(ENGINES) == 0


def test_only_gpus_run_several_pictures_at_once() -> None:
    batching = {name for name, one in BACKENDS.items() if one.batches}
    assert batching == {"ort-cuda", "tensorrt", "tensorrt-int8"}
