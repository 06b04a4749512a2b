"""The whole way on a real GPU; without one there is nothing to see here but the skip."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from streamer.clock import MonotonicClock
from streamer.enhance.super_resolution import SuperResolution
from streamer.gpu.choosing import choose_on_device
from streamer.gpu.door import Gpu
from streamer.gpu.super_resolution import DeviceSuperResolution
from streamer.infer import ort_cuda, tensorrt_api
from streamer.infer.batching_pool import ENGINES
from streamer.infer.ort import OrtCpuEngine
from streamer.infer.swapping_resident import ResidentSwapping
from streamer.metrics import Metrics
from tests.streamer.gpu.emulated import RealDoor
from tests.streamer.infer.batch_streams import at_once
from tests.streamer.models import shipped
from tests.streamer.pictures import frame_of, noise

pytestmark = pytest.mark.needs_cuda


def needs(backend: str) -> None:
    if backend == "ort-cuda" and not ort_cuda.is_installed():
        pytest.skip("needs onnxruntime-gpu: pip install '.[gpu]'")
    if backend == "tensorrt" and not tensorrt_api.is_there():
        pytest.skip("needs tensorrt: pip install '.[gpu]'")


def opened(door: RealDoor, backend: str, variant: str) -> tuple[DeviceSuperResolution, Gpu]:
    """As a stream opens it."""
    chosen = choose_on_device(
        scale=2,
        backend=backend,
        variant=variant,
        metrics=Metrics(),
        clock=MonotonicClock(),
        door=door.gpu,
    )
    assert chosen.stage is not None, chosen.reason
    assert chosen.gpu is not None
    return chosen.stage, chosen.gpu


def play(
    stage: DeviceSuperResolution,
    variant: str,
    pictures: range,
    *,
    width: int = 640,
    height: int = 360,
) -> None:
    """Frames, each of which has to be the one that the host makes."""
    on_host = SuperResolution([OrtCpuEngine(shipped("fp32", variant))])
    for number in pictures:
        frame = frame_of(noise(width=width, height=height, seed=number))
        seen = stage.process(frame, tier=variant, with_comparison=False)
        expected = on_host.process(frame, tier=variant, with_comparison=False)
        for one, other in zip(seen.planes, expected.planes, strict=True):
            apart = np.abs(one.astype(int) - other)
            assert apart.max() <= 2
            assert (apart > 0).mean() < 0.05
        del seen


@pytest.mark.parametrize("variant", ["lite", "nano"])
@pytest.mark.parametrize("backend", ["ort-cuda", "tensorrt"])
def test_frames_are_those_of_the_host(real_door: RealDoor, backend: str, variant: str) -> None:
    needs(backend)
    stage, gpu = opened(real_door, backend, variant)
    stage.warm_up(640, 360)
    allocations = gpu.memory.allocations, gpu.pinned.allocations
    play(stage, variant, range(8))
    assert (gpu.memory.allocations, gpu.pinned.allocations) == allocations
    stage.close()
    gpu.device.close()


def test_streams_that_share_an_engine_get_their_own_pictures(real_door: RealDoor) -> None:
    needs("ort-cuda")
    streams = [opened(real_door, "ort-cuda", "nano") for _ in range(4)]
    assert len(ENGINES) == 1
    plays = [
        partial(play, stage, "nano", range(8 * n, 8 * n + 8))
        for n, (stage, _) in enumerate(streams)
    ]
    assert at_once(plays) == 4 * [None]
    for stage, gpu in streams:
        stage.close()
        gpu.device.close()
    assert len(ENGINES) == 0


def test_auto_takes_the_device(real_door: RealDoor) -> None:
    needs("ort-cuda")
    stage, gpu = opened(real_door, "auto", "nano")
    play(stage, "nano", range(2))
    stage.close()
    gpu.device.close()


def test_tensorrt_takes_over_once_it_is_built(real_door: RealDoor) -> None:
    needs("ort-cuda")
    needs("tensorrt")
    stage, gpu = opened(real_door, "auto", "nano")
    engine = stage.engines["nano"]
    assert isinstance(engine, ResidentSwapping)
    # Small, for each batch size takes a build.
    play(stage, "nano", range(2), width=64, height=36)
    assert engine.backend == "ort-cuda"
    engine.wait()
    play(stage, "nano", range(2, 6), width=64, height=36)
    assert engine.backend == "tensorrt"
    stage.close()
    gpu.device.close()
