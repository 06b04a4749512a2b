"""What made frames are learnt by: each loss is least where the result is right."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from export.motion_losses import (
    CONFIDENCE_DROP,
    MEAN_OF_ROOT,
    compose,
    confidence_loss,
    error_loss,
    warp,
)
from export.networks.motion import Motion
from streamer.ops.motion import BLUR_SIGMA, BLUR_SIZE
from tests.streamer.pictures import texture

GRID = (24, 32)
"""The network's; pictures are four times as large."""

SHIFT = (2.0, -1.0)
"""From the wanted picture into the first one, pixels of the grid."""


def luma(*, height: int, width: int, moved: tuple[float, float] = (0.0, 0.0)) -> Tensor:
    """(1, 1, height, width) float32, luma / 255."""
    picture = texture(width=width, height=height, moved=moved)
    return torch.from_numpy(picture)[None, None].float() / 255


def motion(*flow: float, mask: float = 1.0, residual: float = 0.0, softness: float = 0.0) -> Motion:
    values = torch.tensor(flow).reshape(1, 4, 1, 1).expand(1, 4, *GRID)
    rest = (torch.full((1, 1, *GRID), value) for value in (mask, residual, softness))
    return Motion(values.clone(), *rest)


def test_a_warp_is_opencvs_bilinear_look_up() -> None:
    numbers = np.random.default_rng(0)
    height, width = 37, 52
    picture = numbers.random((height, width), np.float32)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    # Whole 32nds of a pixel: OpenCV knows no finer ones.
    across = np.rint(numbers.uniform(0, width - 1, picture.shape) * 32) / 32
    down = np.rint(numbers.uniform(0, height - 1, picture.shape) * 32) / 32
    across, down = across.astype(np.float32), down.astype(np.float32)
    expected = cv2.remap(picture, across, down, cv2.INTER_LINEAR)
    flow = torch.from_numpy(np.stack([across - columns, down - rows]))[None]
    seen = warp(torch.from_numpy(picture)[None, None], flow)[0, 0].numpy()
    assert np.abs(expected - picture).max() > 0.5
    assert np.allclose(seen, expected, atol=1e-4)


def test_softness_blurs_as_the_host_does() -> None:
    height, width = 4 * GRID[0], 4 * GRID[1]
    picture = luma(height=height, width=width)
    soft = compose(motion(0.0, 0.0, 0.0, 0.0, softness=1.0), picture, picture)[0, 0].numpy()
    expected = cv2.GaussianBlur(
        picture[0, 0].numpy(),
        (BLUR_SIZE, BLUR_SIZE),
        BLUR_SIGMA,
        borderType=cv2.BORDER_REPLICATE,
    )
    assert np.abs(soft - expected).max() < 1e-4
    assert np.abs(soft - picture[0, 0].numpy()).max() > 0.02


def test_a_warp_repeats_the_border() -> None:
    picture = luma(height=8, width=10)
    far = torch.tensor([-50.0, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 8, 10)
    assert torch.allclose(warp(picture, far), picture[..., :1].expand_as(picture), atol=1e-5)


def test_the_made_picture_is_both_warped_mixed_and_corrected() -> None:
    height, width = 4 * GRID[0], 4 * GRID[1]
    wanted = luma(height=height, width=width)
    # A look-up at +8, -4 finds the wanted pixel in what was moved by as much.
    first = luma(height=height, width=width, moved=(4 * SHIFT[0], 4 * SHIFT[1]))
    second = luma(height=height, width=width, moved=(-4 * SHIFT[0], 0.0)) + 0.1
    flow = (*SHIFT, -SHIFT[0], 0.0)
    for mask, added in ((1.0, 0.0), (0.0, 0.1), (0.5, 0.05)):
        seen = compose(motion(*flow, mask=mask, residual=0.02), first, second)
        error = (seen - wanted - added - 0.02)[..., 12:-12, 12:-12]
        assert error.abs().max() < 0.01
    assert (first - wanted).abs().mean() > 0.03


@pytest.mark.parametrize("error", [0.0, 5.0, 50.0])
def test_confidence_is_best_where_it_says_what_the_error_is(error: float) -> None:
    errors = torch.full((1, 1, 8, 8), error**2, requires_grad=True)
    right = float(np.exp(-CONFIDENCE_DROP * MEAN_OF_ROOT * error / 255))
    guesses = torch.linspace(0, 1, 101)
    losses = [confidence_loss(torch.full((1, 1, 16, 16), float(c)), errors) for c in guesses]
    assert guesses[int(torch.stack(losses).argmin())] == pytest.approx(right, abs=0.0051)
    assert confidence_loss(torch.full((1, 1, 16, 16), right), errors) < 1e-5
    # A network does not learn to be wrong so that its doubt is right.
    assert not losses[0].requires_grad


def squared(*means: float) -> Tensor:
    """Squared errors of a picture for each mean, uneven within it."""
    uneven = torch.rand(len(means), 1, 12, 12, generator=torch.Generator().manual_seed(0)) + 0.5
    return torch.tensor(means).reshape(-1, 1, 1, 1) * uneven


def test_halving_an_error_is_worth_the_same_in_every_picture() -> None:
    before = squared(20.0, 2000.0)
    losses = [
        float(error_loss(before * torch.tensor(shares).reshape(2, 1, 1, 1), [before]))
        for shares in ((0.5, 1.0), (1.0, 0.5))
    ]
    assert losses[0] == pytest.approx(losses[1], rel=0.01)
    assert losses[0] == pytest.approx(0.5 * math.log(0.5), rel=0.01)


def test_what_is_worse_than_the_best_rival_costs_twice_as_much() -> None:
    rivals = [squared(50.0), squared(80.0)]
    better, same, worse = (
        float(error_loss(share * rivals[0], rivals)) for share in (0.8, 1.0, 1.25)
    )
    assert same == pytest.approx(0.0, abs=1e-6)
    assert worse == pytest.approx(-2 * better, rel=0.01)


def test_the_edges_do_not_count() -> None:
    rival = squared(50.0)
    error = rival.clone()
    error[..., :2, :] = error[..., -2:, :] = error[..., :2] = error[..., -2:] = 1e4
    assert error_loss(error, [rival]) == error_loss(rival, [rival])
    confidence = torch.zeros(1, 1, 24, 24)
    assert confidence_loss(confidence, error) == confidence_loss(confidence, rival)
