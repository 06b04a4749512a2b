from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

import pytest

from streamer.clock import ManualClock
from streamer.frame import Frame, Origin
from streamer.metrics import Metrics
from streamer.pace import LONGEST_LEAD_NS, MOST_LOST, Pacer, Pacing
from streamer.playout import DUE
from tests.streamer.pictures import empty, frame_of

PLANES = empty(width=16, height=16)


@dataclass
class Steady:
    """A camera whose frames come every thirtieth of a second."""

    interval_s: Fraction | None = Fraction(1, 30)
    step_s: Fraction | None = Fraction(1, 30)
    is_regular: bool = True
    makes_frames: bool = True
    spread_s: Fraction = Fraction(0)
    stand_in_s: Fraction = Fraction(0)


class Bench:
    """A pacer with a clock that is moved by hand."""

    def __init__(
        self,
        *,
        is_even: bool = False,
        conceals: bool = False,
        rhythm: Steady | None = None,
        lead_ms: float = 0.0,
    ) -> None:
        self.clock = ManualClock()
        self.metrics = Metrics()
        self._lead_ms = lead_ms
        self.pacer = Pacer(
            Pacing(
                is_even=is_even,
                conceals=conceals,
                budget_ms=lambda: 80,
                lead_ms=lambda: lead_ms,
            ),
            rhythm=lambda: rhythm or Steady(),
            clock=self.clock,
            metrics=self.metrics,
        )

    def frame(self, time: float | Fraction, origin: Origin = Origin.DECODED) -> Frame:
        """``time`` in intervals of the source."""
        base = Fraction(1, 3000)
        pts = round(Fraction(time) * 100)
        return replace(
            frame_of(PLANES),
            pts=pts,
            time_base=base,
            origin=origin,
            arrived_ns=self.clock.now_ns(),
        )

    def offer(self, time: float, origin: Origin = Origin.DECODED) -> None:
        self.pacer.offer(self.frame(time, origin))

    def shown(self) -> list[float]:
        return [float(frame.time_s * 30) for frame in self._coded()]

    def left_ms(self) -> list[float]:
        """When what is to be shown now leaves: at once, or when the pacer says."""
        now_ns = self.clock.now_ns()
        return [max(now_ns, frame.stamps_ns[DUE]) / 1e6 for frame in self._coded()]

    def _coded(self) -> Iterator[Frame]:
        while (frame := self.pacer.take()) is not None:
            self.pacer.coded(frame, self.clock.now_ns() + round(self._lead_ms * 1e6))
            yield frame

    def at_interval(self, time: float) -> None:
        """Moves the clock to so many intervals after its start."""
        self.clock.advance_ms((time * 1e9 / 30 - self.clock.now_ns()) / 1e6)

    def missing(self) -> Iterator[Fraction]:
        """What is missing, in intervals, each at the time that the pacer asks for."""
        while (next_ns := self.pacer.next_ns()) is not None:
            self.clock.advance_ms(max(0, next_ns - self.clock.now_ns()) / 1e6)
            missing_s = self.pacer.missing()
            assert missing_s is not None
            yield missing_s * 30

    def filled(self) -> list[float]:
        """What is shown where a predicted frame stands in for each that is missing."""
        shown = []
        for time in self.missing():
            self.offer(float(time), Origin.PREDICTED)
            shown += self.shown()
        return shown


def concealing(rhythm: Steady | None = None) -> Bench:
    """Where frames are made up for, after the first one was shown."""
    bench = Bench(conceals=True, rhythm=rhythm)
    bench.offer(0)
    bench.shown()
    return bench


def test_a_real_frame_leaves_at_once_where_nothing_has_to_be_even() -> None:
    bench = Bench()
    bench.offer(0)
    assert bench.shown() == [0]
    bench.at_interval(1.7)
    bench.offer(1)
    assert bench.shown() == [1]


def test_a_predicted_frame_leaves_at_its_distance_from_the_real_one() -> None:
    """It is coded at once, before the next real one needs the cores, and waits for its time then."""
    bench = Bench(lead_ms=4.0)
    bench.at_interval(0.2)
    bench.offer(0)
    assert bench.shown() == [0]
    bench.offer(0.5, Origin.PREDICTED)
    assert bench.left_ms() == [pytest.approx(0.7 * 1e3 / 30 + 4.0)]


def test_a_real_frame_that_comes_early_replaces_the_predicted_one_before_it() -> None:
    bench = Bench()
    bench.offer(0)
    bench.shown()
    bench.offer(0.5, Origin.PREDICTED)
    bench.at_interval(0.4)
    bench.offer(1)
    assert bench.shown() == [1]
    assert bench.metrics.counted("dropped.pace.late") == 1


