"""Streams that share an engine on a device, their pictures there all the way."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Event
from typing import Any

import pytest

from kernels.errors import KernelError
from streamer.clock import MonotonicClock
from streamer.errors import EngineError
from streamer.frame import Frame
from streamer.gpu import batching
from streamer.gpu.batching import DeviceBatching, DeviceLease
from streamer.gpu.door import Gpu
from streamer.gpu.super_resolution import DeviceSuperResolution
from streamer.infer.batching_graph import batched
from streamer.infer.batching_pool import Pool
from streamer.infer.engine import Deadline, Tensors
from streamer.model import ModelManifest
from tests.streamer.gpu.emulated import ILLEGAL_ADDRESS, Emulated, RealDoor
from tests.streamer.gpu.engines import QueuedEngine
from tests.streamer.gpu.test_super_resolution import numbered
from tests.streamer.infer.batch_streams import FOR_EVER_NS, PATIENCE_S, at_once
from tests.streamer.models import shipped
from tests.streamer.pictures import same

HEIGHT, WIDTH = 36, 64

LATE_NS = 0
"""A deadline that has passed: whoever has it goes at once."""


class Together:
    """Streams that share an engine, each a stage with a door of its own; all have come once."""

    def __init__(
        self,
        door: Emulated | RealDoor,
        number: int,
        *,
        manifest: ModelManifest | None = None,
        engine: type[QueuedEngine] = QueuedEngine,
    ) -> None:
        manifest = manifest or shipped("fp32")
        self.pool = Pool()
        self.opened: list[QueuedEngine] = []
        self.gpus = [door.gpu() for _ in range(number)]
        self.stages: list[DeviceSuperResolution] = []
        self.tier = manifest.variant
        for gpu in self.gpus:
            share = self.pool.share("one", partial(self._open, manifest, gpu, engine))
            self.shared, deadline = share.engine, Deadline()
            lease = DeviceLease(share, gpu, deadline)
            self.stages.append(DeviceSuperResolution(gpu, [lease], deadline=deadline))
        for one in range(number):
            (error,) = at_once([partial(self._come, one)])
            if error is not None:
                raise error
        self.shared.runs.update(dict.fromkeys(self.shared.runs, 0))

    @property
    def runs(self) -> dict[int, int]:
        return {size: runs for size, runs in self.shared.runs.items() if runs}

    def send(self, one: int, picture: int, *, deadline_ns: int | None = None) -> Frame:
        return self.stages[one].process(
            numbered(picture), tier=self.tier, with_comparison=False, deadline_ns=deadline_ns
        )

    def close(self) -> None:
        for stage, gpu in zip(self.stages, self.gpus, strict=True):
            stage.close()
            # A device that was lost cannot be closed.
            with suppress(KernelError):
                gpu.device.close()
        assert len(self.pool) == 0

    def _come(self, one: int) -> None:
        # The others have come too, and give no picture now: nobody waits for them.
        stage = self.stages[one]
        for tier in stage.tiers:
            stage.process(numbered(0), tier=tier, with_comparison=False, deadline_ns=LATE_NS)

    def _open(
        self, manifest: ModelManifest, gpu: Gpu, engine: type[QueuedEngine]
    ) -> DeviceBatching:
        own, model = gpu.another(), batched(manifest)
        self.opened.append(engine(own, model))
        return DeviceBatching(self.opened[-1], model, own, MonotonicClock(), window_ns=FOR_EVER_NS)


def alone(door: Emulated | RealDoor, pictures: range, manifest: ModelManifest) -> list[Any]:
    """What a stream that has the device for itself gives."""
    gpu = door.gpu()
    stage = DeviceSuperResolution(gpu, [QueuedEngine(gpu, manifest)])
    sent = [
        stage.process(numbered(n), tier=manifest.variant, with_comparison=False) for n in pictures
    ]
    planes = [tuple(plane.copy() for plane in frame.planes) for frame in sent]
    stage.close()
    gpu.device.close()
    return planes


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_streams_are_one_run_and_each_has_its_own_picture(
    door: Emulated | RealDoor, precision: str
) -> None:
    manifest, number = shipped(precision), 3
    expected = alone(door, range(number), manifest)
    together = Together(door, number, manifest=manifest)
    assert len(together.opened) == 1
    seen: dict[int, Frame] = {}

    def play(one: int) -> None:
        seen[one] = together.send(one, one)

    for _ in range(3):
        assert at_once([partial(play, one) for one in range(number)]) == number * [None]
        # Looked at late, when all is queued; three of them are run as four.
        for one in reversed(range(number)):
            assert seen[one].tier == manifest.variant
            assert same(seen[one].planes, expected[one])
    assert together.runs == {4: 3}
    seen.clear()
    together.close()


def test_what_is_looked_at_is_done_by_then_though_nobody_waited_for_the_batch(
    emulated: Emulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = shipped("fp32")
    expected = alone(emulated, range(3), manifest)
    together, may_end, real_end = Together(emulated, 1), Event(), batching._OverMemory.end

    def end(way: batching._OverMemory) -> None:
        """The engine's thread would do the work that this driver leaves until somebody waits."""
        assert may_end.wait(PATIENCE_S)
        real_end(way)

    monkeypatch.setattr(batching._OverMemory, "end", end)
    for number in (1, 2):
        may_end.clear()
        seen = together.send(0, number, deadline_ns=LATE_NS)
        assert same(seen.planes, expected[number])
        may_end.set()
    del seen
    together.close()


