from __future__ import annotations

from itertools import pairwise

import pytest

from streamer.clock import ManualClock
from streamer.costs import COST_WINDOW_NS, ENOUGH, LATEST, SIZES, Costs
from streamer.errors import ConfigError
from streamer.rungs import Step
from streamer.schedule import DIPS, RECENT, TierLadder
from streamer.trials import FIRST_PAUSE_NS, LONGEST_NS, TRIAL_NS, WARM_UP_NS

MS = 1_000_000


def ladder(clock: ManualClock, **costs_ms: float) -> TierLadder:
    known = TierLadder(tuple(costs_ms), clock)
    for tier, cost_ms in costs_ms.items():
        for _ in range(ENOUGH):
            known.spent(tier, cost_ms)
    return known


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


def test_without_a_deadline_the_best_rung_is_taken_whatever_it_costs() -> None:
    assert ladder(ManualClock(), full=9000.0, plain=2.0).choose(None).name == "full"
    making = TierLadder(("full", "plain"), ManualClock(), makes_frames=True)
    for _ in range(ENOUGH):
        making.spent("full", 9000.0)
        making.spent_making(9000.0)
    assert making.choose(None, interval_ms=33.0, made=3, is_backlog=True).name == "full+made"


def test_a_tier_that_never_ran_is_tried() -> None:
    assert TierLadder(("full", "plain"), ManualClock()).choose(1).name == "full"


def test_a_late_frame_is_not_used_to_try_a_tier_again() -> None:
    clock = ManualClock()
    tiers = lost(clock)
    clock.advance_ms(FIRST_PAUSE_NS / MS + 1)
    assert tiers.choose(clock.now_ns() - 1, interval_ms=33.0).name == "plain"
    assert tiers.choose(clock.now_ns() + 40 * MS, interval_ms=33.0, is_backlog=True).name == "plain"
    assert tiers.choose(clock.now_ns() + 40 * MS, interval_ms=33.0).name == "lite"


def lost(clock: ManualClock) -> TierLadder:
    """A ladder whose best tier has just turned out to be too slow."""
    tiers = ladder(clock, lite=35.0, plain=2.0)
    assert tiers.choose(clock.now_ns() + 40 * MS, interval_ms=33.0).name == "plain"
    assert tiers.rung.name == "plain"
    return tiers


def test_a_tier_that_was_too_slow_is_tried_again_after_a_pause_that_grows() -> None:
    clock = ManualClock()
    tiers = lost(clock)
    tried_ms = []
    for _ in range(3200):
        clock.advance_ms(10)
        if tiers.choose(clock.now_ns() + 80 * MS, interval_ms=33.0).name == "lite":
            tried_ms.append(round(clock.now_ns() / MS))
            tiers.spent("lite", 50.0)
    assert tried_ms == [1000, 3010, 7020, 15030, 23040, 31050]


def test_a_trial_that_a_stall_ended_is_repeated_after_the_first_pause() -> None:
    """What it cost fits; a real frame had to wait for something else."""
    clock = ManualClock()
    tiers = lost(clock)
    tried_ms = list[float]()
    while len(tried_ms) < 8:
        clock.advance_ms(10)
        if tiers.choose(clock.now_ns() + 80 * MS, interval_ms=33.0).name == "lite":
            tried_ms.append(clock.now_ns() / MS)
            tiers.spent("lite", 20.0)
            tiers.choose(clock.now_ns() + 80 * MS, interval_ms=33.0, is_backlog=True)
    pauses_ms = {after - before for before, after in pairwise(tried_ms)}
    assert pauses_ms == {FIRST_PAUSE_NS / MS}


