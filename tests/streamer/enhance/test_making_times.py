"""When made frames and the real ones beside them leave, and for how long they are shown."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest

from streamer.frame import Frame, Origin
from streamer.rate import Rate
from tests.streamer.enhance import test_leaving_out, test_making
from tests.streamer.enhance.test_leaving_out import frames_at
from tests.streamer.enhance.test_making import Bench, error, pan, sent

one_thread = test_making.one_thread

DOUBLE, FIXED = Rate(times=2), Rate(fps=Fraction(240))


def run(bench: Bench, times: list[int]) -> list[Frame]:
    frames: list[Frame] = []
    for number, time in enumerate(times):
        frames += bench.process(replace(sent(pan(number), time), duration=1))
        frames += bench.predicted()
    return frames


@pytest.mark.parametrize(
    "times",
    [[*range(0, 60, 4), *range(58, 100, 2)], [*range(0, 72, 6), *range(67, 91)]],
    ids=["twice as fast", "six times as fast"],
)
@pytest.mark.parametrize("rate", [DOUBLE, Rate(times=8), Rate(fps=Fraction(60)), FIXED])
def test_real_frames_that_come_sooner_than_before_are_not_lost_among_predicted_ones(
    rate: Rate, times: list[int]
) -> None:
    frames = run(Bench(rate, between="predict"), times)
    real = [frame for frame in frames if frame.origin is Origin.DECODED]
    assert len(real) == 36
    assert any(frame.origin is Origin.PREDICTED for frame in frames)
    # Else they would have the same time in Matroska.
    assert all(later.time_s - one.time_s >= Fraction(1, 1000) for one, later in pairwise(frames))


@pytest.mark.parametrize("rate", [DOUBLE, Rate(times=8), FIXED])
def test_predicted_frames_last_until_the_real_one_before_them_would_have_ended(rate: Rate) -> None:
    frames = run(Bench(rate, between="predict"), list(range(12)))
    assert frames[-1].origin is Origin.PREDICTED
    last = frames[-1]
    assert last.time_s + last.duration * last.time_base == Fraction(12, 30)


@pytest.mark.parametrize("fps", [1, 10, 25])
def test_at_a_lower_rate_frames_last_for_longer(fps: int) -> None:
    frames = run(Bench(Rate(fps=Fraction(fps)), between="none"), list(range(60)))
    assert {frame.duration * frame.time_base for frame in frames} == {Fraction(1, fps)}


@pytest.mark.parametrize("deadline_ns", [None, 80_000_000])
@pytest.mark.parametrize("fps", [30, 40, 75, 90, 240])
def test_at_a_higher_rate_without_made_frames_real_ones_leave_at_once_at_their_own_times(
    fps: int, deadline_ns: int | None
) -> None:
    bench = Bench(Rate(fps=Fraction(fps)), between="none")
    for number in range(30):
        (frame,) = bench.process(sent(pan(number), number), deadline_ns=deadline_ns)
        assert frame.time_s == Fraction(number, 30)


@pytest.mark.parametrize("fps", [45, 60, 75, 90, 240])
def test_where_made_frames_are_given_up_real_ones_are_early_by_less_than_a_slot(fps: int) -> None:
    bench = Bench(Rate(fps=Fraction(fps)))
    for number in range(30):
        for frame in bench.process(sent(pan(number), number), deadline_ns=0):
            assert frame.origin is Origin.DECODED
            shown = next(n for n in (number - 1, number) if error(frame, pan(n)) == 0)
            early_s = Fraction(shown, 30) - frame.time_s
            assert abs(early_s) < Fraction(1, fps)
            assert early_s == 0 or (Fraction(number, 30) * fps).denominator > 1
    assert bench.metrics.counted("left_out") == 0


def test_after_a_made_frame_the_real_one_before_it_is_not_shown() -> None:
    """Three slots of 50 fps lie between frames at 15 a second, beside these."""
    bench = test_leaving_out.Bench("50", "interpolate")
    real = frames_at([Fraction(number, 15) for number in range(18)])[9:]
    for frame in real[:-1]:
        assert {each.origin for each in bench.process(frame)} <= {
            Origin.DECODED,
            Origin.INTERPOLATED,
        }
    plan = bench.making.plan(real[-1], None)
    assert [slot.is_made for slot in plan] == [True, True, True]
    enhanced = bench.stage.process(real[-1], tier=bench.stage.tiers[0], with_comparison=False)
    time_is_left = iter([True, False, False])
    made, last = bench.making.around(real[-1], enhanced, plan, may_make=lambda: next(time_is_left))
    assert (made.origin, made.time_s) == (Origin.INTERPOLATED, plan[0].time_s)
    assert (last.planes, last.time_s) == (enhanced.planes, plan[2].time_s)


@pytest.mark.parametrize("between", ["interpolate", "none", "predict"])
def test_a_lower_rate_leaves_frames_out(between: str) -> None:
    bench = Bench(Rate(fps=Fraction(10)), between=between)  # type: ignore[arg-type]
    frames = run(bench, list(range(60)))
    assert [frame.time_s * 10 for frame in frames] == list(range(20))
    assert all(frame.origin is Origin.DECODED for frame in frames)


@pytest.mark.parametrize(("fps", "left"), [(60, 1), (90, 2), (100, 3), (24, 1), (15, 0)])
def test_at_the_end_the_last_real_frame_is_there_until_its_time_is_over(
    fps: int, left: int
) -> None:
    bench = Bench(Rate(fps=Fraction(fps)))
    frames = run(bench, list(range(12)))
    again = bench.chain.finish()
    assert len(again) == left
    # At the last two rates it has a slot only after the real frames, if any.
    first = {Origin.DECODED} if fps in (100, 24) else {Origin.REPEATED}
    assert {frame.origin for frame in again[:1]} <= first
    assert {frame.origin for frame in again[1:]} <= {Origin.REPEATED}
    steps = {later.time_s - one.time_s for one, later in pairwise([*frames, *again])}
    assert steps == {Fraction(1, fps)}
    assert all(frame.duration * frame.time_base == Fraction(1, fps) for frame in again)


def test_from_file_to_file_the_network_makes_every_prediction_however_long_frames_take() -> None:
    bench = Bench(DOUBLE, between="predict", network_takes_ms=5)
    frames: list[Frame] = []
    for number in range(12):
        frames += bench.process(sent(pan(number), number)) + bench.predicted()
        # As of large pictures: what anything has cost is long past when it is asked for again.
        bench.clock.advance_ms(5000)
    predicted = sum(frame.origin is Origin.PREDICTED for frame in frames)
    assert bench.network.runs == predicted >= 10


def test_what_is_made_across_a_missing_frame_takes_no_rung() -> None:
    """Three frames are made there and not one, in the time of two intervals."""
    bench, every = Bench(DOUBLE, takes_ms=16.0), 30
    for number in range(6 * every):
        if number % every == every - 1:
            continue
        bench.clock.advance_ms(max(0.0, number * 1000 / 30 - bench.clock.now_ns() / 1e6))
        deadline_ns = bench.clock.now_ns() + 70_000_000
        bench.process(sent(pan(number), number), deadline_ns=deadline_ns)
        assert bench.ladder.rung.makes_frames
    assert not bench.chain.steps.recent()
