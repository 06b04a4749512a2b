from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from streamer.enhance.steady import LIMIT, Steady
from streamer.frame import Plane
from streamer.ops import host_opencv

HEIGHT, WIDTH = 48, 64


@pytest.fixture
def steady() -> Steady:
    return Steady()


def scene(*, seed: int = 1, height: int = HEIGHT, width: int = WIDTH) -> Plane:
    """Soft blobs over the whole range, as a decoded luma has them."""
    rough = np.random.default_rng(seed).integers(16, 236, (height // 8, width // 8), np.uint8)
    soft = cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(soft, np.uint8)


def enlarged(small: Plane, scale: int = 2) -> Plane:
    size = (small.shape[1] * scale, small.shape[0] * scale)
    return np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def flickering(large: Plane, *, seed: int) -> Plane:
    noise = np.random.default_rng(seed).normal(0.0, 2.0, large.shape)
    return (large + noise).round().clip(0, 255).astype(np.uint8)


def smoothed(steady: Steady, small: Plane, large: Plane) -> Plane:
    result = large.copy()
    steady.smooth(small, result)
    return result


def gap(first: Plane, second: Plane) -> NDArray[np.float64]:
    return np.abs(first.astype(np.float64) - second)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_flicker_over_a_still_picture_is_calmed(scale: int, steady: Steady) -> None:
    small = scene()
    came = [flickering(enlarged(small, scale), seed=seed) for seed in range(8)]
    left = [smoothed(steady, small, large) for large in came]
    before = np.mean([gap(*pair).mean() for pair in pairwise(came[3:])])
    after = np.mean([gap(*pair).mean() for pair in pairwise(left[3:])])
    assert after < 0.6 * before
    assert (
        gap(left[-1], enlarged(small, scale)).mean()
        < 0.8 * gap(came[-1], enlarged(small, scale)).mean()
    )


def test_a_picture_that_does_not_change_stays_as_it_is(steady: Steady) -> None:
    small = scene()
    for _ in range(3):
        assert np.array_equal(smoothed(steady, small, enlarged(small)), enlarged(small))


def test_no_pixel_is_changed_by_more_than_the_limit(steady: Steady) -> None:
    small = scene()
    smoothed(steady, small, np.zeros((2 * HEIGHT, 2 * WIDTH), np.uint8))
    white = np.full((2 * HEIGHT, 2 * WIDTH), 255, np.uint8)
    changed = gap(smoothed(steady, small, white), white)
    assert 0 < changed.max() <= LIMIT


def test_nothing_is_mixed_across_a_cut(steady: Steady) -> None:
    rng = np.random.default_rng(3)
    first, second = rng.integers(0, 60, (2, HEIGHT, WIDTH), np.uint8)
    second += 150
    smoothed(steady, first, enlarged(first))
    assert np.array_equal(smoothed(steady, second, enlarged(second)), enlarged(second))


def test_what_changed_passes_and_what_stood_still_is_mixed(steady: Steady) -> None:
    small = scene()
    smoothed(steady, small, flickering(enlarged(small), seed=1))
    changed = small.copy()
    changed[:, : WIDTH // 2] = 255 - changed[:, : WIDTH // 2] // 2
    large = flickering(enlarged(changed), seed=2)
    result = smoothed(steady, changed, large)
    # The gate is summed over three pixels and enlarged, so it reaches over the border.
    assert np.array_equal(result[:, : WIDTH - 8], large[:, : WIDTH - 8])
    assert gap(result[:, WIDTH + 8 :], large[:, WIDTH + 8 :]).mean() > 0.5


def test_flicker_over_a_pan_is_calmed_too(steady: Steady) -> None:
    wide = scene(height=96, width=192)
    errors = []
    for n in range(8):
        small = np.ascontiguousarray(wide[:, 2 * n : 2 * n + 128])
        true = enlarged(small)
        came = flickering(true, seed=n)
        result = smoothed(steady, small, came)
        inner = np.s_[16:-16, 16:-32]
        errors.append((gap(came, true)[inner].mean(), gap(result, true)[inner].mean()))
    came_mean, left_mean = np.mean(errors[3:], axis=0)
    assert left_mean < 0.8 * came_mean


def test_what_surrounds_a_thing_that_moves_is_not_carried_along(steady: Steady) -> None:
    """Flow spreads into surroundings that show nothing of their own motion."""
    thing = scene(height=32, width=32)
    detail = np.random.default_rng(7).integers(0, 8, (192, 256), np.uint8)
    for left in (40, 44, 48):
        small = np.full((96, 128), 120, np.uint8)
        small[32:64, left : left + 32] = thing
        large = enlarged(small) + detail
        result = smoothed(steady, small, large)
    is_around = np.ones(large.shape, np.bool_)
    is_around[56:136, 80:170] = False
    assert gap(result, large)[is_around].mean() < 0.01


def test_after_a_reset_nothing_is_followed(steady: Steady) -> None:
    small = scene()
    smoothed(steady, small, flickering(enlarged(small), seed=1))
    steady.reset()
    large = flickering(enlarged(small), seed=2)
    assert np.array_equal(smoothed(steady, small, large), large)


def test_another_size_begins_anew(steady: Steady) -> None:
    for seed, (height, width, scale) in enumerate(
        [(48, 64, 2), (64, 48, 2), (64, 48, 3), (16, 16, 3)]
    ):
        small = scene(height=height, width=width)
        large = flickering(enlarged(small, scale), seed=seed)
        assert np.array_equal(smoothed(steady, small, large), large)
        again = flickering(enlarged(small, scale), seed=seed + 10)
        assert not np.array_equal(smoothed(steady, small, again), again)


def test_a_residual_that_is_no_number_is_forgotten(steady: Steady) -> None:
    small = scene()
    chroma = np.full((HEIGHT, WIDTH), 128, np.uint8)
    broken = (enlarged(small), chroma, chroma.copy())
    nothing = np.full((1, 24, HEIGHT // 2, WIDTH // 2), np.nan, np.float32)
    host_opencv.add_residual(broken, nothing, broken)
    steady.smooth(small, broken[0])
    for _ in range(4):
        result = smoothed(steady, small, enlarged(small))
    assert gap(result, enlarged(small)).max() <= 1


def test_only_the_given_part_of_a_taller_picture_changes(steady: Steady) -> None:
    small = scene()
    tall = np.full((4 * HEIGHT, 2 * WIDTH + 32), 77, np.uint8)
    part = tall[: 2 * HEIGHT, : 2 * WIDTH]
    whole = [smoothed(steady, small, flickering(enlarged(small), seed=seed)) for seed in (1, 2)]
    steady.reset()
    for seed in (1, 2):
        part[:] = flickering(enlarged(small), seed=seed)
        steady.smooth(small, part)
    assert np.array_equal(part, whole[-1])
    assert (tall[2 * HEIGHT :] == 77).all()
    assert (tall[:, 2 * WIDTH :] == 77).all()
