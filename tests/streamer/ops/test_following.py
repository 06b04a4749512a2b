"""Motion back to the last picture, between noisy pictures of a texture whose motion is known."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.frame import Plane
from streamer.ops.following import SMALLEST_SIDE, Following
from streamer.ops.motion import Floats, FlowEstimator, half
from tests.streamer.pictures import texture

WIDTH, HEIGHT = 320, 192
EDGE = 12
"""Cells at a side, into which unknown things move."""


def noisy(luma: Plane, deviation: float, *, seed: int) -> Plane:
    noise = np.random.default_rng(seed).normal(0, deviation, luma.shape)
    return np.rint(luma + noise).clip(0, 255).astype(np.uint8)


def at(
    moved: tuple[float, float], deviation: float = 0.0, *, width: int = WIDTH, height: int = HEIGHT
) -> Plane:
    still = texture(width=width, height=height, moved=moved)
    return noisy(still, deviation, seed=abs(round(8 * moved[0] + moved[1]))) if deviation else still


def moving_share(flow: Floats) -> float:
    return float(np.mean((flow != 0).any(-1)))


@pytest.mark.parametrize("moved", [(4, -2), (6, 3), (-5, 1), (0, 3)])
@pytest.mark.parametrize("deviation", [0.0, 3.0, 8.0])
def test_things_that_moved_are_found_where_they_were(
    moved: tuple[int, int], deviation: float
) -> None:
    flow = Following().back(at(moved, deviation), at((0, 0), deviation))
    assert flow.shape == (HEIGHT // 2, WIDTH // 2, 2)
    assert flow.dtype == np.float32
    # Back, so against the motion, and in cells of two pixels.
    error = np.abs(flow + np.array(moved, np.float32) / 2)[EDGE:-EDGE, EDGE:-EDGE]
    assert np.median(error) < 0.05
    assert np.mean(error.max(-1) < 0.3) > 0.99


@pytest.mark.parametrize("deviation", [1.0, 3.0, 5.0])
def test_noise_on_what_stands_is_no_motion(deviation: float) -> None:
    still = texture(width=WIDTH, height=HEIGHT)
    now, before = (noisy(still, deviation, seed=seed) for seed in (1, 2))
    assert moving_share(Following().back(now, before)) < 0.2
    # The search by itself fits the noise.
    assert moving_share(FlowEstimator().to(half(now), half(before))) > 0.9


def test_what_stands_beside_what_moves_is_told_apart() -> None:
    before, now = at((0, 0), 3), at((6, 2), 3)
    still = texture(width=WIDTH, height=HEIGHT, seed=5)
    for luma, seed in ((before, 1), (now, 2)):
        luma[:, : WIDTH // 2] = noisy(still, 3, seed=seed)[:, : WIDTH // 2]
    flow = Following().back(now, before)[EDGE:-EDGE]
    middle = WIDTH // 4
    # A patch of the search reaches over the border.
    assert moving_share(flow[:, : middle - EDGE]) < 0.2
    moved = flow[:, middle + EDGE : -EDGE]
    assert np.abs(np.median(moved, axis=(0, 1)) + np.array([3, 1])).max() < 0.1


def test_a_picture_that_did_not_change_stands() -> None:
    luma = at((0, 0), 5)
    assert not Following().back(luma, luma.copy()).any()


def test_small_pictures_stand() -> None:
    for width, height in ((SMALLEST_SIDE - 1, 64), (64, SMALLEST_SIDE - 2), (2, 2), (1, 40)):
        pair = (at(moved, width=width, height=height) for moved in ((4, 2), (0, 0)))
        flow = Following().back(*pair)
        assert flow.shape == (height // 2, width // 2, 2)
        assert not flow.any()


@pytest.mark.parametrize(("width", "height"), [(32, 32), (34, 46), (35, 47), (98, 33), (66, 130)])
def test_cells_may_be_odd_in_number_and_the_last_odd_pixel_has_none(
    width: int, height: int
) -> None:
    flow = Following().back(
        at((4, 2), width=width, height=height), at((0, 0), width=width, height=height)
    )
    assert flow.shape == (height // 2, width // 2, 2)
    assert np.isfinite(flow).all()
    if min(width, height) > 2 * EDGE + 20:
        middle = flow[EDGE:-EDGE, EDGE:-EDGE]
        assert np.abs(np.median(middle, axis=(0, 1)) + np.array([2, 1])).max() < 0.2


def test_sizes_in_turn_do_not_disturb_each_other() -> None:
    following = Following()
    for width, height in ((96, 64), (16, 16), (64, 96), (96, 64), (20, 100), (96, 64)):
        now, before = (at(moved, 3, width=width, height=height) for moved in ((4, 2), (0, 0)))
        np.testing.assert_array_equal(following.back(now, before), Following().back(now, before))


def test_a_flow_is_of_no_account_for_the_next_one() -> None:
    following, still = Following(), at((0, 0))
    following.back(at((6, 3)), still)
    assert not following.back(still, still.copy()).any()
    assert following.back(at((6, 3)), still).any()