def test_one_slow_made_frame_puts_its_rung_off_for_seconds_and_not_for_half_a_minute() -> None:
    clock = ManualClock()
    tiers = TierLadder(("lite", "plain"), clock, makes_frames=True)
    for _ in range(ENOUGH):
        tiers.spent("lite", 10.0)
        tiers.spent_making(60.0)
    tried_ms = list[float]()
    for _ in range(6000):
        clock.advance_ms(10)
        if tiers.choose(clock.now_ns() + 80 * MS, interval_ms=33.0, made=1).makes_frames:
            tried_ms.append(clock.now_ns() / MS)
            tiers.spent("lite", 10.0)
            tiers.spent_making(60.0)
    pauses_ms = [after - before for before, after in pairwise(tried_ms)]
    assert max(pauses_ms) <= LONGEST_NS / MS + 20


def test_what_the_first_frames_cost_counts_for_nothing() -> None:
    clock, steps = ManualClock(), list[Step]()
    tiers = TierLadder(("lite", "plain"), clock, makes_frames=True, on_step=steps.append)

    def frame(lite_ms: float) -> str:
        deadline_ns = clock.now_ns() + 80 * MS
        rung = tiers.choose(deadline_ns, interval_ms=33.0, made=1)
        if rung.tier == "lite":
            tiers.spent("lite", lite_ms)
        if rung.makes_frames:
            tiers.spent_making(5.0)
        clock.advance_ms(33)
        return rung.name

    names = [frame(28.0) for _ in range(46)]
    assert clock.now_ns() >= WARM_UP_NS
    assert names[-1] == "lite"
    assert {frame(10.0) for _ in range(300)} == {"lite+made"}
    assert [step.after.name for step in steps if step.reason == "recovered"][-1] == "lite+made"
    # Nor is anything lost again, as it would be by costs from before.
    assert steps[-1].reason == "recovered"


def test_a_machine_that_stays_slow_loses_a_rung_for_good_after_it_is_warm() -> None:
    clock, steps = ManualClock(), list[Step]()
    tiers = TierLadder(("lite", "plain"), clock, on_step=steps.append)
    names = list[str]()
    for _ in range(300):
        names.append(tiers.choose(clock.now_ns() + 80 * MS, interval_ms=33.0).name)
        if names[-1] == "lite":
            tiers.spent("lite", 60.0)
        clock.advance_ms(33)
    assert names.count("lite") <= 4 * ENOUGH
    assert [step.reason for step in steps if step.reason == "recovered"] == ["recovered"]


