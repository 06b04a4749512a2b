"""The last real frame before a pause, or of all, at a fixed rate: it is seen wherever it lies."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from streamer.config import Between
from streamer.frame import Frame, Planes
from streamer.ops.motion import half
from tests.streamer.enhance.test_leaving_out import BASE, Bench
from tests.streamer.enhance.test_making import pan, picture
from tests.streamer.pictures import frame_of

LAST = 21
"""The number of the frame that stands, after others at 25 frames a second: a screen that is shared."""
SLIDE = picture(seed=9)


def scene(number: int) -> Planes:
    return SLIDE if number == LAST else pan(number)


def at(number: int, time_s: Fraction, *, lasts_s: Fraction = Fraction(1, 25)) -> Frame:
    frame = frame_of(scene(number), pts=round(time_s / BASE))
    return replace(frame, time_base=BASE, duration=round(lasts_s / BASE))


def played(bench: Bench, times: list[Fraction]) -> list[Frame]:
    frames: list[Frame] = []
    for number, time_s in enumerate(times):
        lasts_s = Fraction(3) if number == LAST else Fraction(1, 25)
        frames += bench.process(at(number, time_s, lasts_s=lasts_s))
        if bench.chain.predicts:
            bench.chain.look()
            frames += bench.chain.ahead()
    return frames


def shows_slide(frame: Frame) -> bool:
    """The bench enlarges pictures to twice their size."""
    return float(np.abs(half(frame.planes[0]).astype(float) - SLIDE[0]).mean()) < 4


BURST = [Fraction(number, 25) for number in range(LAST + 1)]
CASES: list[tuple[str, Between]] = [
    ("60", "interpolate"),
    ("60", "none"),
    ("59.94", "interpolate"),
    ("24", "interpolate"),
    ("15", "interpolate"),
    ("15", "none"),
    ("15", "predict"),
    ("60", "predict"),
    ("x2", "interpolate"),
]


@pytest.mark.parametrize(("rate", "between"), CASES)
def test_what_stands_during_a_pause_is_the_last_real_frame_before_it(
    rate: str, between: Between
) -> None:
    bench = Bench(rate, between)
    again = [BURST[-1] + 3 + Fraction(number, 25) for number in range(4)]
    frames = played(bench, [*BURST, *again])
    before = [frame for frame in frames if frame.time_s < again[0]]
    assert shows_slide(before[-1])
    assert abs(before[-1].time_s - BURST[-1]) <= Fraction(1, 15)
    assert sum(map(shows_slide, frames)) == 1, "once is enough"
    assert all(one.pts < other.pts for one, other in pairwise(frames))
    assert frames[len(before)].time_s == again[0]


@pytest.mark.parametrize(("rate", "between"), CASES)
def test_the_last_frame_of_all_is_shown_where_its_time_has_a_slot(
    rate: str, between: Between
) -> None:
    bench = Bench(rate, between)
    frames = [*played(bench, BURST), *bench.chain.finish()]
    assert shows_slide(frames[-1])
    assert all(one.pts < other.pts for one, other in pairwise(frames))


@pytest.mark.parametrize("between", ["interpolate", "none", "predict"])
def test_a_last_frame_whose_time_has_no_slot_makes_a_file_no_longer(between: Between) -> None:
    bench = Bench("15", between)
    for number in range(12):
        bench.process(at(number, Fraction(number, 30), lasts_s=Fraction(1, 30)))
    done = bench.metrics.counts("tier.")
    assert bench.chain.finish() == []
    assert bench.metrics.counts("tier.") == done, "nor is it enhanced for nothing"
