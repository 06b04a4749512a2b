from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import pytest

from streamer.clock import Clock, ManualClock, MonotonicClock
from streamer.config import SinkSpec, StreamSettings
from streamer.frame import Frame, Origin
from streamer.hold import Hold
from streamer.link import Link, Overflow
from streamer.metrics import Metrics
from streamer.pace import MOST_LOST, Pacer, Pacing
from streamer.rate import Rate
from streamer.showing import Showing
from tests.streamer.pictures import empty, frame_of
from tests.streamer.test_pace import Steady
from tests.streamer.virtual_time import run

PLANES = empty(width=16, height=16)


class Stage:
    """A link that frames are put into, and what is shown of them."""

    def __init__(
        self, *, is_even: bool = False, can_conceal: bool = True, clock: Clock | None = None
    ) -> None:
        self.clock = clock or MonotonicClock()
        self.link: Link[Frame] = Link("enhanced_link", capacity=1, overflow=Overflow.WAIT)
        self.concealed: list[Fraction] = []
        self._can_conceal = can_conceal
        pacer = Pacer(
            Pacing(is_even=is_even, conceals=True, budget_ms=lambda: 80, lead_ms=lambda: 0),
            rhythm=Steady,
            clock=self.clock,
            metrics=Metrics(),
        )
        self.showing = Showing(
            self.link,
            pacer=pacer,
            hold=Hold(self.clock, fps=Fraction(30)),
            conceal=self._conceal,
            clock=self.clock,
        )

    async def put(self, time: Fraction | int, origin: Origin = Origin.DECODED) -> None:
        """``time`` in thirtieths of a second."""
        await self.link.put(self._frame(Fraction(time, 30), origin))

    def _frame(self, time_s: Fraction, origin: Origin) -> Frame:
        base = Fraction(1, 90_000)
        return replace(
            frame_of(PLANES, pts=int(time_s / base)),
            time_base=base,
            origin=origin,
            arrived_ns=self.clock.now_ns(),
        )

    async def _conceal(self, time_s: Fraction) -> Frame | None:
        self.concealed.append(time_s)
        return self._frame(time_s, Origin.PREDICTED) if self._can_conceal else None


def shown(stage: Stage, times: Sequence[Fraction | int], *, silence_s: float = 0.0) -> list[Frame]:
    """All frames shown of those with these times, each put when the one before was taken."""

    async def play() -> list[Frame]:
        async def put_all() -> None:
            for time in times:
                await stage.put(time)
            await asyncio.sleep(silence_s)
            await stage.link.close()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(put_all())
            return [frame async for frame in stage.showing.frames() if frame is not None]

    return asyncio.run(play())


def test_frames_are_shown_in_order_and_all_of_them() -> None:
    frames = shown(Stage(), range(5))
    assert [frame.time_s * 30 for frame in frames] == [0, 1, 2, 3, 4]


def test_even_frames_are_all_shown_though_the_source_ends_before_they_are_due() -> None:
    frames = shown(Stage(is_even=True), range(8))
    assert [frame.time_s * 30 for frame in frames] == list(range(8))


@pytest.mark.parametrize("source_fps", [Fraction(30), None])
def test_a_frame_a_second_is_no_silence(source_fps: Fraction | None) -> None:
    clock = ManualClock()
    stage = Stage(clock=clock)

    async def nothing(*_: object) -> None:
        """There is nothing to be made."""

    stage.showing = Showing.of(
        stage.link,
        settings=StreamSettings(
            source="rtsp://camera/",
            sinks=(SinkSpec(kind="null"),),
            rate=Rate(fps=Fraction(1)),
            between="none",
            conceals=False,
        ),
        fps=source_fps,
        budget_ms=lambda: 80,
        lead_ms=lambda: 0,
        rhythm=Steady,
        conceal=nothing,
        newest=nothing,
        clock=clock,
        metrics=Metrics(),
    )

    async def play() -> list[Frame]:
        async def put_all() -> None:
            for number in range(5):
                # Every other one comes a little late.
                await asyncio.sleep(number + number % 2 / 100 - clock.now_ns() / 1e9)
                await stage.put(30 * number)
            await stage.link.close()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(put_all())
            return [frame async for frame in stage.showing.frames() if frame is not None]

    assert [frame.tier for frame in run(play(), clock)] == [""] * 5


def test_where_frames_are_missing_others_stand_in_and_then_the_last_one_is_held() -> None:
    stage = Stage()
    frames = shown(stage, range(3), silence_s=1.6)
    assert [time * 30 for time in stage.concealed] == [3, 4, 5, 6]
    origins = [frame.origin for frame in frames]
    assert origins[: 3 + MOST_LOST] == [Origin.DECODED] * 3 + [Origin.PREDICTED] * MOST_LOST
    held = frames[3 + MOST_LOST :]
    assert held
    assert {frame.origin for frame in held} == {Origin.REPEATED}
    times = [frame.time_s for frame in frames]
    assert times == sorted(set(times))


def test_where_nothing_can_stand_in_it_is_asked_for_once_for_each_missing_frame() -> None:
    stage = Stage(can_conceal=False)
    frames = shown(stage, range(3), silence_s=0.4)
    asked = [time * 30 for time in stage.concealed]
    # A machine that stands still for a while has missed more than one at once.
    assert asked == sorted(set(asked))
    assert set(asked) <= {3, 4, 5, 6}
    assert asked[-1] == 6
    assert len(frames) == 3


@pytest.mark.parametrize("before_s", [0.02, 0.4, 0.7])
def test_a_program_that_stood_still_does_not_take_its_source_for_silent(before_s: float) -> None:
    clock = ManualClock()
    stage = Stage(clock=clock, can_conceal=False)

    async def play() -> list[Frame | None]:
        async def put_all() -> None:
            for time in range(3):
                await stage.put(time)
            await asyncio.sleep(before_s)
            # Everything stops; what was sent meanwhile is read when it goes on, a little later.
            clock.advance_ms(1500)
            await asyncio.sleep(0.1)
            await stage.put(46)
            await stage.link.close()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(put_all())
            return [frame async for frame in stage.showing.frames()]

    frames = run(play(), clock)
    assert [None if frame is None else frame.time_s * 30 for frame in frames] == [0, 1, 2, 46]