def test_a_frame_whose_time_has_passed_is_not_shown() -> None:
    bench = Bench()
    bench.offer(1)
    bench.shown()
    bench.offer(1)
    bench.offer(0.5, Origin.INTERPOLATED)
    assert bench.shown() == []
    assert bench.metrics.counted("dropped.pace.late") == 2


def doubled(bench: Bench, *, intervals: int, jitter_ms: float, seed: int = 3) -> list[float]:
    """When frames left, in ms, of a camera whose frames come late by up to ``jitter_ms`` and
    take 20 ms to be doubled."""
    numbers = random.Random(seed)
    ready_ns = [
        round(n * 1e9 / 30 + numbers.uniform(0, jitter_ms) * 1e6 + 20e6) for n in range(intervals)
    ]
    shown = []
    for number, now_ns in enumerate(ready_ns):
        while (next_ns := bench.pacer.next_ns()) is not None and next_ns <= now_ns:
            bench.clock.advance_ms(max(0, next_ns - bench.clock.now_ns()) / 1e6)
            shown += bench.left_ms()
        bench.clock.advance_ms((now_ns - bench.clock.now_ns()) / 1e6)
        if number:
            bench.offer(number - 0.5, Origin.INTERPOLATED)
        bench.offer(number)
        shown += bench.left_ms()
    return shown


def test_doubled_frames_leave_evenly_though_they_are_ready_in_pairs_and_late() -> None:
    bench = Bench(is_even=True)
    shown = doubled(bench, intervals=600, jitter_ms=15)
    gaps = sorted(abs(b - a - 1000 / 60) for a, b in pairwise(shown[120:]))
    assert gaps[int(0.95 * len(gaps))] < 2
    assert len(shown) >= 1195


def test_a_frame_goes_to_the_encoder_when_it_is_ready_and_is_told_when_to_leave() -> None:
    bench = Bench(is_even=True, lead_ms=6.0)
    bench.offer(0)
    first = bench.pacer.take()
    assert first is not None
    assert first.stamps_ns[DUE] == 6_000_000
    bench.at_interval(0.5)
    bench.offer(1)
    leaves_ns = 6_000_000 + round(1e9 / 30)
    second = bench.pacer.take()
    assert second is not None
    assert second.stamps_ns[DUE] == leaves_ns


def test_an_encoder_that_takes_very_long_is_not_waited_for() -> None:
    bench = Bench(is_even=True, lead_ms=200.0)
    bench.offer(0)
    frame = bench.pacer.take()
    assert frame is not None
    assert frame.stamps_ns[DUE] == LONGEST_LEAD_NS


def test_a_made_frame_is_not_given_up_because_the_next_one_may_be_coded_ahead_of_its_time() -> None:
    bench = Bench(is_even=True, lead_ms=18.0)
    bench.offer(0)
    bench.shown()
    # The real frame could be coded by now, and would still have time.
    bench.at_interval(0.6)
    bench.offer(0.5, Origin.INTERPOLATED)
    bench.offer(1)
    assert bench.shown() == [0.5, 1]


def test_even_frames_wait_half_an_interval_and_no_more_than_making_them_takes() -> None:
    bench = Bench(is_even=True)
    shown = doubled(bench, intervals=300, jitter_ms=0)
    # Real frame n was sent at n / 30 s; it leaves at every second place.
    latency_ms = shown[-2] - (1000 / 30) * 298
    assert latency_ms <= 1000 / 60 + 20 + 1000 / 60 + 1


def test_a_frame_that_does_not_come_is_missing_after_half_an_interval() -> None:
    bench = concealing()
    bench.at_interval(1.45)
    assert bench.pacer.missing() is None
    bench.at_interval(1.51)
    assert bench.pacer.missing() == Fraction(1, 30)


def test_frames_stand_in_for_missing_ones_until_too_many_are() -> None:
    bench = concealing()
    filled = bench.filled()
    assert filled == [1, 2, 3, 4]
    assert len(filled) == MOST_LOST


def test_a_frame_that_came_too_late_to_be_shown_may_be_followed_by_as_many_that_stand_in() -> None:
    bench = concealing()
    bench.at_interval(1.6)
    bench.offer(1, Origin.PREDICTED)
    bench.shown()
    bench.offer(1)
    filled = bench.filled()
    assert filled == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("takes_s", "at"), [(0.0, 1.5), (0.01, 1.325), (0.015, 1.175), (0.1, 1.125)]
)
def test_what_takes_long_to_be_made_is_begun_earlier_so_that_no_picture_stands_too_long(
    takes_s: float, at: float
) -> None:
    bench = concealing(Steady(stand_in_s=Fraction(takes_s)))
    next_ns = bench.pacer.next_ns()
    assert next_ns is not None
    assert next_ns * 30 / 1e9 == pytest.approx(at, abs=0.001)


