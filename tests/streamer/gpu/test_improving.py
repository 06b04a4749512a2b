"""``auto`` on a device: ONNX Runtime serves, TensorRT's engines are built meanwhile and take over."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.stream import Stream
from streamer.clock import MonotonicClock
from streamer.enhance.super_resolution import SuperResolution
from streamer.errors import EngineError
from streamer.frame import Frame
from streamer.gpu import choosing
from streamer.gpu.batching import BothWays, DeviceLease
from streamer.gpu.choosing import choose_on_device
from streamer.gpu.door import Gpu
from streamer.gpu.super_resolution import DeviceSuperResolution
from streamer.infer import device, tensorrt
from streamer.infer.batching_graph import BatchManifest
from streamer.infer.batching_pool import ENGINES
from streamer.infer.device import DriverStream
from streamer.infer.engine import Deadline, Tensors
from streamer.infer.ort import OrtCpuEngine
from streamer.infer.prebuild import build_engines, buildable
from streamer.infer.swapping_resident import ResidentSwapping
from streamer.infer.tensorrt_build import BuildSettings
from streamer.metrics import Metrics
from tests.streamer.gpu.emulated import Emulated
from tests.streamer.gpu.engines import QueuedEngine, QueuedRun
from tests.streamer.gpu.host_function import queue_on
from tests.streamer.gpu.test_choosing import queued
from tests.streamer.gpu.test_super_resolution import numbered
from tests.streamer.infer.host_stream import HostStream
from tests.streamer.installed import only_installed
from tests.streamer.models import shipped

if TYPE_CHECKING:
    from tests.streamer.infer.tensorrt_double import World

PATIENCE_S = 60


class OnEmulated:
    """What TensorRT's double needs of a stream, on one of the emulated device."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._kept: list[object] = []

    def queue(self, work: Callable[[], Any]) -> None:
        self._kept.append(queue_on(self._stream, work))

    def memory(self, address: int, size_bytes: int) -> NDArray[np.uint8]:
        return np.ctypeslib.as_array((ctypes.c_ubyte * size_bytes).from_address(address))


@pytest.fixture(autouse=True)
def _both_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only_installed(monkeypatch, *choosing.DOORS)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def doubled(backend: str, model: BatchManifest, gpu: Gpu, abandoned: Event) -> BothWays:
    """Our own engine of TensorRT over its double, and something else for ``ort-cuda``."""
    if backend != "tensorrt":
        return queued(backend, model, gpu, abandoned)
    on_emulated: Any = OnEmulated(gpu.compute)
    HostStream.by_handle[gpu.compute.handle] = on_emulated
    return choosing.open_engine(backend, model, gpu, abandoned)


class Going:
    """A stream as ``auto`` opens it."""

    def __init__(self, emulated: Emulated, open_engine: choosing.OpenEngine) -> None:
        chosen = choose_on_device(
            scale=2,
            backend="auto",
            variant="nano",
            metrics=Metrics(),
            clock=MonotonicClock(),
            deadline=Deadline(),
            door=emulated.gpu,
            engine=open_engine,
        )
        assert chosen.stage is not None, chosen.reason
        assert " on ort-cuda; pictures stay on the device" in chosen.reason
        assert chosen.gpu is not None
        self.stage: DeviceSuperResolution = chosen.stage
        self.gpu = chosen.gpu
        engine = self.stage.engines["nano"]
        assert isinstance(engine, ResidentSwapping)
        self.engine = engine
        self._on_host = SuperResolution([OrtCpuEngine(shipped("fp32"), threads=1)])

    def send(self, number: int) -> Frame:
        """A frame, which has to be the one that the host makes."""
        frame = numbered(number)
        # Nobody waits for streams that give no picture now.
        seen = self.stage.process(frame, tier="nano", with_comparison=False, deadline_ns=0)
        expected = self._on_host.process(frame, tier="nano", with_comparison=False)
        for one, other in zip(seen.planes, expected.planes, strict=True):
            assert np.abs(one.astype(int) - other).max() <= 2
        return seen

    @property
    def places(self) -> int:
        """Of the batches that the pictures go in, which TensorRT runs."""
        (group,) = self._shared._groups.values()
        return int(group.places)

    def wait_for_larger(self) -> None:
        """Until the batch size that is being built is there; it is taken before the next picture."""
        self._shared._way._engine._building.wait()

    @property
    def _shared(self) -> Any:
        (lease,) = self.engine._built.values()
        assert isinstance(lease, DeviceLease)
        return lease._share.engine

    def close(self) -> None:
        self.stage.close()
        self.gpu.device.close()


@pytest.fixture(autouse=True)
def _all_given_back() -> Iterator[None]:
    yield
    assert len(ENGINES) == 0


def test_tensorrt_takes_over_between_two_frames_once_it_is_built(
    emulated: Emulated, world: World
) -> None:
    world.waits_for_the_end = Event()
    going = Going(emulated, doubled)
    for number in range(3):
        assert going.send(number).tier == "nano"
        assert going.engine.backend == "ort-cuda"
    assert world.is_building.wait(PATIENCE_S)
    world.waits_for_the_end.set()
    going.engine.wait()
    for number in range(3):
        assert going.send(number).tier == "nano"
        assert going.engine.backend == "tensorrt"
    # The size of the self-test, and that of the picture.
    shapes = [build["shapes"]["packed"] for build in world.builds]
    assert shapes == [[1, 6, 48, 64], [1, 6, 18, 32]]
    going.close()


