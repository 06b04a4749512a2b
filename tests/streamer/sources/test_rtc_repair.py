"""Which packets are asked for again, and when no more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamer.sources.rtc_repair import (
    FIRST_RETRY_MS,
    MAX_MISSING,
    MAX_TRIES,
    MIN_RETRY_MS,
    WAIT_MS,
    Repair,
)

MS = 1_000_000


def fed(*sequences: int) -> Repair:
    repair = Repair()
    for sequence in sequences:
        repair.on_packet(sequence, 0)
    return repair


def test_a_gap_is_asked_for_at_once_and_across_the_wrap() -> None:
    assert fed(65_533, 2).due(0) == [65_534, 65_535, 0, 1]


def test_what_came_in_order_is_not_asked_for() -> None:
    repair = fed(*range(10))
    assert repair.due(0) == []
    assert repair.next_due_ns is None


def test_what_arrives_late_is_asked_for_no_more() -> None:
    repair = fed(1, 4)
    repair.on_packet(2, 0)
    assert repair.due(0) == [3]
    assert repair.repaired == 0  # nobody had asked for it


def test_a_request_is_repeated_a_few_times_and_given_up_with_the_gap() -> None:
    repair = fed(1, 3)
    asked_at = [ms for ms in range(2 * WAIT_MS) if repair.due(ms * MS)]
    assert asked_at[0] == 0
    assert asked_at[1] == FIRST_RETRY_MS
    assert len(asked_at) == MAX_TRIES
    assert asked_at[-1] < WAIT_MS
    assert repair.next_due_ns is None


def test_requests_follow_each_other_as_fast_as_answers_come() -> None:
    repair = fed(1, 3)
    assert repair.due(0) == [2]
    repair.on_packet(2, 4 * MS)
    assert repair.repaired == 1
    repair.on_packet(5, 4 * MS)
    assert repair.due(4 * MS) == [4]
    assert repair.next_due_ns == (4 + MIN_RETRY_MS) * MS


def test_a_hole_too_large_to_mend_is_left_alone() -> None:
    repair = fed(1, 1 + MAX_MISSING + 2)
    assert repair.due(0) == []
    repair.on_packet(1 + MAX_MISSING + 4, 0)
    assert repair.due(0) == [1 + MAX_MISSING + 3]


def test_a_sender_that_begins_anew_is_followed() -> None:
    repair = fed(30_000, 30_002)
    repair.on_packet(5, 0)
    repair.on_packet(7, 0)
    assert repair.due(0) == [6]
    assert repair.is_ahead(8)


@given(st.lists(st.tuples(st.integers(0, 65_535), st.integers(0, 400)), max_size=300))
def test_whatever_comes_little_is_remembered_and_nothing_that_came_is_asked_for(
    arrivals: list[tuple[int, int]],
) -> None:
    repair = Repair()
    now_ns = 0
    for sequence, later_ms in arrivals:
        now_ns += later_ms * MS
        repair.on_packet(sequence, now_ns)
        wanted = repair.due(now_ns)
        assert len(wanted) <= MAX_MISSING
        assert sequence not in wanted
        assert repair.next_due_ns is None or repair.next_due_ns > now_ns
