"""PSNR, SSIM and MS-SSIM against values worked out another way."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.quality.metrics import IDENTICAL_DB, psnr, rms_error, structure
from tests.benchmarks.drawn import texture

Floats = NDArray[np.float64]


def window() -> Floats:
    """The 11x11 gaussian of Wang 2004, from its formula."""
    at = np.arange(-5, 6)
    weights = np.exp(-(at[:, None] ** 2 + at[None, :] ** 2) / (2 * 1.5**2))
    return np.asarray(weights / weights.sum())


def maps_by_loops(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """SSIM and its contrast-structure part at every place where the window fits."""
    weights, (height, width) = window(), a.shape
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    whole = np.empty((height - 10, width - 10))
    contrast = np.empty_like(whole)
    for row in range(height - 10):
        for column in range(width - 10):
            x = a[row : row + 11, column : column + 11]
            y = b[row : row + 11, column : column + 11]
            mean_x, mean_y = (weights * x).sum(), (weights * y).sum()
            var_x, var_y = (weights * (x - mean_x) ** 2).sum(), (weights * (y - mean_y) ** 2).sum()
            both = (weights * (x - mean_x) * (y - mean_y)).sum()
            contrast[row, column] = (2 * both + c2) / (var_x + var_y + c2)
            light = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
            whole[row, column] = light * contrast[row, column]
    return whole, contrast


@pytest.fixture
def pair() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    original = texture(30, 26)
    noise = np.random.default_rng(2).integers(-20, 21, original.shape)
    return (original + noise).clip(0, 255).astype(np.uint8), original


def test_a_picture_is_wholly_like_itself() -> None:
    picture = texture(200, 190)
    assert structure(picture, picture) == pytest.approx((1.0, 1.0))
    assert psnr(picture, picture) == IDENTICAL_DB
    assert rms_error(picture, picture) == 0.0


def test_psnr_of_a_known_difference() -> None:
    dark, light = np.full((20, 20), 100, np.uint8), np.full((20, 20), 110, np.uint8)
    assert psnr(dark, light) == pytest.approx(28.1308, abs=1e-4)  # 20 log10(255 / 10)
    assert rms_error(dark, light) == pytest.approx(10.0)


def test_differences_do_not_wrap_around_in_eight_bits() -> None:
    assert psnr(np.zeros((4, 4), np.uint8), np.full((4, 4), 255, np.uint8)) == pytest.approx(0.0)


def test_ssim_is_what_the_formula_gives_place_by_place(
    pair: tuple[NDArray[np.uint8], NDArray[np.uint8]],
) -> None:
    result, original = pair
    whole, _ = maps_by_loops(result.astype(np.float64), original.astype(np.float64))
    ssim, _ = structure(result, original)
    assert ssim == pytest.approx(float(whole.mean()), abs=1e-9)
    assert 0.2 < ssim < 0.98


def test_ms_ssim_of_a_small_picture_has_fewer_levels_with_weights_that_sum_to_one(
    pair: tuple[NDArray[np.uint8], NDArray[np.uint8]],
) -> None:
    result, original = (plane.astype(np.float64) for plane in pair)
    halves = [p.reshape(15, 2, 13, 2).mean(axis=(1, 3)) for p in (result, original)]
    _, contrast = maps_by_loops(result, original)
    whole, _ = maps_by_loops(*halves)
    first, second = (weight / (0.0448 + 0.2856) for weight in (0.0448, 0.2856))
    expected = float(contrast.mean()) ** first * float(whole.mean()) ** second
    assert structure(*pair)[1] == pytest.approx(expected, abs=1e-9)


def test_ms_ssim_forgives_fine_noise_that_ssim_does_not() -> None:
    original = texture(240, 240, sigma=6)
    noise = np.random.default_rng(3).integers(-15, 16, original.shape)
    ssim, ms_ssim = structure((original + noise).clip(0, 255).astype(np.uint8), original)
    assert ssim < 0.8
    assert 0.9 < ms_ssim < 1.0


def test_a_negative_of_a_picture_scores_nothing_in_ms_ssim() -> None:
    picture = texture(64, 64)
    assert structure(255 - picture, picture)[1] == 0.0


def test_a_picture_smaller_than_the_window_is_refused() -> None:
    with pytest.raises(ValueError, match="11"):
        structure(texture(32, 10), texture(32, 10))