def test_a_second_stream_takes_part_in_what_the_first_one_built(
    emulated: Emulated, world: World
) -> None:
    first, second = Going(emulated, doubled), Going(emulated, doubled)
    for going in (first, second):
        going.send(1)
        going.engine.wait()
    assert len(world.builds) == 2
    world.waits_for_the_end = Event()
    for going in (first, second):
        assert going.send(2).tier == "nano"
        assert going.engine.backend == "tensorrt"
    # One of each backend, whoever asked.
    assert len(ENGINES) == 2
    # Two at once are built while they are served one by one.
    assert first.places == 1
    world.waits_for_the_end.set()
    first.wait_for_larger()
    first.send(3)
    assert first.places == 2
    assert [build["shapes"]["packed"][0] for build in world.builds] == [1, 1, 2]
    first.close()
    second.send(3)
    second.close()


def test_streams_go_over_at_once_to_what_was_built_ahead(
    emulated: Emulated, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OnThisDevice(DriverStream):
        def __init__(self, stream: Stream | None = None) -> None:
            super().__init__(stream)
            on_emulated: Any = OnEmulated(self._stream)
            HostStream.by_handle[self.handle] = on_emulated

    monkeypatch.setattr(device, "Device", emulated.device)
    monkeypatch.setattr(tensorrt, "DriverStream", OnThisDevice)
    build_engines(
        buildable(scale=2, variant="nano"),
        [(64, 36)],
        settings=BuildSettings(),
        clock=MonotonicClock(),
        report=lambda line: None,
        streams=2,
    )
    ahead = len(world.builds)
    first, second = Going(emulated, doubled), Going(emulated, doubled)
    for number in range(2):
        for going in (first, second):
            going.send(number)
            going.engine.wait()
    assert [going.engine.backend for going in (first, second)] == ["tensorrt"] * 2
    first.send(2)
    assert first.places == 2
    assert len(world.builds) == ahead
    first.close()
    second.close()


def test_a_build_that_fails_is_logged_once_and_ort_cuda_goes_on(
    emulated: Emulated, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.build_error = "Cuda Runtime (out of memory)"
    going = Going(emulated, doubled)
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            going.send(number)
            going.engine.wait()
    assert going.engine.backend == "ort-cuda"
    (record,) = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert "sr-nano-x2-live-fp16 is left to ort-cuda: TensorRT" in record.getMessage()
    assert "out of memory)); free memory of the device, use a smaller" in record.getMessage()
    going.close()


def test_a_stream_that_ends_while_one_is_built_waits_for_no_build(
    emulated: Emulated, world: World
) -> None:
    world.waits_for_the_end = Event()
    going = Going(emulated, doubled)
    going.send(1)
    assert world.is_building.wait(PATIENCE_S)
    # As TensorRT does: it asks after each step whether anybody waits.
    world.waits_for_the_end.set()
    going.close()
    going.engine.wait()


class WrongHere(QueuedEngine):
    """Right at the size of the self-test alone, so far as anybody asks with arrays."""

    def run(self, inputs: Tensors, outputs: Tensors) -> None:
        super().run(inputs, outputs)
        if outputs["residual"].shape[2] < 48:
            outputs["residual"][:] *= 1.5


class FailsLater(QueuedEngine):
    """Runs what is tried, and nothing after that."""

    is_tried = False

    def resident(self, sizes: Any) -> QueuedRun:
        if self.is_tried:
            raise EngineError("the plan is broken; build it anew")
        return super().resident(sizes)


def made_of(kind: type[QueuedEngine], made: list[QueuedEngine]) -> choosing.OpenEngine:
    def opened(backend: str, model: BatchManifest, gpu: Gpu, abandoned: Event) -> BothWays:
        engine = kind(gpu, model) if backend == "tensorrt" else QueuedEngine(gpu, model)
        engine.backend = backend
        if backend == "tensorrt":
            made.append(engine)
        return engine

    return opened


def test_what_differs_from_the_processor_at_this_very_size_never_serves(
    emulated: Emulated, caplog: pytest.LogCaptureFixture
) -> None:
    going = Going(emulated, made_of(WrongHere, []))
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            going.send(number)
            going.engine.wait()
    assert going.engine.backend == "ort-cuda"
    assert caplog.text.count("is left to ort-cuda: residual of sr-nano-x2-live-fp16 is off by") == 1
    going.close()


def test_one_that_fails_later_costs_no_frame_and_is_not_asked_again(
    emulated: Emulated, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[QueuedEngine] = []
    going = Going(emulated, made_of(FailsLater, made))
    going.send(0)
    going.engine.wait()
    going.send(1)
    assert going.engine.backend == "tensorrt"
    (engine,) = made
    assert isinstance(engine, FailsLater)
    engine.is_tried = True
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            assert going.send(number).tier == "nano"
            going.engine.wait()
    assert going.engine.backend == "ort-cuda"
    assert caplog.text.count("is left to ort-cuda: the plan is broken; build it anew") == 1
    going.close()


def test_one_whose_residuals_cannot_be_gives_way_to_the_one_before(emulated: Emulated) -> None:
    made: list[QueuedEngine] = []
    going = Going(emulated, made_of(QueuedEngine, made))
    going.send(0)
    going.engine.wait()
    going.send(1)
    (engine,) = made
    engine.value = np.nan
    frame = numbered(2)
    for _ in range(3):
        seen = going.stage.process(frame, tier="nano", with_comparison=False, deadline_ns=0)
        assert seen.planes[0].any()
    assert going.send(3).tier == "nano"
    assert going.engine.backend == "ort-cuda"
    going.close()
