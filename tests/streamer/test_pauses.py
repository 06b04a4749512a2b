"""What stands while a live source pauses: its newest picture, whatever was shown instead of it before."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate, cycle, islice, pairwise

import numpy as np
import pytest
from blockbuster import BlockBuster

from streamer.config import Between
from streamer.frame import Frame, Origin, Planes
from streamer.hold import Hold
from streamer.link import Link, Overflow
from streamer.pace import MOST_LOST, Pacer, Pacing
from streamer.rate import parse_rate
from streamer.showing import Showing
from tests.streamer.enhance import test_making
from tests.streamer.enhance.test_making import Bench, pan, picture, sent
from tests.streamer.virtual_time import run

one_thread = test_making.one_thread


@pytest.fixture(autouse=True)
def chain_in_the_loop(no_blocking_in_the_event_loop: BlockBuster) -> None:
    """No worker: the clock that is moved by hand stands while the chain works."""
    no_blocking_in_the_event_loop.deactivate()


SLIDE = picture(seed=9)
LAST = 31
"""Frame before the pause; it lies beside the grids of 20 and of 45 frames a second."""
PAUSE = 27
"""Intervals: not yet held, which it is after a second."""

EVEN = [*range(LAST + 1), *range(LAST + PAUSE, LAST + PAUSE + 5)]
UNEVEN = list(accumulate(islice(cycle((1, 2, 1, 4)), 40)))
UNEVEN = [*UNEVEN, *(UNEVEN[-1] + PAUSE + n for n in range(5))]


@dataclass(kw_only=True)
class Camera:
    """A live source with the real chain, pacer and showing behind it, by a clock moved by hand."""

    rate: str | None = None
    between: Between = "interpolate"
    conceals: bool = False
    slide: int | None = None
    """Number of a frame that shows something else than the pan."""
    stands_until: int = 0
    """Number of the frame that the pan begins with."""

    def scene(self, number: int) -> Planes:
        return SLIDE if number == self.slide else pan(max(0, number - self.stands_until))

    def watch(self, times: list[int]) -> list[tuple[Frame, float]]:
        """Frames and when they were shown, in thirtieths of a second, as ``times`` are."""
        rate = None if self.rate is None else parse_rate(self.rate)
        self._bench = Bench(rate, between=self.between)
        return run(self._watch(times), self._bench.clock)

    async def _watch(self, times: list[int]) -> list[tuple[Frame, float]]:
        bench = self._bench
        link: Link[Frame] = Link("enhanced_link", capacity=1, overflow=Overflow.WAIT)
        pacing = Pacing(
            is_even=self.rate is not None and self.between == "interpolate",
            conceals=self.conceals,
            budget_ms=lambda: 75,
            lead_ms=lambda: 5,
        )
        showing = Showing(
            link,
            pacer=Pacer(
                pacing, rhythm=lambda: bench.chain.rhythm, clock=bench.clock, metrics=bench.metrics
            ),
            hold=Hold(bench.clock, fps=Fraction(30)),
            conceal=self._conceal,
            newest=self._newest,
            clock=bench.clock,
        )
        shown: list[tuple[Frame, float]] = []
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._shoot(times, link, showing))
            async for frame in showing.frames():
                assert frame is not None
                shown.append((frame, bench.clock.now_ns() * 30 / 1e9))
                showing.coded(frame, bench.clock.now_ns())
        return shown

    async def _shoot(self, times: list[int], link: Link[Frame], showing: Showing) -> None:
        bench = self._bench
        for number in times:
            await asyncio.sleep(max(0.0, number / 30 - bench.clock.now_ns() / 1e9))
            now_ns = bench.clock.now_ns()
            frame = replace(sent(self.scene(number), number), arrived_ns=now_ns)
            showing.came(frame)
            ready = bench.process(
                frame, deadline_ns=now_ns + 70_000_000, shown_s=showing.last_time_s
            )
            for each in [*ready, *bench.predicted()]:
                await link.put(each)
        await link.close()

    async def _conceal(self, time_s: Fraction) -> Frame | None:
        return self._bench.chain.conceal(time_s)

    async def _newest(self, time_s: Fraction, shown: Frame) -> Frame | None:
        return self._bench.chain.newest(time_s, shown)


def shows(frame: Frame, planes: Planes) -> bool:
    return float(np.abs(frame.planes[0].astype(float) - planes[0]).mean()) < 2


def run_forwards(shown: list[tuple[Frame, float]]) -> bool:
    return all(one.time_s < other.time_s for (one, _), (other, _) in pairwise(shown))


@pytest.mark.parametrize("conceals", [False, True])
@pytest.mark.parametrize("times", [EVEN, UNEVEN], ids=["even", "uneven"])
@pytest.mark.parametrize(
    ("rate", "between"),
    [("45", "interpolate"), ("20", "interpolate"), ("20", "predict"), ("20", "none")],
)
def test_a_picture_that_no_slot_took_is_shown_where_the_source_pauses_behind_it(
    rate: str, between: Between, times: list[int], *, conceals: bool
) -> None:
    last = times[-6]
    camera = Camera(rate=rate, between=between, slide=last, conceals=conceals)
    shown = camera.watch(times)
    seen = [(frame, at) for frame, at in shown if shows(frame, SLIDE)]
    assert seen[0][1] - last < 13, "0.2 seconds behind what was shown last, or three intervals"
    assert len(seen) == 1
    # It stands, at a time of its own, and all that comes later is shown.
    assert [shows(frame, SLIDE) for frame, at in shown if at < times[-5] - 0.5][-1]
    assert run_forwards(shown)
    assert shown[-1][0].time_s >= Fraction(times[-2], 30)


@pytest.mark.parametrize(
    ("rate", "between", "conceals"),
    [(None, "none", True), ("x2", "predict", False), ("x2", "interpolate", True)],
)
def test_no_prediction_stands_while_a_source_pauses(
    rate: str | None, between: Between, *, conceals: bool
) -> None:
    shown = Camera(rate=rate, between=between, conceals=conceals).watch(EVEN)
    before = [(frame, at) for frame, at in shown if at < LAST + PAUSE - 0.5]
    guesses = [frame for frame, _ in before if frame.origin is Origin.PREDICTED]
    assert guesses
    assert not shows(guesses[-1], pan(LAST))
    last, at = before[-1]
    assert np.array_equal(last.planes[0], pan(LAST)[0])
    assert last.origin is Origin.REPEATED
    # At the time that it is then: what comes late behind it is late.
    assert abs(last.time_s * 30 - at) < 1
    assert at - LAST < MOST_LOST + 8
    assert run_forwards(shown)
    assert shown[-1][0].time_s >= Fraction(EVEN[-1], 30)


@pytest.mark.parametrize(("rate", "between"), [(None, "none"), ("x2", "interpolate")])
def test_what_is_the_newest_picture_already_is_not_shown_again(
    rate: str | None, between: Between
) -> None:
    apart = range(0, 60, 10)
    shown = Camera(rate=rate, between=between).watch([*EVEN, *(EVEN[-1] + n for n in apart[1:])])
    assert all(frame.origin is not Origin.REPEATED for frame, _ in shown)


def test_a_still_picture_before_a_gap_takes_no_time_from_what_moves_behind_it() -> None:
    still = [0, 1, 2, 3, 9]
    moving = list(range(10, 40))
    camera = Camera(rate="x2", conceals=True, stands_until=still[-1])
    shown = camera.watch([*still, *moving])
    real = [round(frame.time_s * 30) for frame, _ in shown if frame.origin is Origin.DECODED]
    assert real == [*still, *moving]
    # Half an interval for the next frame to come, and nothing is predicted in the place of what comes.
    assert all(at >= frame.time_s * 30 - 0.01 for frame, at in shown if at > moving[0])
