"""What no sequence of time stamps may do to slots, and the time base that they are counted in."""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

import pytest

from streamer.enhance.slots import FINEST, LONGEST_S, Slots, output_time_base
from streamer.frame import RTP_TIME_BASE
from streamer.rate import HIGHEST_FPS, Rate, parse_rate

RATES = ("1", "23.976", "25", "60", "59.94", "240", "x2", "x3", "x8")
BASES = (
    RTP_TIME_BASE,
    Fraction(1, 1000),
    Fraction(1001, 24000),
    Fraction(1, 25),
    Fraction(1, 10**9),
)
CADENCES = (1, 5, 12, 24, Fraction(24000, 1001), 25, Fraction(30000, 1001), 30, 50, 60, 144, 240)


def wild(numbers: random.Random, time_base: Fraction) -> Iterator[Fraction]:
    """Time stamps that change their cadence, are lost, repeated, early, late, far off and back."""
    time_s, interval_s = Fraction(numbers.randrange(10**6), 90_000), Fraction(1, 30)
    for _ in range(150):
        yield round(time_s / time_base) * time_base
        event = numbers.random()
        if event < 0.03:
            interval_s = 1 / Fraction(numbers.choice(CADENCES))
        elif event < 0.05:
            time_s += numbers.choice((-1, 1)) * Fraction(numbers.randrange(1, 20_000))
        elif event < 0.10:
            time_s -= numbers.randrange(4) * interval_s
        elif event < 0.15:
            time_s += Fraction(numbers.randrange(1, 300), 1000)
        if event > 0.08:
            time_s += interval_s + numbers.randrange(-3, 4) * interval_s / 20


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("time_base", BASES, ids=str)
def test_slots_run_forwards_whatever_the_time_stamps_do(rate: str, time_base: Fraction) -> None:
    numbers, parsed = random.Random(f"{rate} {time_base}"), parse_rate(rate)
    slots = Slots(parsed, output_time_base(time_base, parsed))
    frames = list(wild(numbers, time_base))
    given = [slot.pts for slot in slots.first(frames[0])]
    for before, after in pairwise(frames):
        found = slots.between(before, after)
        assert len(found) <= 1.05 * float(LONGEST_S) * HIGHEST_FPS + 1
        assert all(before < slot.time_s or slot.time_s == after for slot in found)
        given += [slot.pts for slot in found]
        if numbers.random() < 0.3:
            plan = slots.ahead(after)
            if numbers.random() < 0.3:
                plan.append(slots.nearest(after + numbers.randrange(1, 5) * Fraction(1, 30)))
            given += [slot.pts for slot in plan if slots.claim(slot)]
        if numbers.random() < 0.02:
            given += [slot.pts for slot in slots.first(after)]
    assert len(given) > 1
    assert all(earlier < later for earlier, later in pairwise(given))


@pytest.mark.parametrize("time_base", BASES, ids=str)
def test_no_real_frame_is_left_out_that_comes_after_all_before_it(time_base: Fraction) -> None:
    numbers, rate = random.Random(7), Rate(times=2)
    slots = Slots(rate, output_time_base(time_base, rate))
    time_s = Fraction(0)
    slots.first(time_s)
    for _ in range(300):
        later_s = time_s + max(1, round(Fraction(numbers.randrange(5, 300), 1000) / time_base)) * (
            time_base
        )
        found = slots.between(time_s, later_s)
        assert (found[-1].time_s, found[-1].is_second) == (later_s, True)
        time_s = later_s


@pytest.mark.parametrize(
    ("of_input", "rate", "wanted"),
    [
        (RTP_TIME_BASE, "59.94", RTP_TIME_BASE),
        (Fraction(1, 10**6), "60", Fraction(1, 10**6)),
        (Fraction(1, 30), "x2", Fraction(1, 60)),
        (Fraction(1, 30), "60", Fraction(1, 60)),
        (Fraction(1, 60), "30", Fraction(1, 60)),
        (Fraction(1, 1000), "60", Fraction(1, 3000)),
        (Fraction(1, 1000), "59.94", Fraction(1, 60000)),
        (Fraction(1001, 24000), "x2", Fraction(1001, 48000)),
        (Fraction(1001, 30000), "59.94", Fraction(1001, 60000)),
        (Fraction(1, 10**9), "60", RTP_TIME_BASE),
    ],
)
def test_the_time_base_of_the_output_holds_real_frames_and_slots(
    of_input: Fraction, rate: str, wanted: Fraction
) -> None:
    assert output_time_base(of_input, parse_rate(rate)) == wanted


def test_a_time_base_that_cannot_hold_both_holds_the_real_frames() -> None:
    odd = Fraction(1, 9973)
    base = output_time_base(odd, Rate(fps=Fraction(120_000, 1001)))
    assert (odd / base).denominator == 1
    assert FINEST <= base <= RTP_TIME_BASE
