from __future__ import annotations

from streamer.clock import ManualClock
from streamer.schedule import COST_WINDOW, RETRY_NS, TierLadder

MS = 1_000_000


def ladder(clock: ManualClock, **costs_ms: float) -> TierLadder:
    made = TierLadder(tuple(costs_ms), clock)
    for tier in made.tiers:
        made.learn(tier, costs_ms[tier.name])
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
    clock.advance_ms(RETRY_NS / MS)
    assert tiers.choose(clock.now_ns() + 40 * MS).name == "plain"
    clock.advance_ms(1)
    assert tiers.choose(clock.now_ns() + 40 * MS).name == "lite"
    # It has just run, and is as slow as before.
    tiers.learn(tiers.tiers[0], 100.0)
    assert tiers.choose(clock.now_ns() + 40 * MS).name == "plain"


def test_a_late_frame_is_not_used_to_try_a_tier_again() -> None:
    clock = ManualClock()
    tiers = ladder(clock, lite=100.0, plain=2.0)
    clock.advance_ms(RETRY_NS / MS + 1)
    assert tiers.choose(clock.now_ns() - 1).name == "plain"


def test_old_costs_are_forgotten() -> None:
    clock = ManualClock()
    tiers = ladder(clock, lite=100.0, plain=2.0)
    for _ in range(COST_WINDOW):
        tiers.learn(tiers.tiers[0], 10.0)
    assert tiers.tiers[0].cost_ms() == 10.0
    assert tiers.choose(20 * MS).name == "lite"


def test_one_slow_frame_in_a_hundred_does_not_cost_the_tier() -> None:
    clock = ManualClock()
    tiers = ladder(clock, lite=10.0, plain=2.0)
    for number in range(COST_WINDOW):
        tiers.learn(tiers.tiers[0], 300.0 if number == 50 else 10.0)
    assert tiers.choose(20 * MS).name == "lite"
