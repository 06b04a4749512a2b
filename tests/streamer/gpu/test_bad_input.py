"""What a user sees where a device, its driver or its toolkit is not as it should be."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kernels import compile as compiling
from kernels.driver import Device
from streamer.clock import MonotonicClock
from streamer.enhance.super_resolution import SuperResolution
from streamer.errors import EngineError
from streamer.frame import Frame
from streamer.gpu import self_check
from streamer.gpu.choosing import DeviceChoice, choose_on_device
from streamer.gpu.door import Gpu
from streamer.gpu.fallback import FallingBack
from streamer.infer.batching_pool import ENGINES
from streamer.infer.device import ours
from streamer.infer.engine import Deadline
from streamer.infer.ort import OrtCpuEngine
from streamer.infer.reference import ReferenceEngine
from streamer.metrics import Metrics
from tests.kernels.stand_ins import failing_driver, fake_nvcc
from tests.streamer.gpu.emulated import ILLEGAL_ADDRESS, Emulated
from tests.streamer.gpu.test_choosing import queued
from tests.streamer.gpu.test_super_resolution import numbered
from tests.streamer.installed import only_installed
from tests.streamer.models import shipped
from tests.streamer.pictures import plain, same

HEIGHT, WIDTH = 36, 64

INVALID_IMAGE, UNSUPPORTED_PTX_VERSION, SYSTEM_DRIVER_MISMATCH = 200, 222, 803


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    only_installed(monkeypatch, "ort-cuda")
    # Kernels that another test has tried are not loaded again.
    monkeypatch.setattr(self_check, "_passed", set())


def chosen(door: Callable[[Metrics], Gpu], backend: str = "auto") -> DeviceChoice:
    return choose_on_device(
        scale=2,
        backend=backend,
        variant="nano",
        metrics=Metrics(),
        clock=MonotonicClock(),
        deadline=Deadline(),
        door=door,
        engine=queued,
    )


def is_told(door: Callable[[Metrics], Gpu], *words: str) -> None:
    """``auto`` leaves it to the CPU in one sentence, and a backend that is named is refused with it."""
    choice = chosen(door)
    assert choice.stage is None
    assert choice.reason.startswith("the GPU is not used, the CPU does it: ort-cuda: ")
    with pytest.raises(EngineError) as refused:
        chosen(door, "ort-cuda")
    for text in (choice.reason, str(refused.value)):
        assert all(word in text for word in words), text


@pytest.mark.parametrize(
    ("status", "name", "told"),
    [
        (UNSUPPORTED_PTX_VERSION, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "the driver is older than"),
        (INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "the driver may be older than"),
    ],
)
def test_a_driver_that_is_older_than_the_toolkit_is_told(
    emulated: Emulated, status: int, name: str, told: str
) -> None:
    devices = []

    def door(metrics: Metrics) -> Gpu:
        gpu = emulated.gpu(metrics)
        devices.append(gpu.device)
        emulated.fail("cuModuleLoadData", status)
        return gpu

    is_told(door, name, f"{told} the toolkit; install a newer driver, or compile with an older")
    for device in devices:
        device.close()


def test_a_driver_whose_parts_differ_after_an_update_is_told(emulated: Emulated) -> None:
    def door(metrics: Metrics) -> Gpu:
        emulated.fail("cuInit", SYSTEM_DRIVER_MISMATCH)
        with ours():
            return Gpu(metrics, device=emulated.device(), images=emulated.image)

    is_told(door, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "restart after the driver's update")


def test_a_driver_from_before_cuda_12_is_told(tmp_path: Path) -> None:
    source, library = tmp_path / "old.c", tmp_path / "libold.so"
    entries = ("cuInit", "cuDeviceGet", "cuDevicePrimaryCtxRetain", "cuCtxSetCurrent")
    source.write_text("".join(f"int {entry}(void) {{ return 0; }}\n" for entry in entries))
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True, timeout=60)

    def door(metrics: Metrics) -> Gpu:
        with ours():
            return Gpu(metrics, device=Device(str(library)), images=lambda unit: b"")

    is_told(door, "the driver has no cu", "it is older than CUDA 12; install a newer driver")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("CUDA_ERROR_SYSTEM_NOT_READY", "see that nvidia-fabricmanager runs on the machine"),
        ("CUDA_ERROR_DEVICE_UNAVAILABLE", "another program has the device for itself; end it"),
    ],
)
def test_a_device_that_somebody_has_to_make_ready_is_told(
    tmp_path: Path, name: str, told: str
) -> None:
    library = failing_driver(tmp_path / "libbusy.so", status=46, name=name)

    def door(metrics: Metrics) -> Gpu:
        with ours():
            return Gpu(metrics, device=Device(str(library)), images=lambda unit: b"")

    is_told(door, f"cuInit failed with {name}", told)


def test_a_toolkit_where_it_is_usually_put_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its installer leaves ``PATH`` as it was."""
    nvcc = fake_nvcc(tmp_path / "bin")
    monkeypatch.setattr(compiling, "USUAL", tmp_path)
    monkeypatch.setattr(compiling, "_installed_nvcc", lambda: None)
    found = compiling.find_toolchain({"PATH": ""})
    assert (found.nvcc, found.version, found.architectures) == (nvcc, "Build cuda_13", ("sm_90",))


