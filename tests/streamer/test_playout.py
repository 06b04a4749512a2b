from __future__ import annotations

import random
from fractions import Fraction
from itertools import pairwise

import pytest

from streamer.playout import DOWN, UP, Playout

INTERVAL_NS = 33_333_333


def at(number: int) -> Fraction:
    return Fraction(number, 30)


def fed(playout: Playout, delays_ms: list[float], *, drift: float = 0.0) -> list[float]:
    """How late each frame could leave after its arrival, in ms; one frame every thirtieth."""
    waits = []
    for number, delay_ms in enumerate(delays_ms):
        sent_ns = round(number * INTERVAL_NS * (1 + drift))
        ready_ns = sent_ns + round(delay_ms * 1e6)
        playout.ready(at(number), ready_ns, arrived_ns=ready_ns)
        due_ns = playout.due_ns(at(number))
        assert due_ns is not None
        waits.append((due_ns - sent_ns) / 1e6)
    return waits


def test_nothing_is_due_before_a_first_frame() -> None:
    assert Playout(budget_ms=lambda: 80).due_ns(at(1)) is None


def test_the_slowest_frame_of_the_first_second_decides_at_once() -> None:
    waits = fed(Playout(budget_ms=lambda: 80), [5, 5, 20, 5, 5])
    assert [round(wait) for wait in waits] == [5, 5, 20, 20, 20]


def test_what_the_first_frames_took_is_not_waited_for_longer_than_it_takes_to_come_down() -> None:
    waits = fed(Playout(budget_ms=lambda: 80), [70.0] * 30 + [20.0] * 200)
    assert round(waits[29]) == 70
    down_s = 50 / (DOWN * 1000)
    assert waits[round(30 * (1.2 + down_s))] < 21


def test_nearly_all_frames_of_a_jittery_source_are_ready_when_they_are_due() -> None:
    jitter = random.Random(7)
    delays = [jitter.uniform(3, 23) for _ in range(600)]
    waits = fed(Playout(budget_ms=lambda: 80), delays)
    ready = [delay <= wait + 0.01 for delay, wait in zip(delays[90:], waits[90:], strict=True)]
    assert sum(ready) / len(ready) > 0.92
    assert max(waits[90:]) < 24


def test_the_offset_moves_so_slowly_that_nobody_sees_it() -> None:
    waits = fed(Playout(budget_ms=lambda: 80), [5.0] * 60 + [25.0] * 200 + [5.0] * 400)
    steps = [b - a for a, b in pairwise(waits[40:])]
    interval_ms = INTERVAL_NS / 1e6
    assert max(steps) <= UP * (interval_ms + 20) + 0.01
    assert min(steps) >= -DOWN * (interval_ms + 20) - 0.01
    assert round(waits[250]) == 25
    assert waits[-1] < 6


def test_a_stall_beyond_the_budget_makes_nothing_wait_longer_afterwards() -> None:
    stall = [500 - 33.3 * n for n in range(15)]
    waits = fed(Playout(budget_ms=lambda: 40), [5.0] * 90 + stall + [5.0] * 60)
    assert max(waits[106:]) < 5 + 40


def test_a_frame_that_takes_longer_than_it_may_is_not_waited_for() -> None:
    playout = Playout(budget_ms=lambda: 40)
    for number in range(30):
        playout.ready(
            at(number), number * INTERVAL_NS + 90_000_000, arrived_ns=number * INTERVAL_NS
        )
    assert playout.due_ns(at(0)) == pytest.approx(40_000_000, abs=100)


def test_without_any_time_left_a_frame_is_due_when_it_arrives() -> None:
    playout = Playout(budget_ms=lambda: -30)
    playout.ready(at(0), 50_000_000, arrived_ns=20_000_000)
    playout.ready(at(1), 90_000_000, arrived_ns=53_333_333)
    assert playout.due_ns(at(0)) == 20_000_000


def test_a_jump_of_the_timeline_begins_anew() -> None:
    playout = Playout(budget_ms=lambda: 80)
    fed(playout, [5.0] * 40)
    playout.ready(Fraction(3600), 2_000_000_000, arrived_ns=2_000_000_000)
    assert playout.due_ns(Fraction(3600)) == 2_000_000_000


def test_the_drift_of_the_senders_clock_is_followed() -> None:
    # 200 parts in a million for ten minutes are 120 ms.
    waits = fed(Playout(budget_ms=lambda: 80), [10.0] * 18_000, drift=2e-4)
    assert 9 <= waits[-1] <= 12
