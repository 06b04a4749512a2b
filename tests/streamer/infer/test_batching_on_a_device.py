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
from streamer.infer.sizes import in_order
from streamer.infer.tensorrt import TensorRtEngine
from streamer.model import MODELS, ModelManifest, read_manifest

pytestmark = pytest.mark.needs_cuda

SIZES = {"h": 90, "w": 160}
"""Of the smallest network: TensorRT builds it four times here, once for each batch size."""

STREAMS, ROUNDS = 8, 5

PATIENCE_S = 60


@pytest.fixture(autouse=True)
def needs_device() -> None:
    if not has_device() and os.environ.get("FAIL_WITHOUT_CUDA") != "1":
        pytest.skip("needs a CUDA device")


@pytest.mark.parametrize("backend", ["ort-cuda", "tensorrt"])
def test_eight_streams_in_one_run_each_get_their_own_picture(backend: str) -> None:
    if backend == "ort-cuda" and not ort_cuda.is_installed():
        pytest.skip("needs onnxruntime-gpu: pip install '.[gpu]'")
    if backend == "tensorrt" and not tensorrt_api.is_there():
        pytest.skip("needs tensorrt: pip install '.[gpu]'")
    play_eight_streams(OrtCudaEngine if backend == "ort-cuda" else TensorRtEngine)


def prepare_all(door: BatchingEngine, engine: Engine, run: Callable[[], None]) -> None:
    """Until the largest batch can be run: TensorRT builds while smaller ones are, and what it has
    built is taken when there is another picture."""
    group = door._groups[in_order(SIZES)]
    while group.wants:
        if isinstance(engine, TensorRtEngine):
            engine._building.wait()
        run()
    assert group.places == STREAMS


def play_eight_streams(open_one: Callable[[ModelManifest], Engine]) -> None:
    """Eight streams of one engine, at first one by one; then each of their rounds is one run."""
    manifest = read_manifest(MODELS / "sr-nano-x2-live-fp16.json")
    alone = open_one(manifest)
    opened: list[Engine] = []

    def open_shared(model: ModelManifest) -> Engine:
        opened.append(open_one(model))
        return opened[0]

    # Nobody lives to see the end of this window: a run is full, or the test fails.
    door = BatchingEngine(open_shared, manifest, MonotonicClock(), window_ns=600_000_000_000)
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
    prepare_all(door, opened[0], lambda: leases[0].run(pictures[0], seen[0]))
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
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "it waits for ever"
    assert door.runs[STREAMS] - runs == ROUNDS
    for n in range(STREAMS):
        expected = storage(alone.manifest, SIZES)
        alone.run(pictures[n], expected)
        assert disagreement(alone.manifest, seen[n], alone.manifest, expected) == ""
    door.close()
    alone.close()