def test_frames_made_where_there_is_time_cost_no_rung_and_go_first() -> None:
    """None is wanted of the rung itself: each is begun only where it is done in time."""
    clock, steps = ManualClock(), list[Step]()
    tiers = TierLadder(("lite", "plain"), clock, makes_frames=True, on_step=steps.append)
    for _ in range(100):
        assert tiers.choose(clock.now_ns() + 80 * MS, interval_ms=33.0, made=0).makes_frames
        tiers.spent("lite", 20.0)
        tiers.spent_making(100.0)
        clock.advance_ms(33)
    for number in range(RECENT):
        is_late = number % 2 == 1
        tiers.choose(clock.now_ns() + 80 * MS, interval_ms=33.0, made=0, is_backlog=is_late)
        tiers.spent("lite", 20.0)
        clock.advance_ms(33)
    assert [step.after.name for step in steps if step.reason == "too_slow"] == ["lite"]
    for _ in range((FIRST_PAUSE_NS + TRIAL_NS) // (33 * MS) + 2):
        tiers.choose(clock.now_ns() + 80 * MS, interval_ms=33.0, made=0)
        tiers.spent("lite", 20.0)
        tiers.spent_making(100.0)
        clock.advance_ms(33)
    assert tiers.rung.name == "lite+made", "what they cost ends no trial either"


def test_a_rung_that_fits_again_is_held_after_its_trial() -> None:
    clock = ManualClock()
    tiers = lost(clock)
    clock.advance_ms(FIRST_PAUSE_NS / MS)
    began_ns = clock.now_ns()
    while tiers.rung.name == "plain":
        assert tiers.choose(clock.now_ns() + 40 * MS, interval_ms=33.0).name == "lite"
        tiers.spent("lite", 20.0)
        clock.advance_ms(33)
    assert TRIAL_NS <= clock.now_ns() - 33 * MS - began_ns < TRIAL_NS + 33 * MS


def test_a_rung_costs_its_made_frames_as_well() -> None:
    clock = ManualClock()
    tiers = TierLadder(("lite", "nano", "plain"), clock, makes_frames=True)
    for _ in range(ENOUGH):
        tiers.spent("lite", 10.0)
        tiers.spent_making(10.0)
    fresh_ns = clock.now_ns() + 80 * MS
    assert tiers.choose(fresh_ns, interval_ms=33.0, made=1).name == "lite+made"
    assert tiers.choose(fresh_ns, interval_ms=33.0, made=3).name == "lite"
    assert tiers.rung.name == "lite"


def test_a_made_frame_is_made_if_it_will_be_ready_in_its_time() -> None:
    clock = ManualClock()
    tiers = TierLadder(("plain",), clock, makes_frames=True)
    assert tiers.can_make(1)
    assert not tiers.can_make(0)
    for _ in range(2):
        tiers.spent_making(10.0)
    assert tiers.can_make(10 * MS)
    assert not tiers.can_make(9 * MS)
    clock.advance_ms(COST_WINDOW_NS / MS + 1)
    assert tiers.can_make(clock.now_ns() + 1), "one that is never tried would be slow for ever"


def test_a_backlog_takes_one_frame_to_the_cheapest_rung_and_no_more() -> None:
    clock, steps = ManualClock(), list[Step]()
    tiers = TierLadder(("lite", "nano", "plain"), clock, on_step=steps.append)
    assert tiers.choose(80 * MS, is_backlog=True).name == "plain"
    assert tiers.choose(80 * MS).name == "lite"
    assert [(s.before.name, s.after.name, s.reason) for s in steps] == [
        ("lite", "plain", "backlog")
    ]


def test_a_rung_that_half_of_the_frames_had_to_leave_is_lost() -> None:
    clock, steps = ManualClock(), list[Step]()
    tiers = TierLadder(("lite", "nano", "plain"), clock, on_step=steps.append)
    for _ in range(ENOUGH):
        tiers.spent("lite", 10.0)
    for number in range(RECENT):
        assert tiers.rung.name == "lite", number
        tiers.choose(clock.now_ns() + 80 * MS, is_backlog=number % 2 == 1)
    assert tiers.rung.name == "nano"
    assert [step.reason for step in steps] == ["backlog"] * DIPS + ["too_slow"]


def test_frames_that_waited_while_a_stream_began_take_no_rung() -> None:
    clock = ManualClock()
    tiers = TierLadder(("lite", "nano", "plain"), clock)
    for _ in range(RECENT):
        assert tiers.choose(clock.now_ns() + 80 * MS, is_backlog=True).name == "plain"
    assert tiers.rung.name == "lite"


def test_a_stall_of_the_tier_that_is_held_ends_no_trial_of_made_frames() -> None:
    clock = ManualClock()
    tiers = TierLadder(("lite", "plain"), clock, makes_frames=True)
    for _ in range(LATEST):
        tiers.spent("lite", 10.0)
        tiers.spent_making(50.0)
    assert tiers.choose(80 * MS, interval_ms=33.0, made=1).name == "lite"
    clock.advance_ms(LONGEST_NS / MS)
    for number in range(LATEST):
        rung = tiers.choose(clock.now_ns() + 80 * MS, interval_ms=33.0, made=1)
        assert rung.makes_frames, number
        tiers.spent("lite", 45.0 if number == 2 else 10.0)
        tiers.spent_making(5.0)
        clock.advance_ms(33)


def test_frames_that_were_late_for_another_reason_take_no_rung() -> None:
    clock, steps = ManualClock(), list[Step]()
    tiers = TierLadder(("lite", "plain"), clock, on_step=steps.append)
    for _ in range(2 * RECENT):
        tiers.excuse()
        assert tiers.choose(80 * MS, is_backlog=True).name == "plain"
    assert tiers.rung.name == "lite"
    assert {step.reason for step in steps} == {"backlog"}


def test_costs_of_another_picture_size_count_for_nothing() -> None:
    clock = ManualClock()
    tiers = TierLadder(("lite", "plain"), clock)
    for _ in range(ENOUGH):
        tiers.spent("lite", 100.0, size=(1280, 720))
    assert tiers.choose(80 * MS, size=(640, 360)).name == "lite"
    assert tiers.choose(80 * MS, size=(1280, 720)).name == "plain"


def test_a_camera_that_changes_its_size_for_ever_fills_no_memory() -> None:
    tiers = TierLadder(("lite", "plain"), ManualClock())
    for width in range(100):
        tiers.spent("lite", 100.0, size=(width, 2))
        tiers.spent("lite", 100.0, size=(width, 2))
    # Of the last ones something is known, of the others nothing.
    assert tiers.choose(80 * MS, size=(100 - SIZES, 2)).name == "plain"
    assert tiers.choose(80 * MS, size=(99 - SIZES, 2)).name == "lite"


def test_a_limited_ladder_takes_no_better_tier() -> None:
    ladder = TierLadder(("full", "lite", "plain"), ManualClock())
    ladder.limit("lite")
    assert ladder.choose(None).name == "lite"
    assert ladder.choose(1_000_000_000).name == "lite"
    ladder.limit("full")
    assert ladder.choose(None).name == "full"


def test_a_limit_names_the_network_and_leaves_the_made_frames() -> None:
    steps = list[Step]()
    ladder = TierLadder(
        ("lite", "nano", "plain"), ManualClock(), makes_frames=True, on_step=steps.append
    )
    for name in ("nano", "plain", "lite"):
        ladder.limit(name)
        assert ladder.choose(1_000_000_000).name == f"{name}+made"
    assert [step.reason for step in steps] == ["limited"] * 3


def test_a_lifted_limit_does_not_lift_a_rung_that_a_load_took() -> None:
    clock = ManualClock()
    tiers = ladder(clock, full=10.0, lite=35.0, plain=2.0)
    tiers.limit("lite")
    assert tiers.choose(80 * MS, interval_ms=33.0).name == "plain"
    tiers.limit("full")
    tiers.choose(80 * MS, interval_ms=33.0)
    assert tiers.rung.name == "plain"


def test_a_tier_that_is_not_on_the_ladder_is_refused_with_those_that_are() -> None:
    ladder = TierLadder(("lite", "plain"), ManualClock())
    with pytest.raises(ConfigError, match="no tier 'full'; this stream has lite, plain"):
        ladder.limit("full")
    assert ladder.choose(None).name == "lite"


def test_old_costs_are_forgotten_when_new_ones_come() -> None:
    clock = ManualClock()
    costs = Costs(clock)
    for _ in range(3):
        costs.add(100.0)
    clock.advance_ms(COST_WINDOW_NS / MS + 1)
    assert costs.p95_ms() == 100.0
    assert costs.are_old
    costs.add(10.0)
    costs.add(10.0)
    assert costs.p95_ms() == costs.mean_ms() == costs.newest_ms == 10.0
    assert not costs.are_old


def test_one_outlier_does_not_cost_the_tier_but_two_do() -> None:
    clock = ManualClock()
    tiers = TierLadder(("lite", "plain"), clock)
    for cost_ms in (200.0, 10.0, 10.0):
        tiers.spent("lite", cost_ms)
        assert tiers.choose(clock.now_ns() + 20 * MS).name == "lite"
    tiers.spent("lite", 150.0)
    assert tiers.choose(clock.now_ns() + 20 * MS).name == "plain"


def test_one_slow_frame_in_a_hundred_does_not_cost_the_tier() -> None:
    clock = ManualClock()
    tiers = TierLadder(("lite", "plain"), clock)
    for number in range(90):
        tiers.spent("lite", 300.0 if number == 50 else 10.0)
    assert tiers.choose(clock.now_ns() + 20 * MS, interval_ms=33.0).name == "lite"
