"""Requests for keyframes are gathered, estimates of the line become one bit rate."""

from __future__ import annotations

import asyncio
import itertools

from streamer.clock import ManualClock
from streamer.sinks.rtc_feedback import BitrateVote, KeyframeRequests
from tests.streamer.server.watcher import run, until


def test_requests_in_a_burst_become_one_now_and_one_later() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        made: list[int] = []
        requests = KeyframeRequests(lambda: made.append(clock.now_ns()), clock, apart_ms=20)
        for _ in range(5):
            requests.ask()
        assert len(made) == 1
        await until(lambda: len(made) == 2, "the last request was lost")
        assert requests.asked == 5

    run(scenario())


def test_a_keyframe_serves_the_requests_that_wait() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        made: list[int] = []
        requests = KeyframeRequests(lambda: made.append(1), clock, apart_ms=20)
        requests.ask()
        requests.ask()
        requests.served()
        await asyncio.sleep(0.1)  # long after the second would have been passed on
        assert len(made) == 1

    run(scenario())


def test_a_request_without_an_effect_is_made_again() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        made: list[int] = []
        requests = KeyframeRequests(lambda: made.append(1), clock)
        requests.ask()
        clock.advance_ms(300)
        requests.remind()
        assert len(made) == 1
        clock.advance_ms(400)
        requests.remind()
        assert len(made) == 2

    run(scenario())


def vote(clock: ManualClock, *, sent_bps: int) -> tuple[BitrateVote, list[int]]:
    applied: list[int] = []
    votes = BitrateVote(applied.append, clock, ceiling_bps=4_000_000)
    clock.advance_ms(1_000)
    votes.sent(sent_bps // 8)
    return votes, applied


def test_the_narrowest_line_counts() -> None:
    clock = ManualClock()
    votes, applied = vote(clock, sent_bps=4_000_000)
    votes.report("wide", 3_900_000)
    votes.report("narrow", 1_000_000)
    votes.report("wide", 3_000_000)
    assert applied == [1_000_000]


def test_the_bit_rate_keeps_above_its_floor() -> None:
    votes, applied = vote(ManualClock(), sent_bps=4_000_000)
    votes.report("one", 20_000)
    assert applied == [300_000]


def test_a_narrow_line_takes_no_more_than_half_from_a_recording_of_the_same_packets() -> None:
    clock, applied = ManualClock(), list[int]()
    votes = BitrateVote(applied.append, clock, ceiling_bps=4_000_000, is_shared=True)
    clock.advance_ms(1_000)
    votes.sent(500_000)
    votes.report("tablet", 250_000)
    votes.set_ceiling(2_000_000)
    assert applied == [2_000_000, 1_000_000]
    votes.set_ceiling(200_000)
    assert applied[-1] == 200_000


def test_the_bit_rate_rises_slowly_and_to_its_ceiling_only() -> None:
    clock = ManualClock()
    votes, applied = vote(clock, sent_bps=4_000_000)
    votes.report("one", 2_000_000)
    for _ in range(30):
        clock.advance_ms(1_000)
        votes.sent(votes.target_bps // 8)
        votes.report("one", 50_000_000)
    rises = [later / earlier for earlier, later in itertools.pairwise(applied)]
    assert max(rises) <= 1.11
    assert applied[-1] == 4_000_000


def test_an_estimate_far_above_a_calm_picture_is_no_limit() -> None:
    votes, applied = vote(ManualClock(), sent_bps=400_000)
    votes.report("one", 600_000)
    assert applied == []


def test_somebody_who_joins_does_not_spoil_the_picture() -> None:
    votes, applied = vote(ManualClock(), sent_bps=4_000_000)
    votes.report("new", 3_850_000)
    assert applied == []


def test_a_limit_is_followed_until_the_line_is_clearly_wide_enough() -> None:
    clock = ManualClock()
    votes, applied = vote(clock, sent_bps=4_000_000)
    for estimate in (2_000_000, 2_100_000, 2_300_000, 9_000_000):
        votes.report("one", estimate)
        clock.advance_ms(1_000)
        votes.sent(votes.target_bps // 8)
    assert applied == [2_000_000, 2_100_000, 2_300_000, 2_530_000]


def test_small_and_quick_changes_are_left_alone() -> None:
    clock = ManualClock()
    votes, applied = vote(clock, sent_bps=4_000_000)
    votes.report("one", 3_900_000)
    votes.report("one", 2_000_000)
    votes.report("one", 1_000_000)  # within the same half second
    assert applied == [2_000_000]


def test_a_new_ceiling_holds_at_once_and_after_the_last_limit_is_gone() -> None:
    clock = ManualClock()
    votes, applied = vote(clock, sent_bps=4_000_000)
    votes.report("wide", 9_000_000)
    for ceiling_bps in (8_000_000, 1_000_000, 6_000_000):
        votes.set_ceiling(ceiling_bps)
        assert votes.target_bps == ceiling_bps
    clock.advance_ms(1_000)
    votes.sent(6_000_000 // 8)
    votes.report("narrow", 5_000_000)
    votes.forget("narrow")
    votes.forget("wide")
    assert applied == [8_000_000, 1_000_000, 6_000_000, 5_000_000, 6_000_000]


def test_a_narrow_line_limits_a_new_ceiling_as_long_as_it_is_above() -> None:
    votes, applied = vote(ManualClock(), sent_bps=4_000_000)
    votes.report("narrow", 2_000_000)
    for ceiling_bps in (8_000_000, 1_000_000, 9_000_000):
        votes.set_ceiling(ceiling_bps)
    assert applied == [2_000_000, 1_000_000, 9_000_000]


def test_a_ceiling_below_the_floor_is_kept_to() -> None:
    votes, applied = vote(ManualClock(), sent_bps=4_000_000)
    votes.set_ceiling(100_000)
    votes.report("one", 20_000)
    assert applied == [100_000]


def test_the_limit_of_a_viewer_goes_with_it() -> None:
    votes, applied = vote(ManualClock(), sent_bps=4_000_000)
    votes.report("one", 1_000_000)
    votes.forget("one")
    assert applied == [1_000_000, 4_000_000]
