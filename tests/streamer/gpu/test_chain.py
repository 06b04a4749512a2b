"""The chain of a stream over a device: real frames, made frames, a lost device, an encoder."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from threading import Thread
from typing import Any, cast

import numpy as np
import pytest

from streamer.clock import ManualClock
from streamer.config import EncodeSettings
from streamer.encode import Encoder
from streamer.enhance.chain import Chain
from streamer.enhance.frame_maker import FrameMaker
from streamer.enhance.made_frames import MadeFrames
from streamer.enhance.making import Making
from streamer.enhance.scene_change import SceneWatch
from streamer.enhance.slots import output_time_base
from streamer.enhance.super_resolution import SuperResolution
from streamer.frame import Frame, Origin
from streamer.gpu.fallback import FallingBack
from streamer.gpu.made_frames import DeviceWarper
from streamer.gpu.super_resolution import DeviceSuperResolution
from streamer.infer.ort import OrtCpuEngine
from streamer.infer.reference import ReferenceEngine
from streamer.infer.reference_motion import ReferenceMotionEngine
from streamer.metrics import Metrics
from streamer.rate import Rate
from streamer.schedule import TierLadder
from tests.streamer.gpu.emulated import ILLEGAL_ADDRESS, Emulated, RealDoor
from tests.streamer.gpu.engines import QueuedEngine
from tests.streamer.gpu.test_made_frames import HEIGHT, WIDTH, DeviceFrameMaker, at
from tests.streamer.models import shipped
from tests.streamer.motion import psnr
from tests.streamer.pictures import frame_of

BASE = Fraction(1, 30)


def chain_over(stage: Any, maker: FrameMaker, metrics: Metrics) -> Chain:
    clock, rate = ManualClock(), Rate(times=2)
    stage.warm_up(WIDTH, HEIGHT)
    making = Making(
        MadeFrames(maker, SceneWatch(), stage.lend),
        engine=ReferenceMotionEngine(),
        rate=rate,
        between="interpolate",
        time_base=output_time_base(BASE, rate),
        clock=clock,
        metrics=metrics,
    )
    ladder = TierLadder(stage.tiers, clock, makes_frames=True)
    return Chain(cast(SuperResolution, stage), ladder, clock, metrics, making=making)


class Ways:
    """The same chain over a device and on the host."""

    def __init__(self, door: Emulated | RealDoor) -> None:
        self.metrics = Metrics()
        self.gpu = door.gpu(self.metrics)
        engine = QueuedEngine(self.gpu, shipped("fp32"))
        self.stage = FallingBack(
            DeviceSuperResolution(self.gpu, [engine]),
            plain=lambda: SuperResolution([ReferenceEngine(2)]),
            host=lambda: SuperResolution([OrtCpuEngine(shipped("fp32"), threads=1)]),
            metrics=self.metrics,
        )
        self.maker = DeviceFrameMaker(DeviceWarper(self.gpu))
        self.there = chain_over(self.stage, self.maker, self.metrics)
        on_host = SuperResolution([OrtCpuEngine(shipped("fp32"), threads=1)])
        self.here = chain_over(on_host, FrameMaker(ReferenceMotionEngine()), Metrics())

    def send(
        self, number: int, *, with_comparison: bool = False
    ) -> tuple[list[Frame], list[Frame]]:
        frame = replace(frame_of(at(number), pts=number), time_base=BASE)
        there, here = (
            chain.process(frame, deadline_ns=None, with_comparison=with_comparison)
            for chain in (self.there, self.here)
        )
        return there, here

    def close(self) -> None:
        self.there.close()
        self.here.close()


@pytest.mark.parametrize("with_comparison", [False, True])
def test_real_and_made_frames_are_those_of_the_host(
    *, door: Emulated | RealDoor, with_comparison: bool
) -> None:
    ways, made = Ways(door), 0
    for number in range(5):
        there, here = ways.send(number, with_comparison=with_comparison)
        assert [(f.pts, f.origin, f.tier) for f in there] == [
            (f.pts, f.origin, f.tier) for f in here
        ]
        for one, other in zip(there, here, strict=True):
            for ours, theirs in zip(one.planes, other.planes, strict=True):
                assert psnr(ours, theirs) > 44
            assert (one.comparison is None) == (other.comparison is None)
            if one.comparison is not None and other.comparison is not None:
                assert psnr(one.comparison[0], other.comparison[0]) > 44
            made += one.origin is Origin.INTERPOLATED
    assert made == ways.maker.made_there == 4
    del there, here, one, other, ours, theirs
    ways.close()
    ways.gpu.device.close()


def test_a_stream_is_encoded_to_its_end_while_the_device_is_lost(emulated: Emulated) -> None:
    """The encoder's thread waits for pixels, the chain's for nobody, and no frame is left out."""
    ways = Ways(emulated)
    encoder = Encoder(
        "enhanced",
        EncodeSettings(),
        fps=Fraction(60),
        is_live=False,
        clock=ManualClock(),
        metrics=Metrics(),
    )
    packets: list[Any] = []
    lumas: list[np.ndarray[Any, Any]] = []

    def encode(frames: list[Frame]) -> None:
        for frame in frames:
            packets.extend(encoder.encode(frame, frame.planes))
            lumas.append(frame.planes[0].copy())

    for number in range(8):
        if number == 4:
            emulated.fail("cuLaunchKernel", ILLEGAL_ADDRESS)
        there, _ = ways.send(number)
        thread = Thread(target=encode, args=(there,))
        thread.start()
        thread.join()
    packets += encoder.flush()
    assert len(packets) == len(lumas) == 15
    assert ways.stage.notice
    assert ways.metrics.counted("gpu.fell_back") == 1
    for number, luma in enumerate(lumas[::2]):
        # Every second one is real, whoever made it.
        plain = SuperResolution([ReferenceEngine(2)]).process(
            frame_of(at(number)), tier="plain", with_comparison=False
        )
        assert psnr(luma, plain.planes[0]) > 28
    ways.close()
