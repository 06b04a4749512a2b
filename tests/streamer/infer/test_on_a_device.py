"""Engines on a real GPU; without one there is nothing to see here but the skip."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from streamer.infer import ort_cuda, tensorrt, tensorrt_api
from streamer.infer.agreement import disagreement
from streamer.infer.device import DriverStream, has_device
from streamer.infer.engine import Engine
from streamer.infer.ort import OrtCpuEngine
from streamer.infer.self_test import check, drawn_inputs, storage
from streamer.infer.tensorrt import TensorRtEngine
from tests.streamer.models import shipped

pytestmark = pytest.mark.needs_cuda

SIZES = {"h": 180, "w": 320}


@pytest.fixture(autouse=True)
def needs_device() -> None:
    if not has_device() and os.environ.get("FAIL_WITHOUT_CUDA") != "1":
        pytest.skip("needs a CUDA device")


def needs_tensorrt() -> None:
    if not tensorrt_api.is_there():
        pytest.skip("needs tensorrt: pip install '.[gpu]'")


def run(engine: Engine, sizes: Mapping[str, int] = SIZES) -> NDArray[Any]:
    outputs = storage(engine.manifest, sizes)
    engine.run(drawn_inputs(engine.manifest, sizes), outputs)
    return outputs["residual"]


def assert_right(engine: Engine) -> None:
    """By the stored values, and by the CPU at the size of a stream, again and again."""
    check(engine)
    exact = OrtCpuEngine(shipped("fp32", "lite"))
    expected = {"residual": run(exact)}
    for _ in range(3):
        seen = {"residual": run(engine)}
        assert disagreement(engine.manifest, seen, exact.manifest, expected) == ""


def test_copies_and_graphs_work_as_on_the_host() -> None:
    stream = DriverStream()
    stream.enter()
    inside, outside = stream.lock(1 << 20), stream.lock(1 << 20)
    address = stream.allocate(1 << 20)

    def queue() -> None:
        stream.upload(address, inside)
        stream.download(outside, address)

    graph = stream.capture(queue)
    for number in range(1, 4):
        inside[:] = number
        stream.replay(graph)
        stream.wait()
        assert (outside == number).all()
    stream.drop(graph)
    stream.free(address)
    for memory in (inside, outside):
        stream.unlock(memory)
    stream.close()


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_onnx_runtime_gives_what_the_cpu_gives(precision: str) -> None:
    if not ort_cuda.is_installed():
        pytest.skip("needs onnxruntime-gpu: pip install '.[gpu]'")
    engine = ort_cuda.OrtCudaEngine(shipped(precision, "lite"))
    assert_right(engine)
    engine.close()


def test_tensorrt_gives_what_the_cpu_gives() -> None:
    needs_tensorrt()
    engine = TensorRtEngine(shipped("fp16", "lite"))
    assert_right(engine)
    assert all(plan._graph for plan in engine._plans.values())
    engine.close()


def test_tensorrt_opens_what_it_built_and_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_tensorrt()
    engine = TensorRtEngine(shipped("fp16"))
    built = run(engine)
    engine.close()
    # From here on, nothing can be built.
    monkeypatch.setattr(tensorrt, "build", None)
    engine = TensorRtEngine(shipped("fp16"))
    assert np.array_equal(run(engine), built)
    engine.close()
