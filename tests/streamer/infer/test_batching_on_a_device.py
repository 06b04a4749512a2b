"""Batches on a real GPU; without one there is nothing to see here but the skip."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Thread

import numpy as np
import pytest

from streamer.clock import MonotonicClock
from streamer.infer import ort_cuda, tensorrt_api
from streamer.infer.agreement import disagreement
from streamer.infer.batching import BatchingEngine
from streamer.infer.device import has_device
from streamer.infer.engine import Deadline, Engine
from streamer.infer.ort_cuda import OrtCudaEngine
from streamer.infer.self_test import check, drawn_inputs, storage
from streamer.infer.tensorrt import TensorRtEngine
from streamer.model import MODELS, ModelManifest, read_manifest

pytestmark = pytest.mark.needs_cuda

SIZES = {"h": 180, "w": 320}

STREAMS, ROUNDS = 8, 5


@pytest.fixture(autouse=True)
def needs_device() -> None:
    if not has_device() and os.environ.get("FAIL_WITHOUT_CUDA") != "1":
        pytest.skip("needs a CUDA device")


@pytest.mark.parametrize("backend", ["ort-cuda", "tensorrt"])
def test_eight_streams_in_one_run_each_get_their_own_picture(backend: str) -> None:
    if backend == "ort-cuda" and not ort_cuda.is_installed():
        pytest.skip("needs onnxruntime-gpu: pip install 'streamer[gpu]'")
    if backend == "tensorrt" and not tensorrt_api.is_there():
        pytest.skip("needs tensorrt: pip install 'streamer[gpu]'")
    open_one: Callable[[ModelManifest], Engine] = (
        OrtCudaEngine if backend == "ort-cuda" else TensorRtEngine
    )
    manifest = read_manifest(MODELS / "sr-lite-x2-live-fp16.json")
    alone = open_one(manifest)
    # Nobody lives to see the end of this window: a run is full, or the test fails.
    door = BatchingEngine(open_one, manifest, MonotonicClock(), window_ns=600_000_000_000)
    deadlines = [Deadline(0) for _ in range(STREAMS)]
    leases = [door.lease(deadline) for deadline in deadlines]
    check(leases[0])
    pictures = [
        {
            name: np.roll(array, 7 * n, axis=-1)
            for name, array in drawn_inputs(alone.manifest, SIZES).items()
        }
        for n in range(STREAMS)
    ]
    seen = [storage(alone.manifest, SIZES) for _ in range(STREAMS)]
    for n in range(STREAMS):
        leases[n].run(pictures[n], seen[n])
    runs = door.runs[STREAMS]
    for deadline in deadlines:
        deadline.ns = None

    def play(n: int) -> None:
        for _ in range(ROUNDS):
            leases[n].run(pictures[n], seen[n])

    threads = [Thread(target=play, args=(n,), daemon=True) for n in range(STREAMS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive(), "it waits for ever"
    assert door.runs[STREAMS] - runs == ROUNDS
    for n in range(STREAMS):
        expected = storage(alone.manifest, SIZES)
        alone.run(pictures[n], expected)
        assert disagreement(alone.manifest, seen[n], alone.manifest, expected) == ""
    door.close()
    alone.close()
