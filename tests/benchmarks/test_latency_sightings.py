from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.goal import Goal
from benchmarks.latency.sightings import Sighting, from_rows, measure
from benchmarks.latency.stage import first_after

MS = 1_000_000
EVER = (0, 1 << 62)


def seen(number: int, drawn_ms: int, after_ms: float) -> Sighting:
    """Picture ``number``, drawn then and seen so much later."""
    return Sighting(number, drawn_ms % (1 << 32), round((drawn_ms + after_ms) * MS))


def test_latency_is_from_the_burnt_in_instant_to_the_sight() -> None:
    assert seen(0, 1000, 6.5).latency_ms == pytest.approx(6.5)


def test_latency_is_right_where_the_counter_of_32_bits_begins_anew() -> None:
    assert seen(0, (1 << 32) - 2, 7).latency_ms == pytest.approx(7, abs=1e-3)


def test_percentiles_are_of_pictures_each_counted_once() -> None:
    shown = [seen(number, 100 * number, 10 + number) for number in range(100)]
    again = [seen(number, 100 * number, 5000) for number in range(100)]
    found = measure("viewer", shown + again, between_ns=[EVER])
    assert (found.summary.n, found.summary.p50, found.summary.max) == (100, 59.0, 109.0)
    assert found.summary.p95 == pytest.approx(104.0)
    assert found.repeated == 100
    assert found.loss_ratio == 0.0


def test_what_never_came_between_the_first_and_the_last_picture_is_missing() -> None:
    numbers = [3, 4, 7, 8, 10]
    found = measure("viewer", [seen(n, 33 * n, 5) for n in numbers], between_ns=[EVER])
    assert found.missing == 3
    assert found.loss_ratio == pytest.approx(3 / 8)


def test_pictures_before_and_after_the_span_do_not_count() -> None:
    everything = [seen(number, 100 * number, 5) for number in range(50)]
    found = measure("viewer", everything, between_ns=[(1000 * MS, 2000 * MS)])
    assert [one.frame_number for one in found.seen] == list(range(10, 20))
    assert found.missing == 0


def test_what_lies_between_two_spans_is_neither_seen_nor_missing() -> None:
    everything = [seen(number, 100 * number, 5) for number in range(50) if number != 31]
    spans = [(1000 * MS, 2000 * MS), (3000 * MS, 4000 * MS)]
    found = measure("viewer", everything, between_ns=spans)
    assert len(found.seen) == 19
    assert found.missing == 1


def test_a_picture_without_a_readable_counter_is_counted_apart() -> None:
    rows = [(0, 0, 5 * MS), (-1, 0, 40 * MS), (1, 67, 72 * MS)]
    found = measure("viewer", from_rows(rows), between_ns=[EVER])
    assert found.unreadable == 1
    assert found.summary.max == pytest.approx(5.0)


def test_seeing_nothing_is_a_total_loss_and_not_a_latency_of_nothing() -> None:
    found = measure("viewer", [], between_ns=[EVER])
    assert found.as_dict()["loss_ratio"] == 1.0
    assert found.as_dict()["latency_ms"]["n"] == 0


@given(
    st.lists(st.integers(min_value=-1, max_value=40), max_size=60),
    st.integers(min_value=0, max_value=4000),
)
def test_every_picture_is_seen_missing_repeated_or_unreadable(
    numbers: list[int], ended_ms: int
) -> None:
    everything = [
        Sighting(number, 33 * max(number, 0), (33 * at + 5) * MS)
        for at, number in enumerate(numbers)
    ]
    found = measure("viewer", everything, between_ns=[(0, ended_ms * MS)])
    within = [one for one in everything if one.at_ns < ended_ms * MS]
    assert len(found.seen) + found.repeated + found.unreadable == len(within)
    read = {one.frame_number for one in found.seen}
    spread = max(read) - min(read) + 1 if read else 0
    assert found.missing == spread - len(read)


def test_the_first_picture_after_an_instant_is_one_that_was_drawn_after_it() -> None:
    old = [seen(7, 1000, 5), seen(7, 1000, 900), Sighting(-1, 0, 1950 * MS)]
    new = [seen(0, 2010, 80), seen(1, 2043, 60)]
    assert first_after(old, 1500 * MS) is None
    assert first_after(old + new, 1500 * MS) == new[0]


@pytest.mark.parametrize(("measured", "verdict"), [(5.9, 1), (6.0, 1), (6.1, 0), (None, 0)])
def test_a_goal_is_met_up_to_its_limit_and_never_without_a_value(
    measured: float | None, verdict: int
) -> None:
    assert Goal(what="p50 ms", measured=measured, at_most=6.0).is_met == verdict


@pytest.mark.parametrize(("measured", "verdict"), [(24.9, 0), (25.0, 1), (None, 0)])
def test_a_goal_from_below_is_met_from_its_limit_on(measured: float | None, verdict: int) -> None:
    assert Goal(what="slower by ms", measured=measured, at_least=25.0).is_met == verdict
