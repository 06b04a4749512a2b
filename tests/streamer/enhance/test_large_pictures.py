"""Pictures larger than motion can be found in, or frames be made of: they pass without."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from streamer.enhance.conceal import Concealer
from streamer.enhance.frame_maker import LONGEST_SIDE, FrameMaker
from streamer.frame import Damage, Origin, Planes
from streamer.metrics import Metrics
from streamer.rate import Rate
from tests.streamer.enhance.shifting import Shifting
from tests.streamer.enhance.test_conceal import never
from tests.streamer.enhance.test_making import Bench, sent

LONG, SHORT = LONGEST_SIDE, 32


def stripes(number: int, width: int, height: int) -> Planes:
    """They move three pixels a frame across."""
    across = np.arange(width) - 3.0 * number
    wave = (120 + 50 * np.sin(across / 9) + 30 * np.sin(across / 23)).astype(np.uint8)
    luma = np.tile(wave, (height, 1))
    chroma = np.full((height // 2, width // 2), 128, np.uint8)
    return luma, chroma, chroma.copy()


@pytest.mark.parametrize(
    ("size", "scale", "origin"),
    [
        ((LONG, SHORT), 1, Origin.INTERPOLATED),
        ((LONG + 2, SHORT), 1, Origin.REPEATED),
        ((LONG // 2, SHORT), 2, Origin.INTERPOLATED),
        ((LONG // 2 + 2, SHORT), 2, Origin.REPEATED),
    ],
)
def test_between_pictures_too_large_for_it_nothing_is_made(
    size: tuple[int, int], scale: int, origin: Origin
) -> None:
    bench = Bench(Rate(times=2), scale=scale)
    frames = bench.run(lambda number: stripes(number, *size), 3)
    made = [frame.origin for frame in frames if frame.origin is not Origin.DECODED]
    assert made == [origin] * 2


def test_nothing_is_predicted_after_them() -> None:
    bench = Bench(Rate(times=2), between="predict")
    frames = bench.run(lambda number: stripes(number, LONG + 2, SHORT), 4)
    assert [frame.origin for frame in frames] == [Origin.DECODED] * 4


def test_one_that_lost_packets_stays_as_it_is() -> None:
    hurt = Damage(pictures_since=0, follows_loss=True, lost_rows=((0, 16),))
    concealer = Concealer(never, Metrics())
    for number in range(4):
        frame = sent(stripes(number, LONG + 2, SHORT), number)
        damaged = replace(frame, damage=hurt if number == 3 else None)
        assert concealer.mend(damaged) is damaged


def test_a_warm_up_leaves_them_out() -> None:
    network = Shifting()
    maker = FrameMaker(network)
    maker.warm_up(SHORT, LONG + 2, scale=1)
    maker.warm_up(LONG // 2 + 2, SHORT, scale=2)
    assert not network.seen
    maker.warm_up(SHORT, LONG, scale=1)
    assert network.seen
