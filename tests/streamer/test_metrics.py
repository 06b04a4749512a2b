from __future__ import annotations

import threading
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.clock import ManualClock
from streamer.metrics import WINDOW, Metrics, Rate, Samples, percentile


@given(st.lists(st.integers(-1000, 1000), min_size=1), st.floats(0.001, 1))
def test_a_percentile_is_the_smallest_value_that_covers_its_share(
    values: list[int], q: float
) -> None:
    ordered = sorted(values)
    found = percentile(ordered, q)
    assert sum(v <= found for v in ordered) >= q * len(ordered)
    assert sum(v < found for v in ordered) < q * len(ordered)


def test_percentiles_of_a_hundred_values() -> None:
    samples = Samples()
    for value in range(100, 0, -1):
        samples.add(value)
    summary = samples.summary()
    assert summary is not None
    assert summary.as_dict() == {"n": 100, "p50": 50, "p95": 95, "p99": 99, "max": 100}


def test_only_the_window_counts_but_n_counts_all() -> None:
    samples = Samples(window=3)
    for value in (900, 1, 2, 3):
        samples.add(value)
    whole, last = samples.summary(), samples.summary(2)
    assert whole is not None
    assert last is not None
    assert (whole.n, whole.max, whole.p50) == (4, 3, 2)
    assert (last.n, last.p50, last.max) == (4, 2, 3)


def test_nothing_measured_gives_no_summary() -> None:
    assert Samples().summary() is None
    assert Metrics().timings() == {}


@given(st.lists(st.integers(0, 100), min_size=1, max_size=40), st.none() | st.integers(1, 12))
def test_the_last_values_are_looked_at_however_often_the_window_was_passed(
    values: list[int], last: int | None
) -> None:
    samples = Samples(window=9)
    for value in values:
        samples.add(value)
    looked_at = sorted(values[-min(9, last or 9) :])
    summary = samples.summary(last)
    assert summary is not None
    assert summary.n == len(values)
    assert (summary.p50, summary.max) == (percentile(looked_at, 0.5), looked_at[-1])


def test_the_last_values_are_looked_at_without_copying_all_that_are_kept() -> None:
    samples = Samples()
    for value in range(WINDOW + 100):
        samples.add(value)
    tracemalloc.start()
    try:
        summary = samples.summary(150)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert summary is not None
    assert (summary.p50, summary.max) == (WINDOW + 24, WINDOW + 99)
    assert peak_bytes < 8 * WINDOW / 10


def test_a_rate_is_counted_over_the_last_two_seconds() -> None:
    clock, rate = ManualClock(), Rate()
    assert rate.per_second(clock.now_ns()) == 0
    rate.tick(clock.now_ns())
    assert rate.per_second(clock.now_ns()) == 0
    for _ in range(120):
        clock.advance_ms(25)
        rate.tick(clock.now_ns())
    assert rate.per_second(clock.now_ns()) == pytest.approx(40)
    clock.advance_ms(2001)
    assert rate.per_second(clock.now_ns()) == 0


def test_events_at_one_instant_have_no_rate() -> None:
    rate = Rate()
    rate.tick(5)
    rate.tick(5)
    assert rate.per_second(5) == 0


def test_counts_from_many_threads_are_all_counted() -> None:
    metrics = Metrics()

    def count() -> None:
        for _ in range(2000):
            metrics.count("sent")
            metrics.time("decode", 1.0)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metrics.counted("sent") == 8000
    assert metrics.timings()["decode"].n == 8000


def test_counts_are_found_by_their_beginning_and_zero_is_left_out() -> None:
    metrics = Metrics()
    metrics.count("dropped.decode.refused", 2)
    metrics.count("dropped.sink.out", 0)
    metrics.count("sent")
    assert metrics.counts("dropped.") == {"decode.refused": 2}
    assert metrics.counted("never") == 0
