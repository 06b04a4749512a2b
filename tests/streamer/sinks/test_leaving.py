from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from fractions import Fraction

import pytest

from streamer.clock import ManualClock
from streamer.config import SinkSpec, StreamSettings
from streamer.frame import Packet
from streamer.metrics import Metrics
from streamer.playout import DUE
from streamer.sinks.fanout import FanOut
from streamer.sinks.leaving import Leaving
from streamer.tally import Tally
from tests.streamer.virtual_time import run


class Seen:
    """A sink that notes what comes, and when."""

    def __init__(self, clock: ManualClock) -> None:
        self.got: list[tuple[str, int, float]] = []
        """Stream, media time and time of arrival, both in ms."""
        self.is_closed = False
        self._clock = clock

    async def send(self, packet: Packet) -> None:
        assert not self.is_closed
        self.got.append((packet.stream, packet.pts, self._clock.now_ns() / 1e6))

    async def close(self) -> None:
        self.is_closed = True


class Exit:
    """Two renditions on their way out, of which the first one counts."""

    def __init__(self, *, waits: bool = False) -> None:
        self.clock, self.metrics = ManualClock(), Metrics()
        self.sinks = [Seen(self.clock), Seen(self.clock)]
        self.fanouts = [
            FanOut([("seen", sink)], may_drop=not waits, request_keyframe=lambda: None)
            for sink in self.sinks
        ]
        # From file to file nobody watches.
        settings = StreamSettings(
            source="in.mp4" if waits else "rtsp://camera/", sinks=(SinkSpec(kind="null"),)
        )
        self.leaving = Leaving(
            self.fanouts,
            settings,
            Tally(self.metrics, self.clock),
            clock=self.clock,
            metrics=self.metrics,
        )

    async def picture(
        self, pts_ms: int, *, due_ms: float | None = None, rendition: int = 0
    ) -> None:
        packet = self._packet(pts_ms)
        if due_ms is not None:
            packet = packet.stamped(DUE, round(due_ms * 1e6))
        await self.leaving.put(packet, self.fanouts[rendition], counts=rendition == 0)

    async def sound(self, pts_ms: int) -> None:
        await self.leaving.sound(replace(self._packet(pts_ms), stream="audio"))

    def _packet(self, pts_ms: int) -> Packet:
        return Packet(
            payload=b"x",
            pts=pts_ms,
            dts=pts_ms,
            time_base=Fraction(1, 1000),
            arrived_ns=self.clock.now_ns(),
        )

    def play(self, coding: Callable[[], Awaitable[None]]) -> list[tuple[str, int, float]]:
        """What the first rendition's sink got until all had left."""

        async def main() -> None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.leaving.run())
                for fanout in self.fanouts:
                    tasks.create_task(fanout.run())
                await coding()
                await self.leaving.close()

        run(main(), self.clock)
        assert all(sink.is_closed for sink in self.sinks)
        return self.sinks[0].got


def test_a_coded_picture_waits_for_its_time_and_keeps_none_waiting_that_has_none() -> None:
    out = Exit()

    async def coding() -> None:
        await out.picture(0, due_ms=12)
        await out.picture(16, due_ms=28)
        await asyncio.sleep(0.02)
        await out.picture(33)
        await out.picture(50, due_ms=40)

    assert out.play(coding) == [
        ("video", 0, 12),
        ("video", 16, 20),
        ("video", 33, 20),
        ("video", 50, 40),
    ]


def test_a_picture_that_took_longer_to_be_coded_than_expected_leaves_at_once() -> None:
    out = Exit()

    async def coding() -> None:
        await asyncio.sleep(0.03)
        await out.picture(0, due_ms=12)

    assert out.play(coding) == [("video", 0, 30)]


def test_sound_waits_until_its_picture_has_left() -> None:
    out = Exit()

    async def coding() -> None:
        for pts_ms in (0, 20, 40):
            await out.sound(pts_ms)
        await out.picture(0, due_ms=12)
        await out.picture(33, due_ms=45)
        await asyncio.sleep(0.1)

    got = out.play(coding)
    assert got == [
        ("video", 0, 12),
        ("audio", 0, 12),
        ("video", 33, 45),
        ("audio", 20, 45),
        # No picture of its time ever came: the stream has ended.
        ("audio", 40, 100),
    ]


def test_sound_that_waited_for_a_picture_in_vain_leaves_when_it_is_said_that_none_comes() -> None:
    out = Exit()

    async def coding() -> None:
        await out.sound(0)
        await asyncio.sleep(0.4)
        await out.leaving.sound_overdue()
        await asyncio.sleep(0.4)
        await out.leaving.sound_overdue()
        await asyncio.sleep(0.4)

    assert out.play(coding) == [("audio", 0, 800)]


def test_sound_waits_for_pictures_that_were_given_more_time() -> None:
    out = Exit()

    async def coding() -> None:
        out.leaving.set_budget(3000)
        await out.sound(0)
        for _ in range(2):
            await asyncio.sleep(2)
            await out.leaving.sound_overdue()

    assert out.play(coding) == [("audio", 0, 4000)]


def test_from_file_to_file_sound_waits_for_no_picture_and_no_time_is_kept() -> None:
    out = Exit(waits=True)

    async def coding() -> None:
        await out.sound(20)
        for pts_ms in range(0, 4000, 40):
            await out.picture(pts_ms)

    got = out.play(coding)
    assert min(got) == ("audio", 20, 0)
    assert len(got) == 101
    assert "cadence_error" not in out.metrics.timings()


def test_each_rendition_gets_its_own_pictures_and_a_frame_is_counted_once() -> None:
    out = Exit()

    async def coding() -> None:
        for number in (0, 1):
            for rendition in (0, 1):
                await out.picture(20 * number, due_ms=10 + 20 * number, rendition=rendition)

    assert out.play(coding) == [("video", 0, 10), ("video", 20, 30)]
    assert out.sinks[1].got == out.sinks[0].got
    assert out.metrics.counted("sent") == 2


@pytest.mark.parametrize(("late_ms", "error_ms"), [(0, 0.0), (7, 7.0)])
def test_the_error_of_the_cadence_is_that_of_what_leaves(late_ms: float, error_ms: float) -> None:
    out = Exit()

    async def coding() -> None:
        await out.picture(0, due_ms=12)
        await asyncio.sleep((32 + late_ms) / 1000)
        await out.picture(20, due_ms=32)

    out.play(coding)
    summary = out.metrics.timings()["cadence_error"]
    assert summary.n == 1
    assert summary.max == pytest.approx(error_ms)
