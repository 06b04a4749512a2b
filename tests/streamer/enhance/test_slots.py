"""Slots of sources with a steady cadence, and of what real ones do to it."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate, pairwise

import pytest

from streamer.enhance.slots import LONGEST_S, Slot, Slots, output_time_base
from streamer.frame import RTP_TIME_BASE
from streamer.rate import Rate, parse_rate

MS = Fraction(1, 1000)


def times(fps: Fraction | int, count: int, start: Fraction = Fraction(0)) -> list[Fraction]:
    return [start + n / Fraction(fps) for n in range(count)]


def slots_for(rate: str, time_base: Fraction = RTP_TIME_BASE) -> Slots:
    parsed = parse_rate(rate)
    return Slots(parsed, output_time_base(time_base, parsed))


def given(slots: Slots, frames: Sequence[Fraction]) -> list[Slot]:
    """All slots of a run of real frames."""
    found = slots.first(frames[0])
    for before, after in pairwise(frames):
        found += slots.between(before, after)
    return found


@pytest.mark.parametrize(
    ("source", "rate", "wanted"),
    [
        ("50", "60", Fraction(60)),
        ("24", "60", Fraction(60)),
        ("25", "50", Fraction(50)),
        ("29.97", "59.94", Fraction(60000, 1001)),
        ("30", "60", Fraction(60)),
        ("60", "30", Fraction(30)),
        ("240", "60", Fraction(60)),
        ("59.94", "60", Fraction(60)),
        ("7", "240", Fraction(240)),
        ("23.976", "x2", Fraction(48000, 1001)),
        ("25", "x3", Fraction(75)),
        ("30", "x8", Fraction(240)),
    ],
)
def test_slots_are_evenly_spaced_at_the_wanted_rate(
    source: str, rate: str, wanted: Fraction
) -> None:
    fps = parse_rate(source).fps
    assert fps is not None
    frames = times(fps, 200, start=Fraction(17, 3))
    at = [slot.time_s for slot in given(slots_for(rate), frames)]
    assert at[0] == frames[0]
    assert {after - before for before, after in pairwise(at)} == {1 / wanted}
    assert frames[-1] - at[-1] < 1 / wanted


@pytest.mark.parametrize("rate", ["60", "50", "59.94", "23.976", "x2", "x5"])
def test_the_share_says_where_between_the_two_frames_a_slot_lies(rate: str) -> None:
    slots, frames = slots_for(rate), times(30, 60)
    slots.first(frames[0])
    for before, after in pairwise(frames):
        for slot in slots.between(before, after):
            share = (slot.time_s - before) / (after - before)
            if slot.is_first:
                assert (slot.share, share <= Fraction(1, 20)) == (0, True)
            elif slot.is_second:
                assert (slot.share, abs(share - 1) <= Fraction(1, 20)) == (1, True)
            else:
                assert slot.share == float(share)
                assert 0.05 < slot.share < 0.95


def test_the_grid_meets_every_real_frame_at_twice_its_rate_in_whole_milliseconds() -> None:
    frames = [Fraction(round(1000 * time)) * MS for time in times(30, 100)]
    found = given(slots_for("60", MS), frames)
    # The grid lies up to half a millisecond beside a frame, before it or after it.
    assert [slot.is_second for slot in found] == [True] + [False, True] * 99
    assert [slot.share for slot in found[1::2]] == pytest.approx([0.5] * 99, abs=0.02)


@pytest.mark.parametrize(("source", "most"), [(30, 8), (50, 4), (60, 4), (120, 2)])
def test_the_highest_rate_is_reached_from_whole_milliseconds(source: int, most: int) -> None:
    frames = [Fraction(round(1000 * time)) * MS for time in times(source, 100)]
    assert len(given(slots_for("x8", MS), frames)) == 99 * most + 1


def test_half_the_rate_takes_every_other_frame_when_it_comes() -> None:
    slots, frames = slots_for("30"), times(60, 9)
    slots.first(frames[0])
    taken = [slots.between(*pair) for pair in pairwise(frames)]
    assert [len(found) for found in taken] == [0, 1] * 4
    assert all(slot.is_second for found in taken for slot in found)


def test_a_multiple_keeps_the_times_of_real_frames() -> None:
    frames = list(accumulate([Fraction(7), *(Fraction(n % 5 + 28, 1000) for n in range(50))]))
    found = given(slots_for("x2"), frames)
    assert [slot.time_s for slot in found if slot.is_second] == frames


def test_where_frames_were_lost_a_multiple_keeps_its_pace() -> None:
    frames = times(30, 20)
    lost = frames[:12] + frames[13:16] + frames[18:]
    at = [slot.time_s for slot in given(slots_for("x2"), lost)]
    assert at == times(60, 39)


def test_a_multiple_learns_another_cadence_and_never_leaves_the_pace_of_either() -> None:
    film = times(24, 40)
    video = times(30, 40, start=film[-1] + Fraction(1, 30))
    at = [slot.time_s for slot in given(slots_for("x2"), film + video)]
    steps = [after - before for before, after in pairwise(at)]
    assert set(steps) == {Fraction(1, 48), Fraction(1, 60)}
    assert steps == sorted(steps, reverse=True)


def test_frames_on_a_grid_twice_as_fine_get_one_pace_out() -> None:
    # Film on 60 Hz: two ticks and three in turn.
    frames = list(accumulate([Fraction(0), *(Fraction(2 + n % 2, 60) for n in range(40))]))
    at = [slot.time_s for slot in given(slots_for("x2"), frames)]
    assert {after - before for before, after in pairwise(at[2:])} == {Fraction(1, 60)}


@pytest.mark.parametrize("rate", ["60", "x2"])
def test_between_frames_far_apart_lies_nothing(rate: str) -> None:
    slots = slots_for(rate)
    frames = [Fraction(n, 4) for n in range(20)]
    assert [slot.time_s for slot in given(slots, frames)] == frames
    assert slots.cadence.interval_s is None
    assert slots.ahead(frames[-1]) == []


def test_frames_just_near_enough_are_filled() -> None:
    slots = slots_for("60")
    slots.first(Fraction(0))
    assert len(slots.between(Fraction(0), LONGEST_S)) == 12


@pytest.mark.parametrize("rate", ["60", "x2"])
def test_after_a_jump_the_output_begins_anew_at_the_frame(rate: str) -> None:
    slots = slots_for(rate)
    given(slots, times(25, 10))
    there = Fraction(7 * 3600) + Fraction(1, 7)
    *last, only = slots.between(Fraction(9, 25), there)
    assert (only.time_s, only.is_second) == (there, True)
    # The last frame before it lies beside the grid, and nothing was made of it yet.
    wanted = [(Fraction(22, 60), True)] if rate == "60" else []
    assert [(slot.time_s, slot.is_first) for slot in last] == wanted
    found = slots.between(there, there + Fraction(1, 25))
    assert found[0].time_s == there + (Fraction(1, 60) if rate == "60" else Fraction(1, 50))


@pytest.mark.parametrize("rate", ["60", "x2"])
def test_a_frame_whose_time_does_not_lie_after_what_was_given_gets_no_slot(rate: str) -> None:
    slots = slots_for(rate)
    frames = times(30, 10)
    given(slots, frames)
    assert slots.between(frames[-1], frames[-1]) == []
    assert slots.between(frames[-1], frames[3]) == []
    assert slots.first(frames[9] + Fraction(1, 30)) != []


def test_the_step_is_learnt_from_the_source() -> None:
    assert slots_for("x2").step_s is None
    slots = slots_for("x2")
    given(slots, times(30, 12))
    assert slots.cadence.is_regular
    assert (slots.cadence.interval_s, slots.step_s) == (Fraction(1, 30), Fraction(1, 60))


def test_prediction_fills_the_time_up_to_the_next_frame() -> None:
    slots, frames = slots_for("x4"), times(25, 12)
    given(slots, frames)
    ahead = slots.ahead(frames[-1])
    assert [slot.time_s - frames[-1] for slot in ahead] == [Fraction(n, 100) for n in (1, 2, 3)]
    assert [slot.share for slot in ahead] == [0.25, 0.5, 0.75]
    assert slots.step_s == Fraction(1, 100)


def test_prediction_at_a_fixed_rate_fills_the_grid_between_real_frames() -> None:
    slots, frames = slots_for("60"), times(24, 12)
    found = slots.first(frames[0])
    for n, (before, after) in enumerate(pairwise(frames)):
        found += [slot for slot in slots.between(before, after) if n == 0 or slot.is_second]
        found += [slot for slot in slots.ahead(after) if slots.claim(slot)]
    assert [slot.time_s for slot in found] == times(60, len(found))
    assert slots.step_s == Fraction(1, 60)


def test_a_stand_in_takes_the_place_of_the_frame_that_is_missing_and_no_other() -> None:
    slots, frames = slots_for("x2"), times(30, 12)
    given(slots, frames)
    slot = slots.nearest(Fraction(12, 30))
    assert slot.time_s == Fraction(12, 30)
    assert slots.claim(slot)
    assert not slots.claim(slots.nearest(Fraction(12, 30)))
    assert not slots.claim(slots.nearest(Fraction(23, 60)))
    (after, real) = slots.between(frames[-1], Fraction(13, 30))
    assert (after.time_s, real.time_s) == (Fraction(25, 60), Fraction(13, 30))


@pytest.mark.parametrize("rate", ["50", "59.94", "60"])
def test_at_a_fixed_rate_a_stand_in_lies_on_the_grid(rate: str) -> None:
    slots, frames = slots_for(rate), times(30, 12)
    fps = parse_rate(rate).fps
    assert fps is not None
    given(slots, frames)
    for number in range(12, 16):
        slot = slots.nearest(Fraction(number, 30))
        assert (slot.time_s * fps).denominator == 1
        assert abs(slot.time_s - Fraction(number, 30)) <= 1 / (2 * fps)
        assert slots.claim(slot)


def test_a_slot_can_be_claimed_once_and_not_after_a_later_one() -> None:
    slots, frames = slots_for("x4"), times(25, 12)
    given(slots, frames)
    first, second, third = slots.ahead(frames[-1])
    assert slots.claim(second)
    assert not slots.claim(second)
    assert not slots.claim(first)
    assert slots.ahead(frames[-1]) == [third]


def test_a_real_frame_that_comes_early_is_not_left_out_for_a_predicted_one() -> None:
    slots, frames = slots_for("x2"), times(25, 12)
    given(slots, frames)
    (predicted,) = slots.ahead(frames[-1])
    assert slots.claim(predicted)
    (early,) = slots.between(frames[-1], frames[-1] + Fraction(1, 60))
    assert early.is_second
    assert early.pts == predicted.pts + 90  # a millisecond


def test_pairs_without_a_first_frame_anchor_the_grid_themselves() -> None:
    slots = Slots(Rate(fps=Fraction(60)), RTP_TIME_BASE)
    found = slots.between(Fraction(1, 7), Fraction(1, 7) + Fraction(1, 30))
    assert [slot.time_s - Fraction(1, 7) for slot in found] == times(60, 3)[1:]
