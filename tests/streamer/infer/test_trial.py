from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamer.clock import ManualClock
from streamer.errors import EngineError
from streamer.infer.engine import Tensors
from streamer.infer.ort import OrtCpuEngine
from streamer.infer.trial import RUNS, drawn_input, fastest, try_engines
from streamer.model import read_manifest
from tests.streamer.models import write_model


class Timed(OrtCpuEngine):
    """Takes as long as the test says, on the test's clock; what it computes is real."""

    def __init__(self, folder: Path, clock: ManualClock, *, cost_ms: float, error: float) -> None:
        name = f"{cost_ms:g}-{error:g}"
        precision = "int8" if error else "fp32"
        super().__init__(
            read_manifest(write_model(folder, stem=name, error=error, precision=precision))
        )
        self._clock = clock
        self._cost_ms = cost_ms
        self.runs = 0

    def run(self, inputs: Tensors, outputs: Tensors) -> None:
        # The first runs plan memory: a tenfold cost there must not decide.
        self._clock.advance_ms(self._cost_ms * (10 if self.runs < 2 else 1))
        self.runs += 1
        super().run(inputs, outputs)


def test_the_fastest_engine_that_agrees_is_taken(tmp_path: Path) -> None:
    clock = ManualClock()
    exact = Timed(tmp_path, clock, cost_ms=20, error=0)
    close = Timed(tmp_path, clock, cost_ms=9, error=0.1)
    trials = try_engines(exact, [close], clock)
    assert fastest(trials).engine is close
    assert [round(trial.cost_ms) for trial in trials] == [20, 9]
    assert trials[1].error == pytest.approx(0.1, rel=1e-3)
    assert exact.runs == close.runs == RUNS


def test_a_faster_engine_that_is_wrong_is_not_taken(tmp_path: Path) -> None:
    clock = ManualClock()
    exact = Timed(tmp_path, clock, cost_ms=20, error=0)
    wrong = Timed(tmp_path, clock, cost_ms=5, error=0.5)
    trials = try_engines(exact, [wrong], clock)
    assert not trials[1].is_right
    assert fastest(trials).engine is exact


def test_an_engine_that_gives_no_numbers_is_wrong(tmp_path: Path) -> None:
    clock = ManualClock()
    exact = Timed(tmp_path, clock, cost_ms=20, error=0)
    broken = Timed(tmp_path, clock, cost_ms=5, error=float("nan"))
    assert fastest(try_engines(exact, [broken], clock)).engine is exact


def test_the_drawn_input_is_always_the_same_and_lies_in_the_range_of_pictures() -> None:
    packed = drawn_input(36, 64)
    assert packed.shape == (1, 6, 18, 32)
    assert np.array_equal(packed, drawn_input(36, 64))
    assert packed[0, :4].min() >= 0
    assert packed[0, :4].max() <= 1
    assert packed[0, :4].std() > 0.1


def test_without_a_right_engine_there_is_an_error_with_the_next_step() -> None:
    with pytest.raises(EngineError, match="--backend reference"):
        fastest([])
