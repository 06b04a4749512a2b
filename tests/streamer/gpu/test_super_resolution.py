"""The way of a frame through device memory, beside the way of the same frame on the host."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

from kernels.errors import KernelError
from streamer.enhance.super_resolution import SuperResolution
from streamer.errors import EngineError
from streamer.frame import Frame
from streamer.gpu.door import Gpu
from streamer.gpu.pictures import DeviceFrame, DevicePlanes
from streamer.gpu.super_resolution import DeviceSuperResolution
from streamer.infer.ort import OrtCpuEngine
from streamer.infer.reference import PLAIN
from streamer.metrics import Metrics
from streamer.model import ModelManifest
from tests.streamer.gpu.emulated import ILLEGAL_ADDRESS, OUT_OF_MEMORY, Emulated, RealDoor
from tests.streamer.gpu.engines import QueuedEngine
from tests.streamer.models import shipped
from tests.streamer.pictures import frame_of, noise, plain, same

WIDTH, HEIGHT = 64, 36


def numbered(number: int, *, width: int = WIDTH, height: int = HEIGHT) -> Frame:
    return frame_of(noise(width=width, height=height, seed=number, padding=6), pts=number)


class Way:
    """A stage on a device and what it stands on."""

    def __init__(self, gpu: Gpu, manifest: ModelManifest, *, lands_at_once: bool = True) -> None:
        self.gpu = gpu
        self.engine = QueuedEngine(gpu, manifest)
        self.stage = DeviceSuperResolution(gpu, [self.engine], lands_at_once=lands_at_once)
        self.tier = manifest.variant

    def send(self, frame: Frame, *, tier: str = "", with_comparison: bool = False) -> Frame:
        tier = tier or self.tier
        return self.stage.process(frame, tier=tier, with_comparison=with_comparison)

    def close(self) -> None:
        self.stage.close()
        # A device that was lost cannot be closed.
        with suppress(KernelError):
            self.gpu.device.close()


@pytest.fixture
def way(door: Emulated | RealDoor) -> Iterator[Way]:
    way = Way(door.gpu(), shipped("fp32"))
    yield way
    way.close()


@pytest.fixture
def late(emulated: Emulated) -> Iterator[Way]:
    """On this computer, where nothing is done before it must be."""
    way = Way(emulated.gpu(), shipped("fp32"))
    yield way
    way.close()


@pytest.mark.parametrize(
    ("precision", "scale", "variant"),
    [("fp32", 2, "nano"), ("fp16", 2, "nano"), ("fp32", 3, "lite")],
)
def test_a_frame_is_the_same_picture_as_on_the_host(
    door: Emulated | RealDoor, precision: str, scale: int, variant: str
) -> None:
    manifest = shipped(precision, variant, scale)
    # The host's engines take no half floats.
    exact = shipped("fp32", variant, scale) if precision == "fp16" else manifest
    on_host = SuperResolution([OrtCpuEngine(exact, threads=1)])
    way = Way(door.gpu(), manifest)
    for number in range(4):
        frame = numbered(number)
        seen = way.send(frame)
        expected = on_host.process(frame, tier=variant, with_comparison=False)
        assert (seen.tier, seen.pts, seen.color) == (variant, number, frame.color)
        assert (seen.width, seen.height) == (scale * WIDTH, scale * HEIGHT)
        for one, other in zip(seen.planes, expected.planes, strict=True):
            apart = np.abs(one.astype(int) - other)
            # The sums of a network are float32 or less, and OpenCV's weights at x3 are rounded.
            assert apart.max() <= (1 if precision == "fp32" else 2)
            assert (apart > 0).mean() < 0.02
        assert not same(seen.planes, plain(frame.planes, scale))
    way.close()


def test_the_plain_tier_is_the_plain_upscale_bit_for_bit(way: Way) -> None:
    frame = numbered(1)
    seen = way.send(frame, tier=PLAIN)
    assert seen.tier == PLAIN
    assert same(seen.planes, plain(frame.planes))
    assert way.engine.runs == 0


def test_a_frame_leaves_before_anything_is_done_and_lands_when_it_is_looked_at(
    late: Way, emulated: Emulated
) -> None:
    late.stage.warm_up(WIDTH, HEIGHT)
    launched = emulated.count("launches")
    first, second = late.send(numbered(1)), late.send(numbered(2))
    assert isinstance(first, DeviceFrame)
    # Its size is known, it can be timed and stamped, and still nothing was done.
    later = replace(first, pts=7).stamped("enhanced", 3)
    assert isinstance(later, DeviceFrame)
    assert (later.width, later.height) == (2 * WIDTH, 2 * HEIGHT)
    assert emulated.count("launches") == launched
    luma = later.planes[0]
    # One frame's pack, watch and sum: the second's are not waited for.
    assert emulated.count("launches") == launched + 3
    assert luma.any()
    assert second.planes[0].any()
    assert emulated.count("launches") == launched + 6


def test_pictures_that_are_held_are_not_written_over(way: Way) -> None:
    on_host = SuperResolution([OrtCpuEngine(shipped("fp32"), threads=1)])
    frames = [numbered(number) for number in range(6)]
    held = [way.send(frame) for frame in frames]
    # Looked at from the last to the first, when all have long been queued.
    for seen, frame in reversed(list(zip(held, frames, strict=True))):
        expected = on_host.process(frame, tier=way.tier, with_comparison=False)
        assert np.abs(seen.planes[0].astype(int) - expected.planes[0]).max() <= 1


def test_the_source_may_write_its_planes_again_at_once(late: Way, emulated: Emulated) -> None:
    frame = numbered(1)
    expected = plain(frame.planes)
    seen = late.send(frame, tier=PLAIN)
    for plane in frame.planes:
        plane[:] = 0
    assert same(seen.planes, expected)


def test_nothing_is_allocated_for_a_frame_once_the_size_is_known(
    late: Way, emulated: Emulated
) -> None:
    late.stage.warm_up(WIDTH, HEIGHT)
    held: list[Frame] = []
    counts = []
    for number in range(24):
        # As links hold them: the last few, some of them never looked at.
        frame = late.send(numbered(number), with_comparison=number % 4 == 3)
        if number % 3:
            assert frame.planes[0].any()
        held = [*held[-3:], frame]
        counts.append(emulated.count("allocations"))
    assert counts[-1] == counts[8]


def test_high_water_marks_are_counted(emulated: Emulated) -> None:
    metrics = Metrics()
    way = Way(emulated.gpu(metrics), shipped("fp32"))
    way.stage.warm_up(WIDTH, HEIGHT)
    marks = metrics.counts("gpu.")
    assert set(marks) == {"device.bytes", "pinned.bytes"}
    assert metrics.counts("copied.") == {"warming": 4}
    assert marks["device.bytes"] >= 8 * WIDTH * 2 * HEIGHT * 2 * 3 // 2
    way.send(numbered(1)).planes[0].any()
    assert metrics.counts("gpu.") == marks
    way.close()
    assert metrics.counts("gpu.") == {}


def test_the_comparison_has_the_plain_picture_below(way: Way) -> None:
    frame = numbered(3)
    alone = way.send(frame)
    seen = way.send(frame, with_comparison=True)
    assert seen.comparison is not None
    for tall, upper, whole, below in zip(
        seen.comparison, seen.planes, alone.planes, plain(frame.planes), strict=True
    ):
        assert np.array_equal(upper, whole)
        assert np.array_equal(tall[: len(upper)], upper)
        assert np.array_equal(tall[len(upper) :], below)


def test_a_picture_of_another_size_is_fitted_into_the_first_ones(way: Way) -> None:
    on_host = SuperResolution([OrtCpuEngine(shipped("fp32"), threads=1)])
    frames = [numbered(1), numbered(2, width=48, height=36), numbered(3, width=32, height=18)]
    frames += [numbered(4)]
    for frame in frames:
        seen = way.send(frame, with_comparison=frame.pts == 3)
        expected = on_host.process(frame, tier=way.tier, with_comparison=frame.pts == 3)
        assert (seen.width, seen.height) == (2 * WIDTH, 2 * HEIGHT)
        assert np.abs(seen.planes[0].astype(int) - expected.planes[0]).max() <= 2
        assert (seen.comparison is None) == (expected.comparison is None)


@pytest.mark.parametrize("value", [np.nan, np.inf, -200.0])
def test_a_residual_that_cannot_be_shows_the_plain_upscale_and_then_no_more(
    door: Emulated | RealDoor, value: float, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics()
    way = Way(door.gpu(metrics), shipped("fp32"))
    assert not same(way.send(numbered(0)).planes, plain(numbered(0).planes))
    way.engine.value = value
    tiers = []
    with caplog.at_level(logging.WARNING):
        for number in range(6):
            frame = numbered(number)
            seen = way.send(frame)
            assert same(seen.planes, plain(frame.planes))
            tiers.append(seen.tier)
    assert tiers == 3 * ["nano"] + 3 * [PLAIN]
    assert metrics.counts("unsound.") == {"sr-nano-x2-live": 3}
    assert caplog.text.count("3 times in a row") == 1
    way.close()


def test_one_bad_residual_among_good_ones_is_forgiven(way: Way) -> None:
    for number in range(12):
        way.engine.value = np.nan if number % 3 else None
        assert way.send(numbered(number)).planes[0].any()
    way.engine.value = None
    assert way.send(numbered(1)).tier == "nano"


def test_a_device_that_is_lost_shows_plain_pictures_for_what_was_under_way(
    late: Way, emulated: Emulated
) -> None:
    frames = [numbered(number) for number in range(2)]
    sent = [late.send(frame, with_comparison=True) for frame in frames]
    emulated.fail("cuEventSynchronize", ILLEGAL_ADDRESS)
    for seen, frame in zip(sent, frames, strict=True):
        assert same(seen.planes, plain(frame.planes))
        assert seen.comparison is not None
        assert np.array_equal(seen.comparison[0][2 * HEIGHT :], plain(frame.planes)[0])
    with pytest.raises(EngineError, match=r"failed with CUDA_ERROR_ILLEGAL_ADDRESS; see that nvid"):
        late.send(numbered(3))


@pytest.mark.parametrize("with_comparison", [False, True])
@pytest.mark.parametrize("lands_at_once", [False, True])
def test_a_made_picture_that_is_lost_with_the_device_shows_the_last_real_one(
    emulated: Emulated, *, lands_at_once: bool, with_comparison: bool
) -> None:
    late = Way(emulated.gpu(), shipped("fp32"), lands_at_once=lands_at_once)
    frame = numbered(1)
    assert late.send(frame).planes[0].any()
    planes, comparison = late.stage.lend(with_comparison=with_comparison)
    assert isinstance(planes, DevicePlanes)
    canvas = planes.canvas
    assert canvas is not None
    with canvas.picture.memory.writing(late.gpu.compute) as address:
        late.gpu.compute.fill(address, 7, 2 * WIDTH * 2 * HEIGHT * 3 // 2)
    if lands_at_once:
        canvas.send(late.gpu)
    emulated.fail("cuEventSynchronize", ILLEGAL_ADDRESS)
    for seen, expected in zip(planes, plain(frame.planes), strict=True):
        # The host rounds what it fits otherwise than what it doubles.
        assert np.abs(seen.astype(int) - expected).max() <= 1
    assert (comparison is not None) == with_comparison
    with pytest.raises(EngineError, match="CUDA_ERROR_ILLEGAL_ADDRESS"):
        late.send(numbered(3))
    late.close()


def test_out_of_memory_says_what_to_do(emulated: Emulated) -> None:
    gpu = emulated.gpu()
    way = Way(gpu, shipped("fp32"))
    emulated.limit(100_000)
    with pytest.raises(
        EngineError, match=r"CUDA_ERROR_OUT_OF_MEMORY; free memory of the device, o"
    ):
        way.stage.warm_up(WIDTH, HEIGHT)
    emulated.reset()
    way.close()
    emulated.fail("cuMemAllocHost_v2", OUT_OF_MEMORY)
    way = Way(emulated.gpu(), shipped("fp32"))
    # Other sizes may have held what was needed: it is asked for once more.
    way.stage.warm_up(WIDTH, HEIGHT)
    way.close()


def test_lent_pictures_land_as_their_maker_says(way: Way) -> None:
    source = way.send(numbered(1))
    assert isinstance(source.planes, DevicePlanes)
    planes, comparison = way.stage.lend(with_comparison=False)
    assert comparison is None
    assert isinstance(planes, DevicePlanes)
    assert planes.canvas is not None
    assert source.planes.picture is not None
    made, compute = planes.canvas.picture, way.gpu.compute
    size = 2 * WIDTH * 2 * HEIGHT * 3 // 2
    with source.planes.picture.memory.reading(compute), made.memory.writing(compute):
        compute.copy(made.at.luma, source.planes.picture.at.luma, size)
    planes.canvas.send(way.gpu)
    assert same(planes, source.planes)
