"""Made frames where the source sends each picture more than once: 30 fps in 60, drawings on twos."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from streamer.frame import Frame, Origin, Planes
from streamer.rate import Rate
from tests.streamer.enhance import test_making
from tests.streamer.enhance.test_making import Bench, pan, picture, sent

one_thread = test_making.one_thread

ROOM = 400


def titled(number: int) -> Planes:
    """Letters that stand before a texture which moves 14 pixels a picture."""
    noise = np.random.default_rng(0).standard_normal((180, 320 + ROOM))
    wide = sum(cv2.GaussianBlur(noise, (0, 0), size) * size * gain for size, gain in SIZES)
    luma = np.asarray(np.clip(126 + wide, 16, 235), np.uint8)[:, 14 * number :][:, :320].copy()
    cv2.putText(luma, "Still 12:45", (30, 140), cv2.FONT_HERSHEY_SIMPLEX, 1.1, 235, 3)
    chroma = np.full((90, 160), 128, np.uint8)
    return luma, chroma, chroma


SIZES = ((6, 50), (25, 60))
"""Of what moves, in pixels, and how strong it is: coarse enough for the scene watch to see it."""


def made(repeats: int) -> list[Frame]:
    bench = Bench(Rate(times=2))
    frames = bench.run(lambda number: titled(number // repeats), 16 * repeats)
    return [frame for frame in frames if frame.origin is Origin.INTERPOLATED]


@pytest.mark.parametrize("repeats", [2, 3])
def test_letters_that_stand_stay_as_they_are_also_where_each_picture_comes_again(
    repeats: int,
) -> None:
    once, again = made(1), made(repeats)
    assert len(again) == len(once) == 15
    assert all(
        np.array_equal(a.planes[0], b.planes[0]) for a, b in zip(once, again, strict=True)
    ), "what stood still is known as well as of pictures that come once"


@pytest.mark.parametrize("repeats", [2, 3])
def test_prediction_stops_where_each_picture_comes_again(repeats: int) -> None:
    bench = Bench(Rate(times=2), between="predict")
    frames = bench.run(lambda number: picture(moved=6.0 * (number // repeats)), 40)
    assert sum(frame.origin is Origin.PREDICTED for frame in frames) <= 1
    assert bench.metrics.counted("prediction.switched_off") == 1
    # What moves with each frame is predicted again.
    moving = range(40, 70)
    for number in moving:
        frames += bench.process(sent(pan(number), number))
        frames += bench.predicted()
    assert frames[-1].origin is Origin.PREDICTED


def test_one_picture_that_comes_again_does_not_stop_prediction() -> None:
    bench = Bench(Rate(times=2), between="predict")
    frames = bench.run(lambda number: pan(number if number < 20 else number - 1), 40)
    assert sum(frame.origin is Origin.PREDICTED for frame in frames) >= 36
    assert bench.metrics.counted("prediction.switched_off") == 0
