"""How far a prediction reaches, and what it gains."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.ops.motion_ahead import damped, gain_db
from tests.streamer.pictures import texture


@pytest.mark.parametrize(
    ("step", "reached"),
    [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0), (1.5, 1.425), (2.0, 1.85), (3.0, 2.5725)],
)
def test_each_interval_after_the_first_goes_a_share_of_the_way_before(
    step: float, reached: float
) -> None:
    assert damped(step) == pytest.approx(reached)


def test_a_prediction_that_hits_gains_and_one_that_misses_loses() -> None:
    last, actual = (texture(width=64, height=48, moved=(x, 0)) for x in (0.0, 2.0))
    near, beyond = (texture(width=64, height=48, moved=(x, 0)) for x in (1.5, 6.0))
    assert gain_db(near, last=last, actual=actual) > 6
    assert gain_db(beyond, last=last, actual=actual) < -3
    assert gain_db(last, last=last, actual=actual) == 0.0


def test_an_error_half_as_large_is_six_decibels() -> None:
    actual = np.full((16, 16), 100, np.uint8)
    last, predicted = actual + np.uint8(8), actual - np.uint8(4)
    assert gain_db(predicted, last=last, actual=actual) == pytest.approx(6.02, abs=0.01)


def test_gains_of_pictures_that_are_hit_exactly_have_a_limit() -> None:
    actual = np.full((16, 16), 100, np.uint8)
    last = np.full((16, 16), 110, np.uint8)
    assert gain_db(actual, last=last, actual=actual) == pytest.approx(40.0)
    assert gain_db(actual, last=actual, actual=actual) == 0.0
