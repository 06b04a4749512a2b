"""The ladder on a modelled worker: what a viewer gets when a machine is busy, slow or stops."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.streamer.worker_model import Worker

QUICK = {"lite": 12.0, "nano": 6.0, "plain": 2.0}
BUDGET_MS = 80.0

SEEDS = pytest.mark.parametrize("seed", [1, 2, 3])


def doubling(*, noise: float = 0.1, seed: int = 1) -> Worker:
    """30 to 60 fps; the best rung takes 57 % of the interval on a quiet machine."""
    return Worker(costs_ms=QUICK, made_ms=7.0, made=1, noise=noise, seed=seed)


@pytest.mark.parametrize("noise", [0.1, 0.3])
def test_on_a_quiet_machine_every_frame_is_the_best(noise: float) -> None:
    run = doubling(noise=noise).run(60)
    assert run.shares(0, 60) == {"lite+made": 1.0}
    assert all(frame.made == 1 for frame in run.shown)
    assert run.steps == []
    assert run.dropped_s == []


@SEEDS
@pytest.mark.parametrize("noise", [0.1, 0.3])
@pytest.mark.parametrize(("load", "rung"), [(2.2, "nano+made"), (4.0, "nano"), (6.0, "plain")])
def test_under_a_load_it_stays_live_and_the_quality_comes_back(
    load: float, rung: str, noise: float, seed: int
) -> None:
    run = doubling(noise=noise, seed=seed).run(
        45, load=lambda time_s: load if 10 <= time_s < 30 else 1.0
    )
    assert run.p95_ms(10, 30) <= BUDGET_MS
    # A frame that was begun before it was known takes up to 114 ms, longer than the link can hold.
    assert run.drops(0, 45) <= 1
    assert run.shares(12, 30)[rung] > 0.9
    assert run.settled_s("lite+made", 30) <= 5.0
    rungs = ["lite+made", "nano+made", "lite", "nano", "plain"]
    assert 2 <= run.lasting_steps(0, 45) <= 2 * rungs.index(rung)


@pytest.mark.parametrize(
    ("made_ms", "rungs"), [(7.0, ["nano+made"]), (11.0, ["nano+made", "lite"])]
)
def test_a_cheaper_network_comes_before_no_made_frames(made_ms: float, rungs: list[str]) -> None:
    """And where that is too slow as well the better network is back."""
    worker = Worker(costs_ms=QUICK, made_ms=made_ms, made=1, noise=0.1)
    run = worker.run(30, load=lambda time_s: 2.0 if time_s >= 10 else 1.0)
    assert [step.after.name for step in run.steps if step.reason == "too_slow"] == rungs
    assert run.shares(15, 30)[rungs[-1]] > 0.9


@SEEDS
def test_a_load_too_large_for_any_network_ends_in_the_best_rung_too(seed: int) -> None:
    """A frame of the next tier would be late in any case; it was kept before, so it is tried on."""
    run = doubling(seed=seed).run(50, load=lambda time_s: 12.0 if 10 <= time_s < 30 else 1.0)
    assert run.p95_ms(11, 30) <= BUDGET_MS
    assert run.settled_s("lite+made", 30) <= 5.0


def test_a_machine_that_stops_for_a_moment_loses_no_rung() -> None:
    run = doubling().run(20, stall_ms=lambda number: 300.0 if number == 200 else 0.0)
    assert set(run.reasons(0, 20)) == {"backlog"}
    assert sum(run.reasons(0, 20).values()) <= 4
    # 330 ms hold ten frames, of which the link keeps three.
    assert run.drops(0, 20) <= 7
    assert set(run.names(7.2, 20)) == {"lite+made"}


@pytest.mark.parametrize("first_ms", [(800.0,), (800.0, 300.0)])
def test_a_slow_first_run_of_an_engine_costs_no_rung(first_ms: tuple[float, ...]) -> None:
    run = doubling().run(
        10, stall_ms=lambda number: first_ms[number] if number < len(first_ms) else 0.0
    )
    assert "too_slow" not in run.reasons(0, 10)
    assert set(run.names(1.5, 10)) == {"lite+made"}


def test_after_a_slow_start_the_quality_comes_back_and_stays() -> None:
    """A load at the start once kept the cheap tier for ever."""
    run = doubling().run(40, load=lambda time_s: 15.0 if time_s < 3 else 1.0)
    assert run.settled_s("lite+made", 3) <= 5.0
    assert set(run.names(10, 40)) == {"lite+made"}


@SEEDS
def test_a_machine_too_slow_for_a_network_shows_the_next_without_losing_frames(seed: int) -> None:
    slow = Worker(
        costs_ms={"lite": 200.0, "nano": 18.0, "plain": 6.0},
        made_ms=60.0,
        made=1,
        noise=0.1,
        seed=seed,
    )
    run = slow.run(120)
    assert run.shares(2, 120)["nano"] > 0.98
    assert run.p95_ms(2, 120) <= BUDGET_MS
    # Each trial takes six intervals; the pauses between them grow to a minute.
    assert run.names(2, 120).count("lite") <= 7
    assert run.drops(60, 120) <= 4


@SEEDS
@pytest.mark.parametrize(("made_ms", "frames"), [(24.0, 5), (60.0, 1)])
def test_made_frames_that_never_fit_are_tried_so_rarely_that_nobody_sees_it(
    made_ms: float, frames: int, seed: int
) -> None:
    slow = Worker(
        costs_ms={"lite": 10.0, "plain": 2.0}, made_ms=made_ms, made=1, noise=0.1, seed=seed
    )
    run = slow.run(150)
    tried = [frame.arrived_s for frame in run.between(2, 150) if frame.rung.makes_frames]
    begun = [at for before, at in pairwise([0.0, *tried]) if at - before > 0.5]
    # 24 ms may fit by chance: after 2 and 4 seconds, then every eighth. With 60 the next frame may be
    # late, and the pauses double on.
    assert 5 <= len(begun) <= 150 / 7
    assert len(tried) <= frames * len(begun)
    assert all(after - before >= 7 for before, after in pairwise(begun) if before > 20)
    assert run.dropped_s == []
    assert "plain" not in run.names(2, 150), "no real frame pays for them"


def test_made_frames_that_make_the_next_one_late_are_tried_ever_more_rarely() -> None:
    slow = Worker(costs_ms={"lite": 10.0, "plain": 2.0}, made_ms=100.0, made=1)
    tried = [frame.arrived_s for frame in slow.run(200).shown if frame.rung.makes_frames]
    pauses_s = [round(after - before, 1) for before, after in pairwise(tried) if before > 2]
    assert max(pauses_s) > 30
    assert pauses_s == sorted(pauses_s)


@SEEDS
def test_no_real_frame_waits_for_a_trial_by_more_than_half_an_interval(seed: int) -> None:
    slow = Worker(costs_ms={"lite": 10.0, "plain": 2.0}, made_ms=26.0, made=1, noise=0.1, seed=seed)
    run = slow.run(200)
    after_made = [
        after.latency_ms
        for before, after in pairwise(run.between(5, 200))
        if before.made and not after.made
    ]
    assert after_made
    assert max(after_made) <= 10.0 * 1.4 + slow.encode_ms + 1000 / 30 / 2


@SEEDS
def test_while_a_load_lasts_what_cannot_fit_is_not_tried(seed: int) -> None:
    run = doubling(seed=seed).run(45, load=lambda time_s: 2.2 if 10 <= time_s < 30 else 1.0)
    # Three trials at most, of as many frames as it takes to know.
    assert run.names(12, 30).count("lite+made") <= 9
    assert run.settled_s("lite+made", 30) <= 2.5


@SEEDS
def test_what_was_never_kept_is_tried_as_soon_as_the_load_has_visibly_fallen(seed: int) -> None:
    """By then the pauses between its trials have grown, and one has just begun."""
    run = doubling(seed=seed).run(100, load=lambda time_s: 2.2 if time_s < 64 else 1.0)
    assert run.names(20, 64).count("lite+made") <= 10
    assert run.settled_s("lite+made", 64) <= 2.5


def busy(seed: int) -> Worker:
    """The best rung takes 69 % of the interval, and twice a second the core is taken away."""
    return Worker(
        costs_ms=QUICK | {"lite": 14.0},
        made_ms=9.0,
        made=1,
        noise=0.3,
        stalls_hz=2.0,
        seed=seed,
    )


@pytest.mark.parametrize("seed", range(1, 7))
def test_frames_are_made_soon_after_a_slow_start(seed: int) -> None:
    """One bad second once cost half a minute: every trial that a stall ended doubled the pause."""
    run = busy(seed).run(20, load=lambda time_s: 3.0 if time_s < 1.5 else 1.0)
    assert run.settled_s("lite+made", 1.5) <= 5
    made = [frame.made for frame in run.between(1.5, 16.5)]
    assert sum(made) >= 0.8 * len(made)


@pytest.mark.parametrize("spell_s", [1, 5, 20])
@pytest.mark.parametrize("load", [1.6, 2.2, 4.0])
def test_frames_are_made_soon_after_a_load(load: float, spell_s: float) -> None:
    made, settled_s = list[int](), list[float]()
    for seed in range(1, 4):
        run = busy(seed).run(
            26 + spell_s, load=lambda time_s: load if 10 <= time_s < 10 + spell_s else 1.0
        )
        made += [frame.made for frame in run.between(10 + spell_s, 25 + spell_s)]
        settled_s.append(run.settled_s("lite+made", 10 + spell_s))
    assert sum(made) >= 0.8 * len(made)
    # In one of three the core may be taken away just in each of the first trials.
    assert sorted(settled_s)[1] <= 6


@SEEDS
@pytest.mark.parametrize(("load", "held"), [(1.8, "nano+made"), (2.2, "nano+made"), (4.0, "nano")])
def test_while_a_load_lasts_trials_harm_few_frames(load: float, held: str, seed: int) -> None:
    with_trials = doubling(noise=0.3, seed=seed).run(60, load=lambda _: load)
    without = Worker(costs_ms=QUICK, noise=0.3, seed=seed).run(60, load=lambda _: load)
    late = [
        sum(frame.waited_ms > 8 for frame in run.between(5, 60)) / len(run.between(5, 60))
        for run in (with_trials, without)
    ]
    assert with_trials.shares(5, 60)[held] >= 0.9
    assert late[0] - late[1] <= 0.05
    assert with_trials.drops(5, 60) == 0


@SEEDS
def test_where_the_plain_upscale_does_not_feel_the_load_networks_come_back_all_the_same(
    seed: int,
) -> None:
    """It runs on one thread, networks on two: a program that takes a core slows only them down."""
    feels = Worker(
        costs_ms={"lite": 30.0, "plain": 2.0}, noise=0.1, seed=seed, deaf=frozenset({"plain"})
    )
    run = feels.run(45, load=lambda time_s: 3.0 if 10 <= time_s < 30 else 0.4)
    assert run.shares(12, 30)["plain"] > 0.9
    assert run.settled_s("lite", 30) <= 5.0


def test_a_second_stream_takes_the_rung_that_no_longer_fits_and_no_more() -> None:
    run = doubling().run(60, load=lambda time_s: 1.9 if time_s >= 10 else 1.0)
    assert run.shares(13, 60)["nano+made"] > 0.9
    assert run.p95_ms(13, 60) <= BUDGET_MS
    assert run.lasting_steps(0, 60) == 1


def test_larger_pictures_take_a_cheaper_rung_and_smaller_ones_the_best_at_once() -> None:
    run = doubling().run(45, size=lambda t: (1280, 720) if 10 <= t < 30 else (640, 360))
    assert run.shares(12, 30)["nano"] > 0.95
    assert run.p95_ms(12, 30) <= BUDGET_MS
    assert run.settled_s("lite+made", 30) <= 2.0


def test_frames_below_thirty_a_second_are_doubled_the_same() -> None:
    worker = Worker(costs_ms={"lite": 40.0, "plain": 4.0}, made_ms=8.0, made=3, fps=12.0, noise=0.2)
    run = worker.run(60, load=lambda time_s: 2.0 if 20 <= time_s < 40 else 1.0)
    assert set(run.names(0, 20)) == {"lite+made"}
    assert run.p95_ms(20, 40) <= 2 * 40.0 * 1.5 + worker.encode_ms
    assert run.settled_s("lite+made", 40) <= 5.0


@pytest.mark.parametrize("noise", [0.1, 0.3])
@pytest.mark.parametrize("share", [0.5, 0.7, 0.85, 0.9, 0.95, 1.1, 1.5, 3.0])
def test_at_a_constant_load_it_does_not_come_and_go(share: float, noise: float) -> None:
    """``share`` of the interval is what the best tier takes; 0.9 is right at the border."""
    interval_ms = 1000 / 30
    costs_ms = {"lite": share * interval_ms, "nano": share * interval_ms / 2, "plain": 2.0}
    runs = [Worker(costs_ms=costs_ms, noise=noise, seed=seed).run(65) for seed in range(3)]
    steps = sum(run.lasting_steps(5, 65) for run in runs) / len(runs)
    at_the_border = abs(share - 0.9) <= 0.05
    assert steps <= (8 if at_the_border else 1)
    assert max(run.p95_ms(5, 65) for run in runs) <= BUDGET_MS
    assert sum(run.drops(5, 65) for run in runs) == 0


def test_offline_every_frame_is_the_best_whatever_it_takes() -> None:
    slow = Worker(costs_ms={"lite": 200.0, "plain": 12.0}, made_ms=60.0, made=3, link_frames=1000)
    run = slow.run(10, is_offline=True)
    assert run.shares(0, 10) == {"lite+made": 1.0}
    assert {frame.made for frame in run.shown} == {3}
    assert len(run.shown) == 300
