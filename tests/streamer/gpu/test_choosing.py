"""What is chosen where there is a device, and what goes on where it fails."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from threading import Event

import numpy as np
import pytest

from streamer.clock import MonotonicClock
from streamer.enhance.super_resolution import SuperResolution
from streamer.errors import EngineError
from streamer.frame import Frame, Planes
from streamer.gpu.batching import BothWays
from streamer.gpu.choosing import choose_on_device
from streamer.gpu.door import Gpu
from streamer.gpu.fallback import FallingBack, Upscaler
from streamer.gpu.super_resolution import DeviceSuperResolution
from streamer.infer import building
from streamer.infer.device import ResidentEngine
from streamer.infer.ort import OrtCpuEngine
from streamer.infer.reference import PLAIN, ReferenceEngine
from streamer.infer.swapping_resident import Build, ResidentSwapping
from streamer.metrics import Metrics
from streamer.model import ModelManifest
from streamer.ops import host
from tests.kernels.conftest import why_no_device
from tests.streamer.gpu.emulated import ILLEGAL_ADDRESS, OUT_OF_MEMORY, Emulated
from tests.streamer.gpu.engines import QueuedEngine
from tests.streamer.installed import only_installed
from tests.streamer.models import shipped
from tests.streamer.pictures import frame_of, noise, plain, same

WIDTH, HEIGHT = 64, 36

PATIENCE_S = 60


def queued(backend: str, model: ModelManifest, gpu: Gpu, abandoned: Event) -> BothWays:
    engine = QueuedEngine(gpu, model)
    engine.backend = backend
    return engine


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime for the GPU is there, TensorRT is not."""
    only_installed(monkeypatch, "ort-cuda")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("backend", ["auto", "ort-cuda", "tensorrt"])
def test_networks_for_streams_are_opened_on_the_device(emulated: Emulated, backend: str) -> None:
    chosen = choose_on_device(
        scale=2,
        backend=backend,
        variant=None,
        metrics=Metrics(),
        clock=MonotonicClock(),
        door=emulated.gpu,
        engine=queued,
    )
    assert chosen.stage is not None
    assert chosen.stage.tiers == ("medium", "lite", "nano", PLAIN)
    assert {e.manifest.precision for e in chosen.stage.engines.values()} == {"fp16"}
    assert "sr-medium-x2-live-fp16, sr-lite-x2-live-fp16, sr-nano-x2-live-fp16 on " in chosen.reason
    assert "pictures stay on the device (Device of a test, " in chosen.reason
    assert "MiB free)" in chosen.reason
    chosen.stage.close()


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("backend", ["reference", "ort-cpu", "openvino"])
def test_a_backend_of_the_host_opens_no_device(backend: str) -> None:
    def never(_: Metrics) -> Gpu:
        pytest.fail("a device was opened")

    chosen = choose_on_device(
        scale=2,
        backend=backend,
        variant=None,
        metrics=Metrics(),
        clock=MonotonicClock(),
        door=never,
        engine=queued,
    )
    assert (chosen.stage, chosen.reason) == (None, "")


@pytest.mark.usefixtures("installed")
def test_a_device_without_memory_is_said_once_and_the_cpu_does_it(
    emulated: Emulated, caplog: pytest.LogCaptureFixture
) -> None:
    def hungry(backend: str, model: ModelManifest, gpu: Gpu, abandoned: Event) -> BothWays:
        engine = QueuedEngine(gpu, model)
        emulated.limit(1000)
        try:
            gpu.device.enter()
            gpu.device.allocate(10_000)
        except Exception as error:
            engine.close()
            raise EngineError(str(error)) from error
        return engine

    with caplog.at_level(logging.WARNING):
        chosen = choose_on_device(
            scale=2, backend="auto", variant=None, metrics=Metrics(), clock=MonotonicClock(),
            door=emulated.gpu, engine=hungry,
        )  # fmt: skip
    assert chosen.stage is None
    assert "the GPU is not used, the CPU does it: ort-cuda: cuMemAlloc_v2 failed with" in (
        chosen.reason
    )
    assert "CUDA_ERROR_OUT_OF_MEMORY; free memory of the device, or run fewer streams on it" in (
        caplog.text
    )
    with pytest.raises(EngineError, match="CUDA_ERROR_OUT_OF_MEMORY"):
        choose_on_device(
            scale=2, backend="ort-cuda", variant=None, metrics=Metrics(), clock=MonotonicClock(),
            door=emulated.gpu, engine=hungry,
        )  # fmt: skip


@pytest.mark.usefixtures("installed")
@pytest.mark.skipif(why_no_device() is None, reason="there is a device")
def test_without_a_driver_auto_says_so_and_a_named_backend_is_refused() -> None:
    chosen = choose_on_device(
        scale=2, backend="auto", variant=None, metrics=Metrics(), clock=MonotonicClock()
    )
    assert chosen.stage is None
    assert "kernels run on an NVIDIA device only; install its driver" in chosen.reason
    with pytest.raises(EngineError, match="install its driver"):
        choose_on_device(
            scale=2, backend="ort-cuda", variant=None, metrics=Metrics(), clock=MonotonicClock()
        )


def test_where_nothing_is_installed_nothing_is_said() -> None:
    with pytest.MonkeyPatch.context() as patch:
        only_installed(patch)
        chosen = choose_on_device(
            scale=2, backend="auto", variant=None, metrics=Metrics(), clock=MonotonicClock()
        )
    assert (chosen.stage, chosen.gpu, chosen.reason) == (None, None, "")


