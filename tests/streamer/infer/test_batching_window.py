from __future__ import annotations

import pytest

from streamer.clock import ManualClock
from streamer.infer.batching_window import (
    LONGEST_WINDOW_NS,
    BatchCosts,
    Business,
    Joining,
    Request,
    closes_ns,
    joining,
)

MS = 1_000_000
SIZES = (1, 2, 4, 8)


ALL = {1: 2.0, 2: 3.0, 4: 5.0, 8: 9.0}


def costs(by_size: dict[int, float], clock: ManualClock | None = None) -> BatchCosts:
    """One run each, of so many ms."""
    known = BatchCosts(SIZES, clock or ManualClock())
    for size, cost_ms in by_size.items():
        known.spent(size, round(cost_ms * MS))
    return known


@pytest.mark.parametrize(
    ("number", "cost_ms"), [(1, 2), (2, 3), (3, 5), (4, 5), (8, 9), (9, 11), (16, 18)]
)
def test_a_batch_costs_what_the_next_larger_size_does(number: int, cost_ms: int) -> None:
    assert costs(ALL).foreseen_ns(number) == cost_ms * MS


def test_a_size_that_never_ran_costs_in_proportion_to_smaller_ones() -> None:
    assert costs({1: 2.0, 2: 3.0}).foreseen_ns(8) == 12 * MS
    assert costs({2: 3.0}).foreseen_ns(1) == 0
    assert costs({}).foreseen_ns(4) == 0


def test_one_stall_is_no_cost() -> None:
    known = costs(ALL)
    for cost_ms in (2.0, 2.1, 90.0):
        known.spent(1, round(cost_ms * MS))
    assert known.foreseen_ns(1) <= 2.1 * MS


def test_a_size_that_was_slow_long_ago_is_not_left_out_for_ever() -> None:
    clock = ManualClock()
    known = costs({1: 2.0, 2: 3.0, 4: 80.0}, clock)
    assert known.foreseen_ns(4) == 80 * MS
    clock.advance_ms(4000)
    assert known.foreseen_ns(4) == 6 * MS


def join(*deadlines_ms: float | None, now_ms: float = 0.0) -> Joining:
    """The last of them comes while the others wait."""
    *waiting, request = (
        Request(0, None if deadline is None else round(deadline * MS)) for deadline in deadlines_ms
    )
    return joining(waiting, request, costs=costs(ALL), begins_ns=round(now_ms * MS))


def test_whoever_has_time_joins() -> None:
    assert join(None) is Joining.JOINS
    assert join(None, None) is Joining.JOINS
    assert join(10, 10, 10) is Joining.JOINS


def test_who_would_be_late_with_the_others_goes_alone() -> None:
    # Two cost 3 ms, one alone 2.
    assert join(None, 3.0) is Joining.JOINS
    assert join(None, 2.9) is Joining.GOES_ALONE
    assert join(None, 2.9, now_ms=0.9) is Joining.GOES_ALONE
    assert join(None, None, 4.0) is Joining.GOES_ALONE


def test_who_would_make_another_late_follows() -> None:
    assert join(2.5, None) is Joining.FOLLOWS
    assert join(9.0, 4.0, None) is Joining.FOLLOWS


def test_who_is_late_in_any_case_holds_nobody_back() -> None:
    assert join(None, 1.0) is Joining.JOINS
    assert join(1.0, None) is Joining.JOINS
    assert join(1.0, 1.0, now_ms=50) is Joining.JOINS


def closes(*requests: Request, others: int = 9, window_ms: float = 2.0) -> float:
    known = costs(ALL)
    window_ns = round(window_ms * MS)
    return closes_ns(requests, costs=known, window_ns=window_ns, others=others) / MS


def test_a_batch_waits_for_the_window_of_its_first() -> None:
    assert closes(Request(7 * MS), Request(8 * MS)) == 9
    assert closes(Request(7 * MS), window_ms=0) == 7


def test_nobody_waits_where_nobody_can_come() -> None:
    assert closes(Request(7 * MS), others=0) == 7
    assert closes(*[Request(7 * MS)] * 8) == 7


def test_a_batch_begins_while_one_more_would_still_be_in_time() -> None:
    assert closes(Request(0, 4 * MS)) == 1
    assert closes(Request(0), Request(MS, 6 * MS)) == 1
    assert closes(Request(0, 100 * MS)) == 2
    # It would be late already: at once.
    assert closes(Request(5 * MS, 6 * MS)) < 5


def test_an_idle_engine_is_not_waited_for_and_a_busy_one_for_the_whole_window() -> None:
    business = Business(0)
    assert business.window_ns == 0
    for number in range(500):
        business.ran(number * 10 * MS, number * 10 * MS + 1 * MS)
    assert business.share == pytest.approx(0.1, abs=0.02)
    for number in range(500, 1000):
        business.ran(number * 10 * MS, (number + 1) * 10 * MS)
    assert business.share == pytest.approx(1.0, abs=0.02)
    assert business.window_ns == pytest.approx(LONGEST_WINDOW_NS, rel=0.02)
