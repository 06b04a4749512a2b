"""Engines of the same network timed on this machine, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from streamer.clock import Clock
from streamer.infer.engine import Engine
from streamer.infer.self_test import drawn_inputs, storage
from streamer.infer.sizes import sizes_for
from streamer.model import ModelManifest

WIDTH, HEIGHT = 640, 360
"""Of the picture that engines are tried with."""

PICTURE = f"{WIDTH}x{HEIGHT}"

SEARCH_RUNS = 2
"""Of every engine, after one that plans memory and is not counted."""

HOPELESS = 2.0
"""Times the fastest: an engine as slow as this in the search is not timed further."""

ROUND_RUNS = 3
"""Of every engine that is left, in each of two rounds."""

TIE = 1.1
"""Engines whose times are as near as this are as good as each other."""

TOGETHER_RUNS = 3
"""Of every engine of a ladder, in each of two rounds; the shortest counts: what disturbs one run makes
it longer."""

AGAIN_RUNS = 2

ALIKE = 1.3
"""By how much the ratios of two rounds may differ."""


@dataclass(frozen=True, slots=True)
class Timings:
    """How long a run of each engine takes, and whether that can be relied on."""

    costs_ms: Mapping[str, float]
    """By the engine's label, fastest first."""
    is_steady: bool
    """Whether both rounds say the same. A load that stays slows all engines alike and leaves their order
    and their ratios; it is one that comes or goes in between that misleads."""


def time_engines(engines: Mapping[str, Engine], clock: Clock) -> Timings:
    """Times engines of one network. They take turns: what slows one down slows down all."""
    runs = {label: _Run(engine, clock) for label, engine in engines.items()}
    _in_turns(runs, 1)
    search = {label: min(taken_ms) for label, taken_ms in _in_turns(runs, SEARCH_RUNS).items()}
    limit_ms = HOPELESS * min(search.values())
    left = {label: run for label, run in runs.items() if search[label] <= limit_ms}
    rounds = [
        {label: median(taken_ms) for label, taken_ms in _in_turns(left, ROUND_RUNS).items()}
        for _ in range(2)
    ]
    costs_ms = search | {label: min(round_ms[label] for round_ms in rounds) for label in left}
    ordered = dict(sorted(costs_ms.items(), key=lambda item: item[1]))
    return Timings(ordered, is_steady=_agree(*rounds))


def time_together(engines: Mapping[str, Engine], clock: Clock) -> Timings:
    """Times the engines of several networks, each of which is going to be used. They take turns, so
    that their ratios hold whatever else the machine does."""
    runs = {label: _Run(engine, clock) for label, engine in engines.items()}
    _in_turns(runs, 1)
    rounds = [
        {label: min(taken_ms) for label, taken_ms in _in_turns(runs, TOGETHER_RUNS).items()}
        for _ in range(2)
    ]
    costs_ms = {label: min(round_ms[label] for round_ms in rounds) for label in runs}
    return Timings(
        dict(sorted(costs_ms.items(), key=lambda item: item[1])), is_steady=_are_alike(*rounds)
    )


def time_again(engines: Mapping[str, Engine], clock: Clock) -> Mapping[str, float]:
    """What two runs of each take, in turns, after one that is not counted. No trial: it tells whether an
    earlier one met a busy machine."""
    runs = {label: _Run(engine, clock) for label, engine in engines.items()}
    _in_turns(runs, 1)
    return {label: min(taken_ms) for label, taken_ms in _in_turns(runs, AGAIN_RUNS).items()}


def _are_alike(first: Mapping[str, float], second: Mapping[str, float]) -> bool:
    """Whether everything is about as many times longer in one round as in the other."""
    ratios = [second[label] / first[label] for label in first]
    return max(ratios) <= ALIKE * min(ratios)


def _agree(first: Mapping[str, float], second: Mapping[str, float]) -> bool:
    """Whether the winner of each round is as good as the best of the other."""
    winners = [min(round_ms, key=lambda label: round_ms[label]) for round_ms in (first, second)]
    return all(
        round_ms[winner] <= TIE * min(round_ms.values())
        for round_ms in (first, second)
        for winner in winners
    )


class _Run:
    """One engine with the storage of a picture."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        sizes = picture_sizes(engine.manifest)
        self._engine = engine
        self._clock = clock
        self._inputs = drawn_inputs(engine.manifest, sizes)
        self._outputs = storage(engine.manifest, sizes)

    def cost_ms(self) -> float:
        began_ns = self._clock.now_ns()
        self._engine.run(self._inputs, self._outputs)
        return (self._clock.now_ns() - began_ns) / 1e6


def picture_sizes(manifest: ModelManifest) -> Mapping[str, int]:
    """The model's free dimensions for ``PICTURE``."""
    return sizes_for(manifest, width=WIDTH, height=HEIGHT)


def _in_turns(runs: Mapping[str, _Run], times: int) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {label: [] for label in runs}
    for _ in range(times):
        for label, run in runs.items():
            taken[label].append(run.cost_ms())
    return taken