def test_without_a_toolkit_it_is_told_how_to_get_one(
    emulated: Emulated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CUDA_HOME", raising=False)
    monkeypatch.setattr(compiling, "_installed_nvcc", lambda: None)
    monkeypatch.setattr(compiling, "USUAL", tmp_path)
    devices = []

    def door(metrics: Metrics) -> Gpu:
        devices.append(emulated.device())
        return Gpu(metrics, device=devices[-1])

    is_told(door, "no nvcc in PATH", "or run: pip install nvidia-cuda-nvcc nvidia-cuda-cccl")
    for device in devices:
        device.close()


class Streams:
    """Streams of one process on one device, each as the chain has it."""

    def __init__(self, emulated: Emulated) -> None:
        self._emulated = emulated
        self.stages: list[FallingBack] = []
        self._gpus: list[Gpu] = []

    def open(self) -> FallingBack:
        choice = chosen(self._emulated.gpu)
        assert choice.stage is not None, choice.reason
        assert choice.gpu is not None
        self._gpus.append(choice.gpu)
        stage = FallingBack(
            choice.stage,
            plain=lambda: SuperResolution([ReferenceEngine(2)]),
            host=lambda: SuperResolution([OrtCpuEngine(shipped("fp32"), threads=1)]),
            metrics=Metrics(),
        )
        self.stages.append(stage)
        return stage

    def close(self) -> None:
        for stage in self.stages:
            stage.close()
        assert len(ENGINES) == 0


def sent(stage: FallingBack, number: int) -> Frame:
    # Nobody waits for the other stream.
    return stage.process(numbered(number), tier="nano", with_comparison=False, deadline_ns=0)


def test_a_second_stream_without_memory_goes_to_the_cpu_and_the_first_one_stays(
    emulated: Emulated,
) -> None:
    streams = Streams(emulated)
    first = streams.open()
    first.warm_up(WIDTH, HEIGHT)
    assert not same(sent(first, 1).planes, plain(numbered(1).planes))
    second = streams.open()
    emulated.limit(emulated.count("memory"))
    second.warm_up(WIDTH, HEIGHT)
    assert second.notice.startswith("the GPU is not used any more, the CPU goes on: ")
    assert "CUDA_ERROR_OUT_OF_MEMORY; free memory of the device, or run fewer s" in second.notice
    assert sent(second, 2).tier == "nano"
    assert second.engines["nano"].backend == "ort-cpu"
    assert first.notice == ""
    assert sent(first, 3).tier == "nano"
    assert first.engines["nano"].backend == "ort-cuda"
    streams.close()
    for gpu in streams._gpus:
        gpu.device.close()


def test_a_lost_device_is_told_by_every_stream_and_all_go_on(emulated: Emulated) -> None:
    streams = Streams(emulated)
    for stage in (streams.open(), streams.open()):
        stage.warm_up(WIDTH, HEIGHT)
        assert sent(stage, 1).planes[0].any()
    emulated.fail("cuMemcpyDtoDAsync_v2", ILLEGAL_ADDRESS)
    for stage in streams.stages:
        assert sent(stage, 2).planes[0].any()
        assert "CUDA_ERROR_ILLEGAL_ADDRESS; see that nvidia-smi lists the device" in stage.notice
        stage.wait()
        assert sent(stage, 3).tier == "nano"
        assert stage.engines["nano"].backend == "ort-cpu"
    streams.close()
