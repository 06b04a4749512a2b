from __future__ import annotations

from dataclasses import replace

from streamer.clock import ManualClock
from streamer.costs import FINISHED, STANDING_NS, Budget, Costs
from streamer.frame import Frame
from streamer.schedule import TierLadder
from tests.streamer.pictures import empty, frame_of

MS = 1_000_000
INTERVAL_MS = 1000 / 30
PLANES = empty(width=16, height=16)


def frame_at(arrived_ms: float) -> Frame:
    return replace(frame_of(PLANES, pts=0), arrived_ns=round(arrived_ms * MS))


def coded(budget: Budget, *, waited_ms: float, encode_ms: float) -> None:
    """A frame waits behind its enhancing and is coded then, now."""
    frame = frame_at(0).stamped(FINISHED, 0)
    done_ns = round((waited_ms + encode_ms) * MS)
    budget.coded(frame, done_ns - round(encode_ms * MS), done_ns)


def test_what_frames_wait_for_behind_their_enhancing_counts_as_well() -> None:
    budget = Budget(80.0, ManualClock())
    for _ in range(2):
        coded(budget, waited_ms=22, encode_ms=8)
    assert budget.deadline_ns(frame_at(100)) == 150 * MS
    assert budget.hold_ms == 72.0


def test_a_stall_of_the_encoder_takes_nothing_from_the_next_frame() -> None:
    budget = Budget(80.0, ManualClock())
    for encode_ms in (8, 300, 8):
        coded(budget, waited_ms=0, encode_ms=encode_ms)
    assert budget.deadline_ns(frame_at(0)) == 72 * MS


def test_frames_are_left_out_only_once_others_were_late_for_a_while() -> None:
    clock = ManualClock()
    budget = Budget(80.0, clock)
    left_out = []
    while clock.now_ns() <= 2 * STANDING_NS:
        left_out.append(budget.leaves_out(frame_at(clock.now_ns() / MS - 100), is_waited_for=True))
        clock.advance_ms(50)
    assert left_out == [False] * 4 + [True] * 5
    assert budget.is_standing
    in_time, late = frame_at(clock.now_ns() / MS - 10), frame_at(clock.now_ns() / MS - 100)
    assert not budget.leaves_out(in_time, is_waited_for=True)
    assert not budget.leaves_out(late, is_waited_for=False), "the newest is worth it"
    clock.advance_ms(1100)
    assert not budget.leaves_out(in_time, is_waited_for=False)
    assert not budget.is_standing


def test_two_dear_frames_in_a_row_say_what_the_next_one_will_take() -> None:
    costs = Costs(ManualClock())
    for cost_ms in [10.0] * 90 + [40.0]:
        costs.add(cost_ms)
    assert costs.likely_ms() == 10.0
    costs.add(38.0)
    assert costs.p95_ms() == 10.0
    assert costs.likely_ms() == 38.0


def test_a_rung_that_frames_are_late_with_is_lost_before_the_mean_of_three_seconds_says_so() -> (
    None
):
    clock = ManualClock()
    ladder = TierLadder(("lite", "plain"), clock)
    late_ms, frames = 0.0, 0
    for number in range(300):
        cost_ms = 15.0 if number < 150 else 45.0
        left_ms = 70.0 - late_ms
        rung = ladder.choose(clock.now_ns() + round(left_ms * MS), interval_ms=INTERVAL_MS)
        if ladder.rung.tier == "plain":
            break
        frames += number >= 150
        spent_ms = cost_ms if rung.tier == "lite" else 2.0
        ladder.spent(rung, spent_ms)
        clock.advance_ms(max(INTERVAL_MS, spent_ms))
        late_ms = max(0.0, late_ms + spent_ms - INTERVAL_MS)
    assert frames <= 14
