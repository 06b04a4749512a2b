"""Frames made on the device beside those that the host makes of the same pictures."""

from __future__ import annotations

import logging
from itertools import pairwise

import numpy as np
import pytest

from streamer.enhance.frame_maker import FrameMaker
from streamer.frame import Frame, Planes
from streamer.gpu.made_frames import DeviceWarper
from streamer.gpu.super_resolution import DeviceSuperResolution
from streamer.infer.reference import PLAIN
from streamer.infer.reference_motion import ReferenceMotionEngine
from tests.streamer.gpu.emulated import ILLEGAL_ADDRESS, Emulated, RealDoor
from tests.streamer.gpu.engines import QueuedEngine
from tests.streamer.models import shipped
from tests.streamer.motion import psnr
from tests.streamer.pictures import frame_of, texture

WIDTH, HEIGHT = 128, 96


class DeviceFrameMaker(FrameMaker):
    """The maker of the chain with its warps on the device."""

    def __init__(self, warper: DeviceWarper) -> None:
        super().__init__(ReferenceMotionEngine())
        self.warper = warper
        self.made_there = 0

    def make(self, first: Planes, second: Planes, guide: object, out: Planes) -> None:
        still = self._still.mask
        if self.warper.make(first, second, guide, out, looked_rows=HEIGHT, still=still):  # type: ignore[arg-type]
            self.made_there += 1
            return
        super().make(first, second, guide, out)  # type: ignore[arg-type]


def at(time: float, *, has_text: bool = False) -> Planes:
    """A pan, with strokes that stand still in front of it if wanted."""
    moved = (5.0 * time, 2.0 * time) if has_text else (3.0 * time, 1.0 * time)
    luma = texture(width=WIDTH, height=HEIGHT, moved=moved)
    for left in range(48, 80, 6) if has_text else ():
        luma[40:56, left : left + 2] = 20
        luma[40:56, left + 2 : left + 4] = 220
    half = tuple(
        texture(width=WIDTH // 2, height=HEIGHT // 2, moved=(moved[0] / 2, moved[1] / 2), seed=seed)
        for seed in (2, 3)
    )
    return luma, half[0], half[1]


class Making:
    """One stage and two makers: over it, and over the host's copies of what it gave."""

    def __init__(self, door: Emulated | RealDoor) -> None:
        self.gpu = door.gpu()
        self.stage = DeviceSuperResolution(self.gpu, [QueuedEngine(self.gpu, shipped("fp32"))])
        self.there = DeviceFrameMaker(DeviceWarper(self.gpu))
        self.here = FrameMaker(ReferenceMotionEngine())

    def enhance(self, planes: Planes, pts: int) -> Frame:
        frame = frame_of(planes, pts=pts)
        return self.stage.process(frame, tier=PLAIN, with_comparison=False)

    def both(self, smalls: list[Planes], time: float) -> tuple[Planes, Planes]:
        """The frame at a time of the last pair, by the device and by the host."""
        enhanced = [self.enhance(planes, number) for number, planes in enumerate(smalls)]
        for maker in (self.there, self.here):
            for first, second in pairwise(smalls):
                maker.look(first[0], second[0])
                guide = maker.guide(time)
        out, _ = self.stage.lend(with_comparison=False)
        one, two = (frame.planes for frame in enhanced[-2:])
        self.there.make(one, two, self.there.guide(time), out)
        plain = tuple(np.zeros_like(plane) for plane in one)
        self.here.make(tuple(one), tuple(two), guide, plain)  # type: ignore[arg-type]
        return out, (plain[0], plain[1], plain[2])

    def close(self) -> None:
        self.stage.close()
        self.gpu.device.close()


@pytest.mark.parametrize("time", [0.5, 0.25, 1.5])
def test_a_frame_is_what_the_host_makes_but_for_rounding(
    door: Emulated | RealDoor, time: float
) -> None:
    making = Making(door)
    seen, expected = making.both([at(0), at(1)], time)
    for one, other in zip(seen, expected, strict=True):
        # OpenCV looks up at 1/32 of a pixel and rounds shares; what stands may be left alone.
        assert psnr(one, other) > 48
        assert np.abs(one.astype(int) - other).max() <= 6
    assert making.there.made_there == 1
    making.close()


def test_what_stands_still_is_copied_as_on_the_host(door: Emulated | RealDoor) -> None:
    making = Making(door)
    smalls = [at(number, has_text=True) for number in range(10)]
    seen, expected = making.both(smalls, 0.5)
    text = (slice(80, 112), slice(96, 156))
    assert making.there._still._masks, "the letters were not seen to stand"
    assert np.abs(seen[0][text].astype(int) - expected[0][text]).max() <= 2
    assert psnr(seen[0], expected[0]) > 48
    making.close()


def test_pictures_of_the_host_are_left_to_the_host(door: Emulated | RealDoor) -> None:
    making = Making(door)
    made = making.there.between(at(0), at(1), 0.5)
    assert making.there.made_there == 0
    assert psnr(made[0], at(0.5)[0]) > 30
    making.close()


def test_nothing_is_allocated_for_a_frame_once_the_size_is_known(emulated: Emulated) -> None:
    making = Making(emulated)
    making.stage.warm_up(WIDTH, HEIGHT)
    counts = []
    last = making.enhance(at(0), 0)
    for number in range(1, 9):
        this = making.enhance(at(number), number)
        making.there.look(at(number - 1)[0], at(number)[0])
        out, _ = making.stage.lend(with_comparison=False)
        making.there.make(last.planes, this.planes, making.there.guide(0.5), out)
        assert out[0].any()
        last = this
        counts.append(emulated.count("allocations"))
    assert counts[-1] == counts[4]
    assert making.there.made_there == 8
    del out, this, last
    making.close()


def test_a_device_that_is_lost_leaves_the_rest_to_the_host(
    emulated: Emulated, caplog: pytest.LogCaptureFixture
) -> None:
    making = Making(emulated)
    seen, _ = making.both([at(0), at(1)], 0.5)
    assert seen[0].any()
    first, second = (making.enhance(at(number), number) for number in (0, 1))
    out, _ = making.stage.lend(with_comparison=False)
    assert first.planes[0].any()
    assert second.planes[0].any()
    emulated.fail("cuLaunchKernel", ILLEGAL_ADDRESS)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            making.there.make(first.planes, second.planes, making.there.guide(0.5), out)
    assert caplog.text.count("frames are made on the CPU from here on: cuLaunchKernel failed") == 1
    assert psnr(out[0], seen[0]) > 48
    making.stage.close()
