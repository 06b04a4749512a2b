from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from streamer.clock import ManualClock
from streamer.enhance.super_resolution import SuperResolution
from streamer.errors import EngineError
from streamer.infer.engine import Tensors
from streamer.infer.guarded import Guarded
from streamer.infer.reference import PLAIN, ReferenceEngine
from streamer.metrics import Metrics
from tests.streamer.pictures import frame_of, noise


class Failing(ReferenceEngine):
    """Gives what it is told to, run by run; after that, nothing wrong."""

    def __init__(self, *values: float | EngineError) -> None:
        super().__init__(2)
        self.runs = 0
        self._values = values

    def run(self, inputs: Tensors, outputs: Tensors) -> None:
        value = self._values[self.runs] if self.runs < len(self._values) else 0.0
        self.runs += 1
        if isinstance(value, EngineError):
            raise value
        for array in outputs.values():
            array[...] = value


def run(engine: Guarded, dtype: type = np.float32) -> NDArray[Any]:
    outputs: Tensors = {"residual": np.full((1, 24, 8, 8), 99, dtype)}
    engine.run({"packed": np.zeros((1, 6, 8, 8), np.float32)}, outputs)
    return outputs["residual"]


def guarded(engine: Failing) -> tuple[Guarded, Metrics]:
    metrics = Metrics()
    return Guarded(engine, ManualClock(), metrics), metrics


@pytest.mark.parametrize(("dtype", "nothing"), [(np.float32, 0), (np.uint8, 128)])
def test_a_broken_output_becomes_a_residual_of_nothing(dtype: type, nothing: int) -> None:
    engine, metrics = guarded(Failing(3 if dtype is np.uint8 else float("nan")))
    assert (run(engine, dtype) == nothing).all()
    assert engine.fell_back
    assert metrics.counts("unsound.") == {"bicubic-x2": 1}


def test_one_broken_output_is_forgiven() -> None:
    engine, _ = guarded(Failing(float("inf"), 2.0))
    run(engine)
    assert (run(engine) == 2.0).all()
    assert not engine.fell_back


def test_after_repeated_failures_the_engine_is_left_alone_and_the_log_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failing = Failing(*[float("nan")] * 9)
    engine, metrics = guarded(failing)
    with caplog.at_level(logging.WARNING):
        for _ in range(6):
            run(engine)
    assert failing.runs == 3
    assert engine.fell_back
    assert metrics.counts("unsound.") == {"bicubic-x2": 3}
    (record,) = caplog.records
    assert "3 times in a row" in record.getMessage()


def test_an_engine_that_raises_is_a_failure_like_any_other() -> None:
    engine, metrics = guarded(Failing(EngineError("the device is lost; start anew")))
    assert (run(engine) == 0).all()
    assert metrics.counts("unsound.") == {"bicubic-x2": 1}


def test_a_fallback_takes_the_place_of_the_engine() -> None:
    other = Failing(7.0, 7.0)
    engine = Guarded(Failing(float("nan")), ManualClock(), Metrics(), fallback=other)
    assert (run(engine) == 7.0).all()
    assert (run(engine) == 0.0).all()
    assert other.runs == 1


def test_a_frame_whose_network_failed_is_the_plain_upscale() -> None:
    failing = Failing(float("nan"))
    failing.manifest = replace(failing.manifest, variant="lite")
    stage = SuperResolution((Guarded(failing, ManualClock(), Metrics()),))
    frame = frame_of(noise(width=32, height=16))
    broken = stage.process(frame, tier="lite", with_comparison=False)
    plain = stage.process(frame, tier=PLAIN, with_comparison=False)
    assert broken.tier == PLAIN
    assert np.array_equal(broken.planes[0], plain.planes[0])
