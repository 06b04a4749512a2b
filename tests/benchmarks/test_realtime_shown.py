"""What is worked out from the pictures that a viewer got: cadence, freezes, slope, the real ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.latency.sightings import Sighting
from benchmarks.realtime.shown import (
    Shown,
    cadence_errors_ms,
    from_rows,
    real_pictures,
    slope_ms_per_minute,
    waits_ms,
    windows,
    within,
)

MS = 1_000_000
INTERVAL_MS = 1000 / 30
LATENCY_MS = 50.0
DRAWN_MS = 7_000


def made(half: int, *, number: int = -1, late_ms: float = 0.0, change: float = 5.0) -> Shown:
    """The picture that is meant for ``half`` half intervals after the first one."""
    at_ms = half * INTERVAL_MS / 2
    at_ns = round((DRAWN_MS + at_ms + LATENCY_MS + late_ms) * MS)
    counter_ms = int(DRAWN_MS + number * INTERVAL_MS) if number >= 0 else 0
    return Shown(round(90 * at_ms), at_ns, number, counter_ms, change)


def real(number: int, **others: float) -> Shown:
    """The camera's own picture of that number."""
    return made(2 * number, number=number, **others)


def test_time_stamps_go_on_where_their_32_bits_begin_anew() -> None:
    rows = [((1 << 32) - 1500, 0, 1, 0, 1), (1500, 1, 2, 33, 1), (4500, 2, 3, 67, 1)]
    shown = from_rows(rows)
    assert [after.ticks - shown[0].ticks for after in shown] == [0, 3000, 6000]


def test_a_made_picture_that_reads_as_a_neighbour_is_not_taken_for_it() -> None:
    shown = [
        part
        for number in range(20)
        for part in (real(number), made(2 * number + 1, number=number + number % 2))
    ]
    found = real_pictures(shown, interval_ms=INTERVAL_MS)
    assert [one.frame_number for one in found] == list(range(20))
    assert all(one.latency_ms == pytest.approx(LATENCY_MS, abs=1) for one in found)


def test_where_only_a_made_picture_reads_as_a_number_that_picture_was_not_seen() -> None:
    shown = [real(number) for number in range(20) if number != 7]
    shown.append(made(15, number=7))
    assert 7 not in [one.frame_number for one in real_pictures(shown, interval_ms=INTERVAL_MS)]


def test_a_stream_of_which_nothing_can_be_read_has_no_real_pictures() -> None:
    assert real_pictures([made(1), made(3)], interval_ms=INTERVAL_MS) == []


def test_pictures_that_come_as_they_are_stamped_have_no_cadence_error() -> None:
    errors = cadence_errors_ms([made(half) for half in range(50)])
    assert len(errors) == 49
    assert max(errors) == pytest.approx(0, abs=0.01)


def test_one_late_picture_is_two_cadence_errors_of_its_lateness() -> None:
    shown = [made(half, late_ms=8.0 if half == 20 else 0.0) for half in range(50)]
    errors = sorted(cadence_errors_ms(shown), reverse=True)
    assert errors[:2] == pytest.approx([8.0, 8.0], abs=0.02)
    assert errors[2] == pytest.approx(0, abs=0.02)


def test_a_gap_in_the_time_stamps_is_no_cadence_error_where_it_is_waited_for() -> None:
    shown = [made(half) for half in range(50) if half not in (20, 21, 22)]
    assert max(cadence_errors_ms(shown)) == pytest.approx(0, abs=0.02)


def test_a_picture_that_stands_is_a_wait_although_it_is_sent_again() -> None:
    shown = [real(number) for number in range(5)]
    shown += [real(number, change=0.0) for number in range(5, 9)]
    shown += [real(number) for number in range(9, 12)]
    span = (shown[0].arrived_ns, shown[-1].arrived_ns + 1)
    assert max(waits_ms(shown, span)) == pytest.approx(5 * INTERVAL_MS, abs=0.1)


def test_a_stream_that_ends_in_the_middle_stands_to_the_end_of_the_span() -> None:
    shown = [real(number) for number in range(5)]
    span = (shown[0].arrived_ns, shown[-1].arrived_ns + 700 * MS)
    assert max(waits_ms(shown, span)) == pytest.approx(700, abs=0.1)


@given(st.lists(st.tuples(st.integers(0, 10_000), st.booleans()), max_size=50))
def test_waits_fill_the_whole_span(pictures: list[tuple[int, bool]]) -> None:
    shown = [
        Shown(0, at_ms * MS, -1, 0, 5.0 if is_new else 0.0) for at_ms, is_new in sorted(pictures)
    ]
    assert sum(waits_ms(shown, (1000 * MS, 9000 * MS))) == pytest.approx(8000)


def latencies(values: list[tuple[float, float]]) -> list[Sighting]:
    """(seconds, ms) of latency."""
    return [
        Sighting(n, round(1000 * at_s), round(1e9 * at_s + ms * MS))
        for n, (at_s, ms) in enumerate(values)
    ]


def test_the_slope_is_what_latency_grows_by_in_a_minute() -> None:
    grown = latencies([(at_s, 50 + 3 * at_s / 60) for at_s in range(120)])
    assert slope_ms_per_minute(grown) == pytest.approx(3.0, rel=0.01)


def test_one_spike_in_the_middle_is_no_slope() -> None:
    spiked = latencies([(at_s, 400 if at_s == 60 else 50) for at_s in range(121)])
    assert slope_ms_per_minute(spiked) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("values", [[], [(1.0, 50.0)]])
def test_fewer_than_two_pictures_have_no_slope(values: list[tuple[float, float]]) -> None:
    assert slope_ms_per_minute(latencies(values)) is None


def test_windows_cover_whole_seconds_and_may_be_empty() -> None:
    seen = latencies([(0.1, 10), (0.5, 20), (2.2, 30)])
    found = list(windows(seen, (0, 3_500_000_000)))
    assert [sorted(map(round, one)) for one in found] == [[10, 20], [], [30]]


def test_what_was_seen_outside_the_spans_does_not_count() -> None:
    shown = [real(number) for number in range(30)]
    spans = [
        (shown[3].arrived_ns, shown[5].arrived_ns),
        (shown[20].arrived_ns, shown[21].arrived_ns),
    ]
    assert [one.frame_number for one in within(shown, spans)] == [3, 4, 20]