def test_a_stream_whose_time_is_up_waits_for_nobody(door: Emulated | RealDoor) -> None:
    together = Together(door, 2)
    (error,) = at_once([partial(together.send, 0, 1, deadline_ns=LATE_NS)])
    assert error is None
    assert together.runs == {1: 1}
    together.close()


def test_who_leaves_is_not_waited_for(door: Emulated | RealDoor) -> None:
    together = Together(door, 2)
    together.stages[1].close()
    assert at_once([partial(together.send, 0, 1)]) == [None]
    assert together.runs == {1: 1}
    together.close()


def test_a_stream_of_another_size_has_batches_of_its_own(door: Emulated | RealDoor) -> None:
    together = Together(door, 2)
    small = numbered(3, width=32, height=20)

    def other() -> None:
        stage = together.stages[1]
        stage.process(small, tier=together.tier, with_comparison=False).planes[0].any()

    assert at_once([other]) == [None]
    assert at_once([partial(together.send, 0, 1)]) == [None]
    assert together.runs == {1: 2}
    together.close()


def test_nothing_is_allocated_for_a_frame(emulated: Emulated) -> None:
    together = Together(emulated, 2)
    for stage in together.stages:
        stage._deadline.ns = LATE_NS
        (error,) = at_once([partial(stage.warm_up, WIDTH, HEIGHT)])
        assert error is None
    counts = []
    for number in range(12):
        held: list[Any] = [partial(together.send, one, number) for one in range(2)]
        assert at_once(held) == [None, None]
        counts.append(emulated.count("allocations"))
    assert counts[-1] == counts[5]
    together.close()


def test_a_lost_device_is_an_error_for_each_of_them(emulated: Emulated) -> None:
    together = Together(emulated, 2)
    emulated.fail("cuMemcpyDtoDAsync_v2", ILLEGAL_ADDRESS)
    errors = at_once([partial(together.send, one, 1) for one in range(2)])
    assert all(isinstance(error, EngineError) for error in errors)
    assert all("CUDA_ERROR_ILLEGAL_ADDRESS" in str(error) for error in errors)
    together.close()


def test_a_batch_size_that_gives_other_pictures_is_not_used(
    emulated: Emulated, caplog: pytest.LogCaptureFixture
) -> None:
    class MixedUp(QueuedEngine):
        """Places of two or more come out in another order."""

        def run(self, inputs: Tensors, outputs: Tensors) -> None:
            super().run(inputs, outputs)
            for array in outputs.values():
                array[:] = array[::-1].copy()

    together = Together(emulated, 2, engine=MixedUp)
    sends: list[Callable[[], Any]] = [partial(together.send, one, one) for one in range(2)]
    assert at_once(sends) == [None, None]
    assert together.runs == {1: 2}
    assert "sr-nano-x2-live on queued runs at most 1 pictures at once: residual" in caplog.text
    # The error that is logged holds the frames it went through.
    caplog.clear()
    together.close()
