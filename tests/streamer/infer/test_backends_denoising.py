"""Which engine of the host cleans, steadies and makes pictures, by what is installed and what is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from streamer.clock import MonotonicClock
from streamer.errors import EngineError
from streamer.infer import backends
from streamer.infer.backends import (
    BACKENDS,
    NAMES,
    ON_HOST,
    Backend,
    Use,
    choose_following,
    choose_motion,
)
from streamer.infer.engine import Deadline
from streamer.infer.ort import OrtCpuEngine
from streamer.infer.self_test import check
from streamer.model import FOLLOWING, ModelManifest, find_models
from tests.packages import needs_package

USE = Use(clock=MonotonicClock(), deadline=Deadline(), threads=1)

HOST = ("native", "ort-cpu", "openvino")

tasks = pytest.mark.parametrize("task", FOLLOWING)


def on_host(backend: str) -> bool:
    return BACKENDS[backend].is_installed()


@tasks
@pytest.mark.parametrize("backend", ["auto", "ort-cuda", "tensorrt", "tensorrt-int8"])
def test_the_host_follows_pictures_whichever_device_is_named(task: str, backend: str) -> None:
    choice = choose_following(task=task, backend=backend, use=USE)
    (engine,) = choice.engines
    assert engine.manifest.task == task
    assert engine.backend in HOST
    tried = [name for name in HOST if f"{name} " in choice.reason]
    assert tried == [name for name in HOST if on_host(name)]
    check(engine)
    engine.close()


@pytest.mark.parametrize(
    "backend", ["native", "ort-cpu", pytest.param("openvino", marks=needs_package("openvino"))]
)
def test_a_backend_of_the_host_that_is_named_is_taken(backend: str) -> None:
    if not on_host(backend):
        pytest.skip(f"{backend} is not installed")
    choice = choose_following(task="denoising", backend=backend, use=USE)
    (engine,) = choice.engines
    assert engine.backend == backend
    assert (
        engine.manifest.precision in BACKENDS[backend].precisions
        or engine.manifest.precision == "bf16"
    )
    assert choice.reason
    engine.close()


def test_the_reference_knows_no_way_to_clean() -> None:
    choice = choose_following(task="denoising", backend="reference", use=USE)
    assert choice.engines == ()
    assert choice.reason == "asked for with --backend reference"


def test_an_unknown_backend_is_refused_with_those_there_are() -> None:
    with pytest.raises(EngineError) as refusal:
        choose_following(task="denoising", backend="magic", use=USE)
    assert str(refusal.value) == f"there is no backend 'magic'; use one of: {', '.join(NAMES)}"


@pytest.mark.parametrize("task", ["interpolation", "prediction"])
@pytest.mark.parametrize("backend", ["ort-cuda", "tensorrt", "tensorrt-int8"])
def test_the_host_makes_pictures_whichever_device_is_named(
    task: Literal["interpolation", "prediction"], backend: str
) -> None:
    choice = choose_motion(task=task, backend=backend, use=replace(USE, is_live=False))
    best, reference = choice.engines
    assert best.manifest.task == task
    assert best.backend in HOST
    assert reference.backend == "reference"
    best.close()


@pytest.mark.parametrize("task", sorted({*ON_HOST} - {"super_resolution"}))
def test_no_backend_of_a_device_runs_its_network(task: str) -> None:
    models = find_models(task=task, scale=1)
    assert {model.precision for model in models} == {"fp32", "int8"}
    runs = {name for name, backend in BACKENDS.items() if backend.runnable(models)}
    assert runs == {name for name in HOST if task in BACKENDS[name].tasks}


def test_a_device_that_is_there_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_: ModelManifest) -> OrtCpuEngine:
        pytest.fail("a device was opened")

    device = Backend(lambda: True, never, precisions=("fp32",), batches=True)
    monkeypatch.setattr(backends, "BACKENDS", {"device": device, "ort-cpu": BACKENDS["ort-cpu"]})
    (engine,) = choose_following(task="denoising", backend="auto", use=USE).engines
    assert engine.backend == "ort-cpu"
    engine.close()


def test_where_no_network_is_shipped_it_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def found(*, task: str, scale: int) -> tuple[ModelManifest, ...]:
        return find_models(tmp_path, task=task, scale=scale)

    monkeypatch.setattr(backends, "find_models", found)
    for backend in ("auto", "ort-cpu"):
        choice = choose_following(task="denoising", backend=backend, use=USE)
        assert choice.engines == ()
        assert choice.reason == "no trained network for denoising is shipped"


def test_without_any_runtime_nothing_is_cleaned_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    absent = Backend(
        lambda: False, OrtCpuEngine, precisions=("fp32",), tasks=("denoising",), has_threads=True
    )
    monkeypatch.setattr(backends, "BACKENDS", dict.fromkeys(BACKENDS, absent))
    choice = choose_following(task="denoising", backend="auto", use=USE)
    assert choice.engines == ()
    assert "nothing that is installed runs denoise-lite" in choice.reason


class Wrong(OrtCpuEngine):
    """Says it is right, and gives nothing."""

    def run(self, inputs: object, outputs: object) -> None: ...


def test_a_wrong_engine_is_left_out_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Backend(
        lambda: True, Wrong, precisions=("fp32",), tasks=("denoising",), has_threads=True
    )
    monkeypatch.setattr(backends, "BACKENDS", {"ort-cpu": wrong})
    choice = choose_following(task="denoising", backend="auto", use=USE)
    assert choice.engines == ()
    assert choice.reason.startswith("lite is not used: fp32 on ort-cpu is wrong on this processor")
    with pytest.raises(EngineError, match="fp32 on ort-cpu is wrong on this processor: change of"):
        choose_following(task="denoising", backend="ort-cpu", use=USE)