def test_frames_that_are_late_now_and_then_are_waited_for_a_little_longer() -> None:
    bench = Bench(conceals=True, rhythm=Steady(stand_in_s=Fraction(3, 100)))
    for number in range(40):
        bench.at_interval(number + (0.3 if number % 3 == 0 else 0))
        bench.offer(number)
        bench.shown()
    next_ns = bench.pacer.next_ns()
    assert next_ns is not None
    assert next_ns * 30 / 1e9 == pytest.approx(40.425, abs=0.01)


def test_of_film_at_sixty_hertz_nothing_is_missing_before_the_longer_interval_has_passed() -> None:
    bench = concealing(Steady(spread_s=Fraction(1, 60)))
    bench.at_interval(1.9)
    assert bench.pacer.missing() is None
    bench.at_interval(2.01)
    assert bench.pacer.missing() == Fraction(1, 30)


def test_where_nothing_stands_in_for_a_frame_the_next_one_is_waited_for() -> None:
    bench = concealing()
    missed = []
    for missing in bench.missing():
        missed.append(missing)
        bench.pacer.skip(Fraction(missing, 30))
    assert missed == [1, 2, 3, 4]
    assert bench.pacer.missing() is None
    bench.at_interval(6)
    bench.offer(6)
    bench.shown()
    bench.at_interval(7.9)
    assert bench.pacer.missing() == Fraction(7, 30)


def test_what_is_missing_for_so_long_that_the_next_is_missing_too_is_left_out() -> None:
    bench = concealing()
    bench.at_interval(3.3)
    assert bench.pacer.missing() == Fraction(3, 30)
    bench.offer(3, Origin.PREDICTED)
    assert bench.shown() == [3]
    assert bench.pacer.next_ns() == pytest.approx(4.25e9 / 30)


def test_a_frame_that_was_made_up_for_is_left_out_when_it_comes_after_all() -> None:
    bench = concealing()
    bench.at_interval(1.6)
    bench.offer(1, Origin.PREDICTED)
    assert bench.shown() == [1]
    bench.offer(1)
    assert bench.shown() == []
    bench.at_interval(2)
    bench.offer(2)
    assert bench.shown() == [2]


def test_nothing_is_missing_from_a_source_without_a_rhythm() -> None:
    bench = concealing(Steady(is_regular=False))
    bench.at_interval(9)
    assert bench.pacer.missing() is None


def test_even_frames_miss_the_next_step_and_not_the_next_real_frame() -> None:
    bench = Bench(is_even=True, conceals=True, rhythm=Steady(step_s=Fraction(1, 60)))
    bench.offer(0)
    bench.shown()
    bench.at_interval(0.8)
    assert bench.pacer.missing() == Fraction(1, 60)


def test_at_even_distances_it_counts_when_frames_came_and_not_which_fell_on_a_slot() -> None:
    """At 60 fps of 25 one in five does, at 60 of 59.94 one in a thousand."""
    bench = Bench(is_even=True, conceals=True, rhythm=Steady(step_s=Fraction(1, 60)))
    bench.offer(0)
    for slot in range(1, 13):
        bench.at_interval(slot / 2)
        bench.offer(slot / 2, Origin.INTERPOLATED)
        bench.shown()
    assert bench.filled() == [6.5, 7, 7.5, 8, 8.5, 9, 9.5, 10]


def test_what_waits_at_the_end_is_given_out() -> None:
    bench = Bench(is_even=True)
    bench.offer(0)
    bench.offer(0.5, Origin.INTERPOLATED)
    first, second = bench.pacer.flush(), bench.pacer.flush()
    assert first is not None
    assert second is not None
    assert (first.pts, second.pts) == (0, 50)
    assert bench.pacer.flush() is None


def test_a_frame_is_not_shown_after_what_stood_in_for_it_though_their_times_differ_a_little() -> (
    None
):
    """A camera that stamps frames when they leave its encoder is off by some milliseconds."""
    bench = concealing()
    bench.at_interval(1.6)
    bench.offer(1, Origin.PREDICTED)
    assert bench.shown() == [1]
    bench.offer(1.15)
    assert bench.shown() == []
    assert bench.metrics.counted("dropped.pace.late") == 1
    bench.at_interval(2)
    bench.offer(1.9)
    assert bench.shown() == [1.9]


def test_between_real_frames_what_was_predicted_stands_for_none_of_them() -> None:
    bench = concealing()
    bench.offer(0.8, Origin.PREDICTED)
    assert bench.shown() == [0.8]
    bench.at_interval(1)
    bench.offer(0.95)
    assert bench.shown() == [0.95]
