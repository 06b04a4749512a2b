"""Batches on TensorRT's engine, over a TensorRT that computes by ONNX Runtime."""

from __future__ import annotations

from threading import Event
from typing import Any

import numpy as np
import pytest

from streamer.clock import MonotonicClock
from streamer.infer import self_test
from streamer.infer.batching import BatchingEngine
from streamer.infer.batching_graph import batched
from streamer.infer.engine import Deadline, Tensors
from streamer.infer.ort import OrtCpuEngine
from streamer.infer.tensorrt import TensorRtEngine
from streamer.model import MODELS, ModelManifest, read_manifest
from tests.streamer.infer.batch_streams import FOR_EVER_NS, LATE_NS, at_once
from tests.streamer.infer.host_stream import HostStream
from tests.streamer.infer.tensorrt_double import World
from tests.streamer.infer.test_batching_on_a_device import SIZES, STREAMS, play_eight_streams

pytestmark = pytest.mark.usefixtures("world")


def test_two_streams_are_one_run_of_a_plan_for_two() -> None:
    manifest = read_manifest(MODELS / "sr-nano-x2-live-fp16.json")

    opened: list[TensorRtEngine] = []

    def open_one(model: ModelManifest) -> TensorRtEngine:
        opened.append(TensorRtEngine(model, stream=HostStream()))
        return opened[0]

    door = BatchingEngine(open_one, manifest, MonotonicClock(), window_ns=FOR_EVER_NS)
    deadline = Deadline(LATE_NS)
    leases = [door.lease(deadline) for _ in range(2)]
    random = np.random.default_rng(1)
    pictures = random.random((2, 1, 6, 18, 32)).astype(np.float32)
    seen = np.zeros((2, 1, 24, 18, 32), np.float32)

    def play(number: int) -> None:
        leases[number].run({"packed": pictures[number]}, {"residual": seen[number]})

    for number in range(2):
        assert at_once([lambda number=number: play(number)]) == [None]  # type: ignore[misc]
    # The plan for two is built meanwhile, and taken when there is another picture.
    opened[0]._building.wait()
    for _ in range(2):
        assert at_once([lambda: play(0)]) == [None]
    deadline.ns = None
    seen[:] = 0
    runs = dict(door.runs)
    assert at_once([lambda: play(0), lambda: play(1)]) == [None, None]
    assert door.runs[2] == runs[2] + 1
    exact, expected = OrtCpuEngine(manifest, threads=1), np.zeros((1, 24, 18, 32), np.float16)
    for picture, residual in zip(pictures, seen, strict=True):
        exact.run({"packed": picture.astype(np.float16)}, {"residual": expected})
        assert np.array_equal(residual, expected.astype(np.float32))
    door.close()


def test_streams_that_play_while_larger_batches_are_built_come_into_one_run(
    device: World,
) -> None:
    seen: set[bytes] = set()

    class Busy(TensorRtEngine):
        """Its larger batches are built once each stream has had a picture."""

        def run(self, inputs: Tensors, outputs: Tensors) -> None:
            super().run(inputs, outputs)
            if inputs["packed"].shape == (1, 6, SIZES["h"], SIZES["w"]):
                seen.add(inputs["packed"].tobytes())
            if len(seen) == STREAMS and device.waits_for_the_end is not None:
                device.waits_for_the_end.set()

    # What single pictures need is there.
    ahead = TensorRtEngine(read_manifest(MODELS / "sr-nano-x2-live-fp16.json"))
    for sizes in (self_test.SIZES, SIZES):
        ahead.prepare(sizes)
    ahead.close()
    device.waits_for_the_end = Event()
    play_eight_streams(Busy)


def test_every_batch_size_is_a_plan_of_its_own_and_the_plan_for_one_is_the_usual_one() -> None:
    manifest = read_manifest(MODELS / "sr-nano-x2-live-fp16.json")
    usual = TensorRtEngine(manifest, stream=HostStream())
    several = TensorRtEngine(batched(manifest), stream=HostStream())

    def key(engine: TensorRtEngine, **sizes: int) -> Any:
        return engine._key(sizes)

    assert key(several, n=1, h=18, w=32) == key(usual, h=18, w=32)
    assert key(several, n=2, h=18, w=32) != key(several, n=1, h=18, w=32)
    assert key(several, n=2, h=18, w=32).shapes["packed"] == (2, 6, 18, 32)
    usual.close()
    several.close()
