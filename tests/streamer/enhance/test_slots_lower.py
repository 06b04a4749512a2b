"""A fixed rate below the source's: by time stamps, whether frames wait for the next one or not."""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate, pairwise

import pytest

from streamer.enhance.slots import Slot, Slots, output_time_base
from streamer.frame import RTP_TIME_BASE
from streamer.rate import parse_rate


def times(fps: Fraction | int, count: int) -> list[Fraction]:
    return [Fraction(17, 3) + n / Fraction(fps) for n in range(count)]


def at_once(rate: str, frames: Sequence[Fraction]) -> list[tuple[Fraction, Slot]]:
    """Each frame that leaves, and its slot."""
    parsed = parse_rate(rate)
    slots = Slots(parsed, output_time_base(RTP_TIME_BASE, parsed))
    found = [(frames[0], slot) for slot in slots.first(frames[0])]
    for before, after in pairwise(frames):
        found += [(after, slot) for slot in slots.at_once(before, after)]
    return found


@pytest.mark.parametrize(
    ("source", "rate"),
    [("30", "10"), ("30", "24"), ("240", "23.976"), ("25", "1"), ("4", "2")],
)
def test_of_frames_that_do_not_wait_those_leave_that_are_next_to_a_slot(
    source: str, rate: str
) -> None:
    fps, wanted = parse_rate(source).fps, parse_rate(rate).fps
    assert fps is not None
    assert wanted is not None
    found = at_once(rate, times(fps, 400))
    at = [slot.time_s for _, slot in found]
    assert {after - before for before, after in pairwise(at)} == {1 / wanted}
    assert all(abs(slot.time_s - time) <= 1 / (2 * fps) for time, slot in found)
    assert times(fps, 400)[-1] - at[-1] < 1 / wanted


@pytest.mark.parametrize("rate", ["30", "45", "60", "240"])
def test_at_the_rate_of_the_source_or_above_each_frame_leaves_though_they_jitter(rate: str) -> None:
    numbers = random.Random(3)
    frames = [
        time + Fraction(numbers.randrange(-5, 6), 1000) for time in times(Fraction(299, 10), 300)
    ]
    found = at_once(rate, frames)
    assert [time for time, _ in found] == frames
    if rate != "30":
        # At its own time; of the first few that jitter nobody can tell how far apart they usually are.
        assert [slot.time_s for _, slot in found[8:]] == frames[8:]


def test_a_rate_that_is_hardly_lower_is_kept_as_well() -> None:
    frames = times(60, 6000)
    found = at_once("59.5", frames)
    assert 5950 <= len(found) <= 5952
    assert [slot.time_s for _, slot in found] == [time for time, _ in found]


@pytest.mark.parametrize("seed", range(5))
def test_no_more_leave_than_the_rate_has_however_frames_come(seed: int) -> None:
    numbers = random.Random(seed)
    spans = (Fraction(1, 100), Fraction(1, 60), Fraction(1, 20), Fraction(1, 8), Fraction(7, 2))
    frames = list(accumulate(numbers.choice(spans) for _ in range(400)))
    at = [slot.time_s for _, slot in at_once("10", frames)]
    assert at == sorted(set(at))
    for n, time in enumerate(at):
        # Frames that keep their own times lie up to half a slot beside the grid.
        assert sum(time <= other < time + 2 for other in at[n:]) <= 21


@pytest.mark.parametrize("rate", ["1", "2", "3"])
def test_frames_too_far_apart_for_others_in_between_can_still_be_left_out(rate: str) -> None:
    frames = times(4, 40)
    parsed = parse_rate(rate)
    slots = Slots(parsed, output_time_base(RTP_TIME_BASE, parsed))
    found = slots.first(frames[0])
    for before, after in pairwise(frames):
        found += slots.between(before, after)
    at = [slot.time_s for slot in found]
    assert {after - before for before, after in pairwise(at)} == {Fraction(1, int(rate))}
    assert all(slot.is_first or slot.is_second for slot in found)
