"""The whole way on a real GPU; without one there is nothing to see here but the skip."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.enhance.super_resolution import SuperResolution
from streamer.gpu.choosing import choose_on_device, open_engine
from streamer.gpu.super_resolution import DeviceSuperResolution
from streamer.infer import ort_cuda, tensorrt_api
from streamer.infer.ort import OrtCpuEngine
from streamer.metrics import Metrics
from tests.streamer.gpu.emulated import RealDoor
from tests.streamer.gpu.test_super_resolution import shipped
from tests.streamer.pictures import frame_of, noise

pytestmark = pytest.mark.needs_cuda


def needs(backend: str) -> None:
    if backend == "ort-cuda" and not ort_cuda.is_installed():
        pytest.skip("needs onnxruntime-gpu: pip install 'streamer[gpu]'")
    if backend == "tensorrt" and not tensorrt_api.is_there():
        pytest.skip("needs tensorrt: pip install 'streamer[gpu]'")


@pytest.mark.parametrize("variant", ["lite", "nano"])
@pytest.mark.parametrize("backend", ["ort-cuda", "tensorrt"])
def test_frames_are_those_of_the_host(real_door: RealDoor, backend: str, variant: str) -> None:
    needs(backend)
    gpu = real_door.gpu()
    manifest = shipped("fp16", variant)
    stage = DeviceSuperResolution(gpu, [open_engine(backend, manifest, gpu)])
    on_host = SuperResolution([OrtCpuEngine(shipped("fp32", variant))])
    stage.warm_up(640, 360)
    allocations = gpu.memory.allocations, gpu.pinned.allocations
    for number in range(8):
        frame = frame_of(noise(width=640, height=360, seed=number))
        seen = stage.process(frame, tier=variant, with_comparison=False)
        expected = on_host.process(frame, tier=variant, with_comparison=False)
        for one, other in zip(seen.planes, expected.planes, strict=True):
            apart = np.abs(one.astype(int) - other)
            assert apart.max() <= 2
            assert (apart > 0).mean() < 0.05
        del seen
    assert (gpu.memory.allocations, gpu.pinned.allocations) == allocations
    stage.close()
    gpu.device.close()


def test_auto_takes_the_device(real_door: RealDoor) -> None:
    needs("ort-cuda")
    chosen = choose_on_device(scale=2, backend="auto", variant=None, metrics=Metrics())
    assert chosen.stage is not None, chosen.reason
    assert "pictures stay on the device" in chosen.reason
    chosen.stage.close()
