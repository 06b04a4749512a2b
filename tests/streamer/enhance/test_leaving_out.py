"""Frames that no slot of a lower rate takes: not enhanced, and all others are as if they were."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import accumulate, cycle, islice

import numpy as np
import pytest

from streamer.clock import ManualClock
from streamer.config import Between
from streamer.enhance.chain import Chain
from streamer.enhance.frame_maker import FrameMaker
from streamer.enhance.made_frames import MadeFrames
from streamer.enhance.making import Making
from streamer.enhance.scene_change import SceneWatch
from streamer.enhance.super_resolution import SuperResolution
from streamer.frame import Frame, Origin, Planes
from streamer.infer.reference import ReferenceEngine
from streamer.infer.reference_motion import ReferenceMotionEngine
from streamer.metrics import Metrics
from streamer.rate import parse_rate
from streamer.schedule import TierLadder
from tests.streamer.enhance.test_making import pan, picture
from tests.streamer.pictures import frame_of

BASE = Fraction(1, 90_000)

EVEN = [Fraction(number, 30) for number in range(36)]
UNEVEN = list(accumulate(islice(cycle(Fraction(n, 300) for n in (5, 5, 14, 10, 3, 21)), 36)))


@cache
def scene(number: int) -> Planes:
    """It moves slowly, then as usual, stands still for a while, and is another one after a cut."""
    if number < 8:
        return picture(moved=0.2 * number)
    return pan(min(number, 20)) if number < 26 else picture(moved=3.0 * number, seed=9)


def frames_at(times: list[Fraction]) -> list[Frame]:
    return [
        replace(frame_of(scene(number), pts=round(time / BASE)), time_base=BASE, duration=3000)
        for number, time in enumerate(times)
    ]


class Bench:
    """What enlarges pictures and makes more of them, in a chain."""

    def __init__(self, rate: str, between: Between) -> None:
        self.clock, self.metrics = ManualClock(), Metrics()
        self.stage, engine = SuperResolution((ReferenceEngine(2),)), ReferenceMotionEngine()
        ladder = TierLadder(self.stage.tiers, self.clock, makes_frames=True)
        self.making = Making(
            MadeFrames(FrameMaker(engine), SceneWatch(), self.stage.lend),
            engine=engine,
            rate=parse_rate(rate),
            between=between,
            time_base=BASE,
            clock=self.clock,
            metrics=self.metrics,
        )
        self.chain = Chain(self.stage, ladder, self.clock, self.metrics, making=self.making)

    def process(self, frame: Frame) -> list[Frame]:
        return self.chain.process(frame, deadline_ns=None, with_comparison=False)

    def live(self, frame: Frame) -> list[Frame]:
        """It comes at its time."""
        self.clock.advance_ms(float(1000 * frame.time_s) - self.clock.now_ns() / 1e6)
        deadline_ns = self.clock.now_ns() + 80_000_000
        return self.chain.process(frame, deadline_ns=deadline_ns, with_comparison=False)

    def without_a_chain(self, frame: Frame) -> list[Frame]:
        """As ``process``, where every real frame is enhanced as it comes."""
        plan = self.making.plan(frame, None)
        enhanced = self.stage.process(frame, tier=self.stage.tiers[0], with_comparison=False)
        self.making.see(frame, plan)
        return self.making.around(frame, enhanced, plan, may_make=lambda: True)

    @property
    def enhanced(self) -> int:
        return sum(self.metrics.counts("tier.").values())


@pytest.mark.parametrize("times", [EVEN, UNEVEN], ids=["even", "uneven"])
@pytest.mark.parametrize("rate", ["3", "10", "12.5", "23.976", "24"])
@pytest.mark.parametrize("between", ["none", "interpolate", "predict"])
def test_what_leaves_is_the_same_to_the_bit(
    between: Between, rate: str, times: list[Fraction]
) -> None:
    frames = frames_at(times)
    bench, other = Bench(rate, between), Bench(rate, between)
    found = [each for frame in frames for each in bench.process(frame)]
    wanted = [each for frame in frames for each in other.without_a_chain(frame)]
    assert [(each.time_s, each.origin) for each in found] == [
        (each.time_s, each.origin) for each in wanted
    ]
    for ours, theirs in zip(found, wanted, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(ours.planes, theirs.planes, strict=True))
        assert ours.duration == theirs.duration


@pytest.mark.parametrize(
    ("rate", "between", "shown_or_needed"),
    [
        ("10", "none", 12),
        ("10", "interpolate", 12),
        ("10", "predict", 12),
        ("12.5", "none", 15),
        ("24", "predict", 29),
        # Of twelve frames one is shown as it is, and four are made of two each.
        ("12.5", "interpolate", 27),
        ("24", "interpolate", 36),
    ],
)
def test_only_frames_that_leave_or_are_needed_for_others_are_enhanced(
    rate: str, between: Between, shown_or_needed: int
) -> None:
    frames = frames_at(EVEN)
    bench = Bench(rate, between)
    left = sum(len(bench.process(frame)) for frame in frames)
    bench.chain.close()
    assert bench.enhanced == shown_or_needed
    assert between == "interpolate" or left == shown_or_needed
    assert bench.metrics.counted("left_out") == len(frames) - shown_or_needed


@pytest.mark.parametrize("between", ["none", "interpolate", "predict"])
@pytest.mark.parametrize("rate", ["10", "12.5", "24"])
def test_live_a_frame_is_enhanced_when_it_comes_or_never(between: Between, rate: str) -> None:
    frames = frames_at(EVEN)
    bench = Bench(rate, between)
    done: list[int] = []
    for frame in frames:
        before = bench.enhanced
        bench.live(frame)
        done.append(bench.enhanced - before)
    assert max(done) == 1
    if rate != "24":
        assert sum(done[6:]) <= 22


def test_live_a_frame_that_is_needed_after_all_is_enhanced_with_the_next() -> None:
    frames = frames_at([*EVEN[:12], EVEN[12] + Fraction(16, 1000)])
    bench = Bench("10", "interpolate")
    left: list[Frame] = []
    for frame in frames:
        left = bench.live(frame)
    assert [(frame.time_s, frame.origin) for frame in left] == [(EVEN[12], Origin.INTERPOLATED)]


def test_nothing_stands_in_for_a_frame_beside_others_that_are_left_out() -> None:
    frames = frames_at(EVEN)
    bench = Bench("10", "predict")
    for frame in frames[10:21]:
        bench.process(frame)
    assert bench.chain.conceal(EVEN[21]) is None
    # The slot that this one would have taken is still there for the next.
    (late,) = bench.process(frames[22])
    assert late.origin is Origin.DECODED
