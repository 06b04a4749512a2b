"""A kernel that computes something else than its definition is found before a picture shows it."""

from __future__ import annotations

import pytest

from kernels.arguments import Precision
from kernels.units import UNITS, Unit
from streamer.clock import MonotonicClock
from streamer.errors import EngineError
from streamer.gpu import self_check
from streamer.gpu.choosing import choose_on_device
from streamer.gpu.door import Gpu
from streamer.gpu.self_check import check_kernels
from streamer.metrics import Metrics
from tests.kernels.host_build import HOST, compile_for_host
from tests.streamer.gpu.emulated import Emulated, RealDoor
from tests.streamer.gpu.test_choosing import installed, queued

BOTH = {Precision.FLOAT16, Precision.FLOAT32}

__all__ = ["installed"]


@pytest.fixture(autouse=True)
def nothing_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_check, "_passed", set())


def tried(gpu: Gpu, scale: int = 2) -> None:
    try:
        check_kernels(gpu, scale=scale, inputs=BOTH, residuals=set(Precision))
    finally:
        gpu.close()
        gpu.device.close()


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_sound_kernels_pass(door: Emulated | RealDoor, scale: int) -> None:
    tried(door.gpu(), scale)


def test_it_is_done_once(emulated: Emulated) -> None:
    tried(emulated.gpu())
    before = emulated.count("launches")
    tried(emulated.gpu())
    assert emulated.count("launches") == before


def spoilt(emulated: Emulated, entry: str, folder: str) -> Gpu:
    """A device of which one entry does nothing."""
    source = f"{folder}/nothing.cpp"
    with open(source, "w", encoding="utf-8") as text:
        text.write('#include <stddef.h>\n#define C extern "C"\n')
        text.write("C unsigned kernels_wait() { return 0; }\n")
        (unit,) = (unit for unit in UNITS if entry in unit.entries and unit.name[-2:] in SCALED)
        for name in unit.entries:
            text.write(f"C void run_{name}(const void*, const void*) {{}}\n")
            text.write(f"C size_t size_{name}() {{ return 8; }}\n")
    compile_for_host("-shared", f"-I{HOST}", "-o", f"{folder}/nothing.so", source)

    def image(of: Unit) -> bytes:
        return f"HOST {folder}/nothing.so".encode() if of is unit else emulated.image(of)

    return Gpu(Metrics(), device=emulated.device(), images=image)


SCALED = {unit.name[-2:] for unit in UNITS} - {"x1", "x3", "x4"}
"""Ends of names; of the residual's units the one of x2 is looked at."""


@pytest.mark.parametrize(
    "entry",
    [
        *("planar_nv12", "difference_8_sum", "pack_yuv420p_f16", "watch_f16"),
        *("add_residual_yuv420p_f16", "warp_two_plane_8_linear", "finish_8", "cover_1"),
        "interleave_nv12",
    ],
)
def test_a_kernel_that_does_nothing_is_named(
    emulated: Emulated, tmp_path_factory: pytest.TempPathFactory, entry: str
) -> None:
    gpu = spoilt(emulated, entry, str(tmp_path_factory.mktemp("spoilt")))
    with pytest.raises(EngineError, match=f"the kernel {entry} computes something else on Device"):
        tried(gpu)


@pytest.mark.usefixtures("installed")
def test_where_a_kernel_is_wrong_the_cpu_does_it_and_that_is_said(
    emulated: Emulated, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = str(tmp_path_factory.mktemp("spoilt"))
    doors: list[Gpu] = []

    def door(_: Metrics) -> Gpu:
        doors.append(spoilt(emulated, "finish_8", folder))
        return doors[-1]

    chosen = choose_on_device(
        scale=2,
        backend="auto",
        variant=None,
        metrics=Metrics(),
        clock=MonotonicClock(),
        door=door,
        engine=queued,
    )
    assert chosen.stage is None
    assert "the GPU is not used, the CPU does it: ort-cuda: the kernel finish_8" in chosen.reason
    with pytest.raises(EngineError, match="the kernel finish_8"):
        choose_on_device(
            scale=2,
            backend="ort-cuda",
            variant=None,
            metrics=Metrics(),
            clock=MonotonicClock(),
            door=door,
            engine=queued,
        )
    for gpu in doors:
        gpu.device.close()
