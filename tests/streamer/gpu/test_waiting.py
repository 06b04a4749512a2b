"""How the host waits for a device: long enough, and asleep."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from kernels.arguments import Layout
from kernels.stream import Event
from streamer.gpu.arrays import device_array, picture_of
from streamer.gpu.door import Gpu
from streamer.gpu.hardware import Intake
from streamer.gpu.super_resolution import DeviceSuperResolution
from tests.streamer.gpu.emulated import Emulated, RealDoor
from tests.streamer.gpu.engines import QueuedEngine
from tests.streamer.gpu.test_hardware import HEIGHT, WIDTH, as_device_frame, decoded_on
from tests.streamer.models import shipped
from tests.streamer.pictures import frame_of

SIZE = 4096


@pytest.fixture
def gpu(door: Emulated | RealDoor) -> Iterator[Gpu]:
    gpu = door.gpu()
    yield gpu
    gpu.close()
    gpu.device.close()


def seen_by_a_stream(gpu: Gpu, address: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """What lies there for work that waits for no other stream."""
    landed = gpu.pinned.lease(SIZE, gpu.compute)
    with landed.writing(gpu.compute) as target:
        gpu.compute.download(target, address, SIZE)
    landed.ready.wait()
    return np.asarray(landed).copy()


def test_what_is_uploaded_is_there_for_every_stream(gpu: Gpu) -> None:
    address = gpu.device.allocate(SIZE)
    assert not seen_by_a_stream(gpu, address).any()
    values = np.random.default_rng(1).integers(0, 256, SIZE, np.uint8)
    gpu.device.upload(address, values.ctypes.data, SIZE)
    assert np.array_equal(seen_by_a_stream(gpu, address), values)
    gpu.device.free(address)


def test_who_waits_for_a_stream_or_an_event_sleeps_unless_it_measures(emulated: Emulated) -> None:
    gpu = emulated.gpu()
    sleeps, measures = Event(gpu.device), Event(gpu.device, has_timing=True)
    before = emulated.count("busy waits")
    for event in (sleeps, measures):
        gpu.compute.record(event)
    sleeps.wait()
    gpu.compute.wait()
    assert emulated.count("busy waits") == before
    measures.wait()
    assert emulated.count("busy waits") == before + 1
    for event in (sleeps, measures):
        event.close()
    gpu.close()
    gpu.device.close()


def test_no_frame_keeps_a_core_busy_while_the_device_works(emulated: Emulated) -> None:
    gpu, own = emulated.gpu(), emulated.gpu()
    intake = Intake(own)
    stage = DeviceSuperResolution(gpu, [QueuedEngine(gpu, shipped("fp32"))])
    _, arrays = decoded_on(own, Layout.NV12)
    y, u, v = (np.full((HEIGHT >> n, WIDTH >> n), 128, np.uint8) for n in (0, 1, 1))
    there = picture_of([device_array(array) for array in arrays], Layout.NV12)
    waits = []
    for _ in range(8):
        decoded = as_device_frame(intake.taken_over(there), frame_of((y, u, v)))
        seen = stage.process(decoded, tier="nano", with_comparison=False)
        assert seen.planes[0].any()
        waits.append(emulated.count("busy waits"))
    # Memory is allocated at first, for which the null stream is waited for.
    assert waits[3:] == waits[3:4] * 5
    for array in arrays:
        array.close()
    stage.close()
    intake.close()
