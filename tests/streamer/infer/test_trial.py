from __future__ import annotations

from pathlib import Path

import pytest

from streamer.clock import ManualClock
from streamer.infer.trial import (
    ROUND_RUNS,
    SEARCH_RUNS,
    TOGETHER_RUNS,
    Timings,
    picture_sizes,
    time_engines,
    time_together,
)
from streamer.model import MODELS, read_manifest
from tests.streamer.infer.timed import Timed
from tests.streamer.models import tiny

SEARCH = 1 + SEARCH_RUNS
ALL = SEARCH + 2 * ROUND_RUNS


def timings(folder: Path, **costs_ms: list[float]) -> tuple[Timings, dict[str, Timed]]:
    clock = ManualClock()
    engines = {label: Timed(tiny(folder), clock, costs) for label, costs in costs_ms.items()}
    return time_engines(engines, clock), engines


def test_engines_are_ordered_by_their_time(tmp_path: Path) -> None:
    seen, engines = timings(tmp_path, slow=[20.0], fast=[9.0], middling=[15.0])
    assert list(seen.costs_ms.items()) == [("fast", 9.0), ("middling", 15.0), ("slow", 20.0)]
    assert seen.is_steady
    # Twice as slow as the fastest: searched only.
    assert {label: engine.runs for label, engine in engines.items()} == {
        "slow": SEARCH,
        "fast": ALL,
        "middling": ALL,
    }


def test_the_first_run_plans_memory_and_does_not_count(tmp_path: Path) -> None:
    seen, _ = timings(tmp_path, fast=[900.0, 9.0], slow=[10.0])
    assert list(seen.costs_ms.items()) == [("fast", 9.0), ("slow", 10.0)]


def test_one_run_that_was_held_up_does_not_decide(tmp_path: Path) -> None:
    # In the search, and once in each round.
    costs_ms = [9.0, 300.0, 9.0, *(9.0, 300.0, 9.0), *(300.0, 9.0, 9.0)]
    seen, engines = timings(tmp_path, fast=costs_ms, slow=[11.0])
    assert list(seen.costs_ms.items()) == [("fast", 9.0), ("slow", 11.0)]
    assert seen.is_steady
    assert engines["fast"].runs == ALL


def test_rounds_that_would_choose_differently_are_not_relied_on(tmp_path: Path) -> None:
    search = [10.0] * SEARCH
    seen, _ = timings(
        tmp_path,
        one=[*search, *[10.0] * ROUND_RUNS, *[14.0] * ROUND_RUNS],
        other=[*search, *[14.0] * ROUND_RUNS, *[10.0] * ROUND_RUNS],
    )
    assert not seen.is_steady


@pytest.mark.parametrize("busy", [1, 2])
def test_a_load_that_slows_all_alike_in_one_round_does_no_harm(busy: int, tmp_path: Path) -> None:
    def under_load(cost_ms: float) -> list[float]:
        rounds = [[cost_ms] * ROUND_RUNS, [cost_ms] * ROUND_RUNS]
        rounds[busy - 1] = [3 * cost_ms] * ROUND_RUNS
        return [*[cost_ms] * SEARCH, *rounds[0], *rounds[1]]

    seen, _ = timings(tmp_path, slow=under_load(12.0), fast=under_load(9.0))
    assert seen.is_steady
    assert list(seen.costs_ms.items()) == [("fast", 9.0), ("slow", 12.0)]


def test_engines_as_good_as_each_other_may_change_places(tmp_path: Path) -> None:
    search = [10.0] * SEARCH
    seen, _ = timings(
        tmp_path,
        one=[*search, *[10.0] * ROUND_RUNS, *[10.4] * ROUND_RUNS],
        other=[*search, *[10.4] * ROUND_RUNS, *[10.0] * ROUND_RUNS],
    )
    assert seen.is_steady


def test_models_are_tried_at_what_they_see_of_a_picture_of_640x360() -> None:
    upscaler, maker = (
        read_manifest(MODELS / f"{name}.json") for name in ("sr-lite-x2-live", "prediction-lite")
    )
    assert picture_sizes(upscaler) == {"h": 180, "w": 320}
    # Motion is found at half the size, padded to a multiple of eight; maps are half of that.
    assert picture_sizes(maker) == {"h": 92, "w": 160}


def together(
    folder: Path, *, first: tuple[float, float] = (1.0, 1.0), second: tuple[float, float]
) -> Timings:
    """Two networks of 30 and 6 ms, slowed down by these factors in the two rounds."""
    clock = ManualClock()
    rounds = (first, second)
    engines = {
        label: Timed(
            tiny(folder),
            clock,
            [900.0, *(cost_ms * factors[at] for factors in rounds for _ in range(TOGETHER_RUNS))],
        )
        for at, (label, cost_ms) in enumerate({"medium": 30.0, "lite": 6.0}.items())
    }
    return time_together(engines, clock)


def test_every_engine_of_a_ladder_is_timed_whatever_it_takes(tmp_path: Path) -> None:
    seen = together(tmp_path, second=(1.0, 1.0))
    assert dict(seen.costs_ms) == {"medium": 30.0, "lite": 6.0}
    assert seen.is_steady


def test_a_load_on_all_engines_of_a_ladder_leaves_their_ratio(tmp_path: Path) -> None:
    assert together(tmp_path, second=(3.0, 3.0)).is_steady
    assert dict(together(tmp_path, first=(3.0, 3.0), second=(1.0, 1.0)).costs_ms) == {
        "medium": 30.0,
        "lite": 6.0,
    }


def test_a_ladder_whose_ratio_changed_meanwhile_says_nothing_for_later(tmp_path: Path) -> None:
    assert not together(tmp_path, second=(2.0, 1.0)).is_steady
    assert not together(tmp_path, second=(1.0, 2.0)).is_steady
