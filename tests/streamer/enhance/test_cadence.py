"""What is known of the rhythm of sources: steady and lossy ones, film, jitter, and those without any."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import accumulate, pairwise

import pytest

from streamer.enhance.cadence import ENOUGH, RECENT, Cadence

THIRTIETH = Fraction(1, 30)


def seen(times: Iterable[Fraction]) -> Cadence:
    cadence = Cadence()
    for before, after in pairwise(times):
        cadence.see(after - before)
    return cadence


def steady(count: int, *, fps: Fraction | int = 30) -> list[Fraction]:
    return [number / Fraction(fps) for number in range(count)]


def in_turn(intervals: Sequence[Fraction], count: int) -> list[Fraction]:
    return list(accumulate([Fraction(0), *(intervals[n % len(intervals)] for n in range(count))]))


def lossy(times: Sequence[Fraction], *, share: float, burst: float, seed: int) -> list[Fraction]:
    """A line that loses this share of the frames, ``burst`` of them in a row on average."""
    numbers, is_losing, left = random.Random(seed), False, []
    for time in times:
        is_losing = numbers.random() < (1 - 1 / burst if is_losing else share / burst / (1 - share))
        left += [] if is_losing else [time]
    return left


def test_a_source_is_regular_once_enough_was_seen_of_it() -> None:
    assert not seen(steady(ENOUGH)).is_regular
    cadence = seen(steady(ENOUGH + 1))
    assert cadence.is_regular
    assert (cadence.interval_s, cadence.spread_s) == (THIRTIETH, Fraction(0))


@pytest.mark.parametrize("fps", [12, 25, Fraction(30000, 1001), 60])
@pytest.mark.parametrize(("share", "burst"), [(0.05, 1), (0.1, 3), (0.2, 1), (0.2, 2), (0.25, 3)])
def test_lost_frames_do_not_make_a_source_irregular(
    fps: Fraction, share: float, burst: float
) -> None:
    times = steady(400, fps=fps)
    left = lossy(times, share=share, burst=burst, seed=5)
    assert len(left) < (1 - share / 2) * len(times)
    for end in range(2 * RECENT, len(left)):
        cadence = seen(left[end - RECENT : end])
        assert cadence.is_regular, end
        assert cadence.interval_s == 1 / Fraction(fps)


def test_times_in_whole_milliseconds_of_a_lossy_source_are_regular_too() -> None:
    times = [Fraction(round(1000 * time), 1000) for time in steady(200)]
    cadence = seen(lossy(times, share=0.2, burst=2, seed=2))
    assert cadence.is_regular
    assert cadence.interval_s in (Fraction(33, 1000), Fraction(34, 1000))
    assert cadence.spread_s <= Fraction(1, 1000)


def test_film_at_sixty_hertz_is_no_source_that_loses_frames() -> None:
    cadence = seen(in_turn((Fraction(2, 60), Fraction(3, 60)), 48))
    assert cadence.is_regular
    assert cadence.interval_s == Fraction(2, 60)
    # Nothing is missing before the longer of the two has passed.
    assert cadence.interval_s + cadence.spread_s == Fraction(3, 60)


@pytest.mark.parametrize("share", [0.05, 0.15])
@pytest.mark.parametrize("seed", range(4))
def test_frames_that_come_a_little_early_or_late_are_regular(share: float, seed: int) -> None:
    numbers = random.Random(seed)
    times = [
        time + Fraction(round(1e6 * numbers.uniform(-share, share) / 30), 10**6)
        for time in steady(60)
    ]
    cadence = seen(times)
    assert cadence.is_regular
    assert cadence.interval_s is not None
    assert abs(cadence.interval_s - THIRTIETH) <= share * THIRTIETH


@pytest.mark.parametrize(
    "intervals",
    [
        [Fraction(1 + n % 3, 40) for n in range(30)],
        [Fraction(n, 1000) for n in (33, 47, 21, 66, 80, 15, 52)],
        [Fraction(n, 1000) for n in (20, 20, 20, 170, 20, 50, 120)],
        [Fraction(n, 1000) for n in (30, 60, 90, 60)],
    ],
)
def test_frames_that_come_as_they_like_are_not(intervals: Sequence[Fraction]) -> None:
    assert not seen(in_turn(intervals, 48)).is_regular


@pytest.mark.parametrize(("before", "after"), [(30, 15), (15, 30), (24, 30), (30, 25), (60, 24)])
def test_another_rate_is_learnt_within_as_many_frames_as_are_kept(before: int, after: int) -> None:
    first = steady(60, fps=before)
    cadence = seen([*first, *(first[-1] + time for time in steady(RECENT + 1, fps=after)[1:])])
    assert cadence.is_regular
    assert cadence.interval_s == Fraction(1, after)