class Going:
    """A stage on the device that may be taken away, over stages of the host."""

    def __init__(self, emulated: Emulated, *, better: Build | None = None) -> None:
        self.metrics = Metrics()
        self.gpu = emulated.gpu(self.metrics)
        engine: ResidentEngine = QueuedEngine(self.gpu, shipped("fp32"))
        if better is not None:
            engine = ResidentSwapping(engine, better)
        self.stage = FallingBack(
            DeviceSuperResolution(self.gpu, [engine]),
            plain=lambda: _host(ReferenceEngine(2)),
            host=self.open,
            metrics=self.metrics,
        )
        self.refusal = ""

    def open(self) -> Upscaler:
        if self.refusal:
            raise EngineError(self.refusal)
        return _host(OrtCpuEngine(shipped("fp32"), threads=1))

    def send(self, number: int, *, width: int = WIDTH, height: int = HEIGHT) -> Frame:
        frame = frame_of(noise(width=width, height=height, seed=number), pts=number)
        return self.stage.process(frame, tier="nano", with_comparison=False)


def _host(engine: ReferenceEngine | OrtCpuEngine) -> SuperResolution:
    return SuperResolution([engine])


@pytest.fixture
def going(emulated: Emulated) -> Iterator[Going]:
    going = Going(emulated)
    yield going
    going.stage.close()


def fitted(planes: Planes) -> Planes:
    out = noise(width=2 * WIDTH, height=2 * HEIGHT)
    host.fit(plain(planes), out, black=16)
    return out


def test_a_stream_goes_on_when_its_device_is_lost(
    going: Going, emulated: Emulated, caplog: pytest.LogCaptureFixture
) -> None:
    stage = going.stage
    stage.warm_up(WIDTH, HEIGHT)
    on_device = going.send(1)
    assert on_device.tier == "nano"
    assert on_device.planes[0].any()
    emulated.fail("cuLaunchKernel", ILLEGAL_ADDRESS)
    with caplog.at_level(logging.WARNING):
        seen = going.send(2)
    assert seen.tier == PLAIN
    assert same(seen.planes, plain(noise(width=WIDTH, height=HEIGHT, seed=2)))
    assert stage.notice.startswith("the GPU is not used any more, the CPU goes on: cuLaunchKernel")
    assert caplog.text.count(stage.notice) == 1
    assert going.metrics.counted("gpu.fell_back") == 1
    assert stage.tiers == ("nano", PLAIN)
    stage.wait()
    # And as soon as they are open, the networks of the host.
    again = going.send(1)
    assert again.tier == "nano"
    assert np.abs(again.planes[0].astype(int) - on_device.planes[0]).max() <= 1
    assert stage.engines["nano"].backend == "ort-cpu"
    lent, _ = stage.lend(with_comparison=False)
    assert lent[0].shape == (2 * HEIGHT, 2 * WIDTH)


def test_the_output_keeps_its_size_when_the_device_is_lost(
    going: Going, emulated: Emulated
) -> None:
    going.send(1)
    emulated.fail("cuLaunchKernel", ILLEGAL_ADDRESS)
    for number in (2, 3):
        seen = going.send(number, width=48, height=36)
        assert (seen.width, seen.height) == (2 * WIDTH, 2 * HEIGHT)
        going.stage.wait()


def test_without_memory_for_a_second_stream_it_never_begins_on_the_device(
    going: Going, emulated: Emulated
) -> None:
    emulated.fail("cuMemAllocHost_v2", OUT_OF_MEMORY)
    emulated.fail("cuMemAlloc_v2", OUT_OF_MEMORY)
    emulated.limit(10_000)
    going.stage.warm_up(WIDTH, HEIGHT)
    assert "CUDA_ERROR_OUT_OF_MEMORY; free memory of the device" in going.stage.notice
    assert going.send(1).tier == "nano"
    assert going.stage.engines["nano"].backend == "ort-cpu"


def test_where_the_host_has_no_network_either_the_plain_upscale_stays(
    going: Going, emulated: Emulated, caplog: pytest.LogCaptureFixture
) -> None:
    going.refusal = "nothing that is installed runs it; run: pip install onnxruntime"
    going.send(1)
    emulated.fail("cuLaunchKernel", ILLEGAL_ADDRESS)
    with caplog.at_level(logging.WARNING):
        for number in (2, 3):
            assert going.send(number).tier == PLAIN
            going.stage.wait()
    assert caplog.text.count("upscaled without a network from here on: nothing that is") == 1


def test_no_frame_waits_for_a_build_that_goes_on_when_the_device_is_lost(
    emulated: Emulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "ABANDON_S", PATIENCE_S)
    may_end, is_over = Event(), Event()

    def build(sizes: Mapping[str, int], abandoned: Event) -> ResidentEngine:
        # As TensorRT may in one of its longer steps, it does not ask whether anybody waits.
        assert may_end.wait(PATIENCE_S)
        is_over.set()
        raise EngineError("it was given up")

    going = Going(emulated, better=build)
    going.send(1)
    emulated.fail("cuLaunchKernel", ILLEGAL_ADDRESS)
    assert going.send(2).tier == PLAIN
    assert not is_over.is_set()
    may_end.set()
    going.stage.wait()
    assert going.send(3).tier == "nano"
    going.stage.close()
