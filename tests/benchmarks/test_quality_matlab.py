"""MATLAB's imresize and rgb2ycbcr against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.quality.matlab import imresize, luma, to_planes, to_rgb, weights
from tests.benchmarks.drawn import coloured, texture


def keys(x: float) -> float:
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0


def row_by_loops(values: list[int], outputs: int) -> list[int]:
    """One row through imresize, place by place, from the description of its algorithm."""
    number = len(values)
    scale = outputs / number
    stretch = min(scale, 1.0)
    found = []
    for place in range(outputs):
        centre = (place + 0.5) / scale - 0.5
        total = norm = 0.0
        for at in range(math.floor(centre - 2 / stretch), math.ceil(centre + 2 / stretch) + 1):
            weight = keys((centre - at) * stretch)
            inside = -1 - at if at < 0 else 2 * number - 1 - at if at >= number else at
            total, norm = total + weight * values[inside], norm + weight
        found.append(math.floor(min(max(total / norm, 0), 255) + 0.5))
    return found


def test_halving_takes_the_eight_weights_of_the_stretched_kernel() -> None:
    expected = [-0.01171875, -0.03515625, 0.11328125, 0.43359375]
    row = weights(40, 20)[10]
    assert row[17:25] == pytest.approx([*expected, *reversed(expected)])
    assert np.count_nonzero(row) == 8


def test_doubling_takes_the_four_weights_of_the_plain_kernel() -> None:
    # Keys' cubic at 1.75, 0.75, 0.25 and 1.25 pixels.
    assert weights(20, 40)[20][8:12] == pytest.approx(
        [-0.0234375, 0.2265625, 0.8671875, -0.0703125]
    )


def test_edges_are_mirrored() -> None:
    # The first output lies between pixels 0 and 1; what reaches over the edge falls back on 0..2.
    row = weights(40, 20)[0]
    assert row[:5] == pytest.approx(
        [0.43359375 + 0.11328125, 0.43359375 - 0.03515625, 0.11328125 - 0.01171875,
         -0.03515625, -0.01171875]
    )  # fmt: skip


@pytest.mark.parametrize(("inputs", "outputs"), [(36, 18), (36, 12), (36, 9), (9, 36), (12, 36)])
def test_a_row_comes_out_as_the_algorithm_says(inputs: int, outputs: int) -> None:
    values = texture(1, inputs, sigma=0.6)[0].tolist()
    picture = np.array([values] * inputs, np.uint8)
    seen = imresize(picture, height=outputs, width=outputs)
    assert seen[outputs // 2].tolist() == row_by_loops(values, outputs)
    assert np.array_equal(imresize(picture.T.copy(), height=outputs, width=outputs), seen.T)


def test_overshoot_is_clipped_and_colours_stay_apart() -> None:
    picture = np.zeros((16, 16, 3), np.uint8)
    picture[:, 8:, 1] = 255
    seen = imresize(picture, height=32, width=32)
    assert seen[..., 1].min() == 0
    assert seen[..., 1].max() == 255
    assert not seen[..., (0, 2)].any()


@pytest.mark.parametrize(
    ("rgb", "y"),
    [
        ((0, 0, 0), 16),
        ((255, 255, 255), 235),
        ((255, 0, 0), 81),
        ((0, 255, 0), 145),
        ((0, 0, 255), 41),
    ],
)
def test_luma_is_bt601_in_limited_range(rgb: tuple[int, int, int], y: int) -> None:
    assert luma(np.full((2, 2, 3), rgb, np.uint8)).tolist() == [[y, y], [y, y]]


def test_a_grey_picture_keeps_its_codes() -> None:
    grey = texture(32, 32)
    assert np.array_equal(luma(grey), grey)
    assert np.unique(to_planes(grey)[1]).tolist() == [128]


def test_smooth_colours_survive_the_way_through_planes_and_back() -> None:
    rows, columns = np.mgrid[0:64, 0:64]
    ramp = np.stack([rows * 3 + 30, columns * 3 + 20, 250 - rows - columns], -1).astype(np.uint8)
    error = np.abs(to_rgb(to_planes(ramp)).astype(int) - ramp)
    assert error.mean() < 1.5
    assert error.max() < 8


def test_odd_sides_are_made_even_by_repeating_the_edge() -> None:
    y, u, _ = to_planes(coloured(33, 35))
    assert (y.shape, u.shape) == ((34, 36), (17, 18))
    assert np.array_equal(y[32], y[33])
    assert np.array_equal(y[:, 34], y[:, 35])
