"""The ladder with a network that is there for larger machines, on the modelled worker and by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamer.clock import ManualClock
from streamer.costs import ALONE, ENOUGH, CostBook
from streamer.rungs import Step
from streamer.schedule import TierLadder
from tests.streamer.worker_model import MS, Run, Worker

PICTURE = (640, 360)
INTERVAL_MS = 1000 / 30

SEEDS = pytest.mark.parametrize("seed", range(1, 4))


def small(*, seed: int = 1, noise: float = 0.2, made: int = 0) -> Worker:
    """Two cores: the best network takes 1.2 intervals."""
    return Worker(
        costs_ms={"medium": 1.2 * INTERVAL_MS, "lite": 12.0, "nano": 6.0, "plain": 2.0},
        alone_ms={"medium": 24.0, "lite": 6.0, "nano": 3.0},
        made_ms=7.0,
        made=made,
        noise=noise,
        seed=seed,
    )


def large(*, seed: int = 1, noise: float = 0.2, made: int = 0) -> Worker:
    """Eight cores: 0.3 intervals."""
    return Worker(
        costs_ms={"medium": 0.3 * INTERVAL_MS, "lite": 4.0, "nano": 2.5, "plain": 2.0},
        alone_ms={"medium": 6.5, "lite": 1.8, "nano": 1.0},
        made_ms=4.0,
        made=made,
        noise=noise,
        seed=seed,
    )


def without_medium(worker: Worker) -> Worker:
    costs_ms = {tier: ms for tier, ms in worker.costs_ms.items() if tier != "medium"}
    return replace(worker, costs_ms=costs_ms)


def tiers(run: Run, begin_s: float = 0.0, end_s: float = 1e9) -> set[str]:
    return {frame.rung.tier for frame in run.between(begin_s, end_s)}


@SEEDS
@pytest.mark.parametrize("made", [0, 1])
def test_a_network_that_cannot_fit_is_neither_begun_with_nor_tried(made: int, seed: int) -> None:
    run = small(made=made, seed=seed).run(120)
    assert tiers(run) == {"lite"}
    assert run.dropped_s == []
    assert run.steps == []


@SEEDS
def test_a_late_frame_does_not_get_it_in_place_of_made_frames(seed: int) -> None:
    """Its rung without made frames comes after those of cheaper networks that make some."""
    run = replace(small(made=1, seed=seed, noise=0.3), stalls_hz=1.0).run(30, load=lambda _: 8.0)
    assert "medium" not in tiers(run)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("made", [0, 1])
@pytest.mark.parametrize("load", [1.0, 1.6, 2.2, 4.0])
def test_its_presence_changes_nothing_for_a_machine_too_small_for_it(
    load: float, made: int, seed: int
) -> None:
    worker = small(made=made, seed=seed, noise=0.3)

    def run(worker: Worker) -> Run:
        return worker.run(60, load=lambda time_s: load if 10 <= time_s < 40 else 1.0)

    assert run(worker).shown == run(without_medium(worker)).shown


@SEEDS
@pytest.mark.parametrize("made", [0, 1])
def test_a_network_that_fits_is_begun_with_and_kept(made: int, seed: int) -> None:
    run = large(made=made, seed=seed).run(60)
    assert tiers(run) == {"medium"}
    assert run.dropped_s == []
    assert run.steps == []


@SEEDS
def test_a_network_that_fits_but_that_all_frames_wait_for_is_not_kept(seed: int) -> None:
    """As measured on two cores of 2026 at 60 of 30 fps: 0.73 of the interval. Frames leave 20 ms
    sooner without."""
    worker = replace(
        large(made=1, seed=seed),
        costs_ms={"medium": 22.0, "lite": 9.5, "nano": 6.0, "plain": 2.0},
        alone_ms={"medium": 11.0, "lite": 4.0, "nano": 2.0},
        made_ms=2.5,
    )
    run = worker.run(60)
    assert run.shares(5, 60)["lite+made"] > 0.95
    assert run.lasting_steps(5, 60) <= 2
    easily = replace(worker, costs_ms={**worker.costs_ms, "medium": 14.0}).run(60)
    assert tiers(easily, 5) == {"medium"}


@SEEDS
def test_so_it_is_where_there_is_no_network_below_lite(seed: int) -> None:
    """At x1, x3 and x4."""
    worker = replace(
        large(seed=seed),
        costs_ms={"medium": 22.0, "lite": 9.5, "plain": 2.0},
        alone_ms={"medium": 11.0, "lite": 4.0},
    )
    assert worker.run(60).shares(5, 60)["lite"] > 0.95


@SEEDS
def test_the_two_cheapest_networks_may_take_nearly_all_of_the_interval(seed: int) -> None:
    worker = replace(
        large(made=1, seed=seed),
        costs_ms={"lite": 22.0, "nano": 9.5, "plain": 2.0},
        alone_ms={"lite": 11.0, "nano": 4.0},
        made_ms=2.5,
    )
    run = worker.run(60)
    assert tiers(run) == {"lite"}


@SEEDS
def test_a_machine_that_becomes_slower_gives_it_up_and_has_it_back(seed: int) -> None:
    run = large(seed=seed).run(60, load=lambda time_s: 4.5 if 10 <= time_s < 30 else 1.0)
    assert run.shares(12, 30)["lite"] > 0.9
    assert run.settled_s("medium", 30) <= 5.0
    assert run.drops(0, 60) <= 1


@SEEDS
def test_a_machine_that_becomes_faster_gets_it_within_seconds(seed: int) -> None:
    run = small(seed=seed).run(40, load=lambda time_s: 1.0 if time_s < 20 else 0.3)
    assert tiers(run, 0, 20) == {"lite"}
    assert run.settled_s("medium", 20) <= 2.0
    assert tiers(run, 22) == {"medium"}


@SEEDS
def test_a_slow_start_does_not_keep_it_away(seed: int) -> None:
    run = large(seed=seed).run(30, load=lambda time_s: 12.0 if time_s < 3 else 1.0)
    assert run.settled_s("medium", 3) <= 5.0
    assert tiers(run, 10) == {"medium"}


@SEEDS
@pytest.mark.parametrize("wrong", [3.0, 10.0, 30.0])
def test_what_a_busy_machine_said_at_the_trial_costs_seconds_and_not_the_network(
    wrong: float, seed: int
) -> None:
    """All of it took so many times too long, and is remembered for a month."""
    worker = large(seed=seed)
    worker = replace(worker, alone_ms={tier: wrong * ms for tier, ms in worker.alone_ms.items()})
    run = worker.run(30)
    assert run.settled_s("medium", 0) <= 4.0
    assert tiers(run, 5) == {"medium"}


@SEEDS
def test_what_looked_as_if_it_fitted_harms_few_frames(seed: int) -> None:
    """It takes twice as long beside the others as its trial said."""
    worker = replace(small(seed=seed), alone_ms={"medium": 12.0, "lite": 6.0, "nano": 3.0})
    run = worker.run(120)
    assert run.shares(2, 120)["lite"] > 0.98
    assert run.drops(0, 120) == 0


def test_larger_pictures_begin_with_what_fits_them() -> None:
    run = large().run(30, size=lambda time_s: (1920, 1080) if time_s >= 10 else PICTURE)
    assert tiers(run, 0, 10) == {"medium"}
    assert "medium" not in tiers(run, 10)
    assert run.dropped_s == []


def test_few_pictures_a_second_leave_time_for_it_on_a_small_machine() -> None:
    run = replace(small(), fps=10.0).run(30)
    assert tiers(run, 3) == {"medium"}
    assert run.dropped_s == []


def test_offline_it_does_every_frame() -> None:
    assert tiers(small().run(10, is_offline=True)) == {"medium"}


def test_a_limit_that_is_lifted_does_not_lead_to_it() -> None:
    clock, steps = ManualClock(), list[Step]()
    worker = small()
    ladder = TierLadder(
        tuple(worker.costs_ms),
        clock,
        on_step=steps.append,
        pixel_ns={tier: 1e6 * ms / (640 * 360) for tier, ms in worker.alone_ms.items()},
    )
    for limit in ("plain", "medium"):
        ladder.limit(limit)
        for _ in range(60):
            rung = ladder.choose(clock.now_ns() + 80 * MS, size=PICTURE, interval_ms=INTERVAL_MS)
            ladder.spent(rung, worker.costs_ms[rung.tier], size=PICTURE)
            assert rung.tier != "medium"
            clock.advance_ms(INTERVAL_MS)
    assert ladder.rung.name == "lite"


def test_before_anything_ran_a_network_is_expected_to_take_longer_than_alone() -> None:
    book = CostBook(ManualClock(), {"lite": 100.0})
    assert book.expected_ms("lite", (1000, 1000)) == pytest.approx(100.0 * ALONE)
    assert book.expected_ms("other", (1000, 1000)) == 0.0


def test_what_one_network_takes_beside_its_trial_is_expected_of_the_others_at_every_size() -> None:
    book = CostBook(ManualClock(), {"medium": 400.0, "lite": 100.0})
    for _ in range(ENOUGH):
        book.of("lite", (1000, 1000)).add(300.0)
    book.compare("lite", (1000, 1000))
    assert book.expected_ms("medium", (1000, 500)) == pytest.approx(600.0)
    book.compare("plain", (1000, 1000))
    assert book.expected_ms("medium", (1000, 500)) == pytest.approx(200.0 * ALONE)
