from __future__ import annotations

import pytest

from streamer.clock import ManualClock
from streamer.errors import ConfigError
from streamer.schedule import COST_WINDOW_NS, TierLadder

MS = 1_000_000


def ladder(clock: ManualClock, **costs_ms: float) -> TierLadder:
    made = TierLadder(tuple(costs_ms), clock)
    for tier in made.tiers:
        tier.costs.add(costs_ms[tier.name])
    return made


def test_the_best_tier_that_fits_is_taken() -> None:
    clock = ManualClock()
    tiers = ladder(clock, full=30.0, lite=12.0, plain=2.0)
    assert tiers.choose(40 * MS).name == "full"
    assert tiers.choose(30 * MS).name == "full"
    assert tiers.choose(29 * MS).name == "lite"
    assert tiers.choose(5 * MS).name == "plain"


def test_a_late_frame_gets_the_cheapest_tier() -> None:
    clock = ManualClock()
    tiers = ladder(clock, lite=12.0, plain=2.0)
    clock.advance_ms(50)
    assert tiers.choose(51 * MS).name == "plain"
    assert tiers.choose(50 * MS).name == "plain"
    assert tiers.choose(10 * MS).name == "plain"


def test_without_a_deadline_the_best_tier_is_taken_whatever_it_costs() -> None:
    assert ladder(ManualClock(), full=9000.0, plain=2.0).choose(None).name == "full"


def test_a_tier_that_never_ran_is_tried() -> None:
    assert TierLadder(("full", "plain"), ManualClock()).choose(1).name == "full"


def test_a_tier_that_was_too_slow_is_tried_again_after_a_while() -> None:
    clock = ManualClock()
    tiers = ladder(clock, lite=100.0, plain=2.0)
    clock.advance_ms(COST_WINDOW_NS / MS)
    assert tiers.choose(clock.now_ns() + 40 * MS).name == "plain"
    clock.advance_ms(1)
    assert tiers.choose(clock.now_ns() + 40 * MS).name == "lite"
    # It has just run, and is as slow as before.
    tiers.tiers[0].costs.add(100.0)
    assert tiers.choose(clock.now_ns() + 40 * MS).name == "plain"


def test_after_a_slow_start_the_quality_comes_back_and_stays() -> None:
    """A load at the start once kept the cheap tier for ever: one retry cannot outvote a window."""
    clock = ManualClock()
    tiers = ladder(clock, lite=10.0, plain=2.0)
    chosen = []
    for number in range(300):
        tier = tiers.choose(clock.now_ns() + 40 * MS)
        chosen.append(tier.name)
        tier.costs.add(2.0 if tier.name == "plain" else 200.0 if number < 15 else 10.0)
        clock.advance_ms(1000 / 30)
    assert "plain" in chosen[:100]
    assert set(chosen[110:]) == {"lite"}


def test_a_late_frame_is_not_used_to_try_a_tier_again() -> None:
    clock = ManualClock()
    tiers = ladder(clock, lite=100.0, plain=2.0)
    clock.advance_ms(COST_WINDOW_NS / MS + 1)
    assert tiers.choose(clock.now_ns() - 1).name == "plain"


def test_old_costs_are_forgotten() -> None:
    clock = ManualClock()
    tiers = ladder(clock, lite=100.0, plain=2.0)
    clock.advance_ms(COST_WINDOW_NS / MS + 1)
    tiers.tiers[0].costs.add(10.0)
    assert tiers.tiers[0].costs.p95_ms() == 10.0
    assert tiers.choose(clock.now_ns() + 20 * MS).name == "lite"


def test_one_outlier_among_few_does_not_cost_the_tier_but_two_do() -> None:
    clock = ManualClock()
    tiers = ladder(clock, lite=10.0, plain=2.0)
    for cost_ms in (10.0, 200.0, 10.0):
        tiers.tiers[0].costs.add(cost_ms)
    assert tiers.choose(clock.now_ns() + 20 * MS).name == "lite"
    tiers.tiers[0].costs.add(150.0)
    assert tiers.choose(clock.now_ns() + 20 * MS).name == "plain"


def test_one_slow_frame_in_a_hundred_does_not_cost_the_tier() -> None:
    clock = ManualClock()
    tiers = ladder(clock, lite=10.0, plain=2.0)
    for number in range(90):
        tiers.tiers[0].costs.add(300.0 if number == 50 else 10.0)
    assert tiers.choose(clock.now_ns() + 20 * MS).name == "lite"


def test_a_limited_ladder_takes_no_better_tier() -> None:
    ladder = TierLadder(("full", "lite", "plain"), ManualClock())
    ladder.limit("lite")
    assert ladder.choose(None).name == "lite"
    assert ladder.choose(1_000_000_000).name == "lite"
    ladder.limit("full")
    assert ladder.choose(None).name == "full"


def test_a_tier_that_is_not_on_the_ladder_is_refused_with_those_that_are() -> None:
    ladder = TierLadder(("lite", "plain"), ManualClock())
    with pytest.raises(ConfigError, match="no tier 'full'; this stream has lite, plain"):
        ladder.limit("full")
    assert ladder.choose(None).name == "lite"
