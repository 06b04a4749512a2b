"""What made frames are learnt by: each loss is least where the result is right."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from export.motion_losses import EDGE, WORSE, compose, composed_anywhere, gain_loss, warp
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


Composing = Callable[[Motion, Tensor, Tensor], Tensor]

BOTH = pytest.mark.parametrize("composing", [compose, composed_anywhere])


def motion(*flow: float, mask: float = 1.0, softness: float = 0.0) -> Motion:
    values = torch.tensor(flow).reshape(1, 4, 1, 1).expand(1, 4, *GRID)
    rest = (torch.full((1, 1, *GRID), value) for value in (mask, softness))
    return Motion(values.clone(), *rest)


def test_a_warp_is_opencvs_bicubic_look_up() -> None:
    numbers = np.random.default_rng(0)
    height, width = 37, 52
    picture = numbers.random((height, width), np.float32)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    # Whole 32nds of a pixel: OpenCV knows no finer ones.
    across = np.rint(numbers.uniform(0, width - 1, picture.shape) * 32) / 32
    down = np.rint(numbers.uniform(0, height - 1, picture.shape) * 32) / 32
    across, down = across.astype(np.float32), down.astype(np.float32)
    expected = cv2.remap(picture, across, down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    flow = torch.from_numpy(np.stack([across - columns, down - rows]))[None]
    seen = warp(torch.from_numpy(picture)[None, None], flow)[0, 0].numpy()
    assert np.abs(expected - picture).max() > 0.5
    assert np.allclose(seen, expected, atol=1e-4)


@BOTH
def test_softness_blurs_as_the_host_does(composing: Composing) -> None:
    height, width = 4 * GRID[0], 4 * GRID[1]
    picture = luma(height=height, width=width)
    soft = composing(motion(0.0, 0.0, 0.0, 0.0, softness=1.0), picture, picture)[0, 0].numpy()
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


@BOTH
def test_the_made_picture_is_both_warped_and_mixed(composing: Composing) -> None:
    height, width = 4 * GRID[0], 4 * GRID[1]
    wanted = luma(height=height, width=width)
    # A look-up at +8, -4 finds the wanted pixel in what was moved by as much.
    first = luma(height=height, width=width, moved=(4 * SHIFT[0], 4 * SHIFT[1]))
    second = luma(height=height, width=width, moved=(-4 * SHIFT[0], 0.0)) + 0.1
    flow = (*SHIFT, -SHIFT[0], 0.0)
    for mask, added in ((1.0, 0.0), (0.0, 0.1), (0.5, 0.05)):
        seen = composing(motion(*flow, mask=mask), first, second)
        error = (seen - wanted - added)[..., 12:-12, 12:-12]
        assert error.abs().max() < 0.01
    assert (first - wanted).abs().mean() > 0.03


def drawn(seed: int) -> tuple[Motion, Tensor, Tensor, Tensor]:
    """A guide that differs from cell to cell, two pictures, and the gradient of the made one."""
    numbers = torch.Generator().manual_seed(seed)
    flow = torch.randn(2, 4, *GRID, generator=numbers)
    mask, softness = (torch.rand(2, 1, *GRID, generator=numbers) for _ in range(2))
    height, width = 4 * GRID[0], 4 * GRID[1]
    first, second = (
        torch.cat([luma(height=height, width=width, moved=(move, at)) for at in (0.0, 1.3)])
        for move in (0.0, 7.5)
    )
    gradient = torch.randn(2, 1, height, width, generator=numbers)
    return Motion(flow, mask, softness), first, second, gradient


def test_on_a_processor_picture_and_derivatives_are_the_same() -> None:
    guide, first, second, gradient = drawn(seed=3)
    pictures, slopes = [], []
    for composing in (compose, composed_anywhere):
        parts = Motion(*(part.clone().requires_grad_() for part in guide))
        picture = composing(parts, first, second)
        (picture * gradient).sum().backward()  # type: ignore[no-untyped-call]
        pictures.append(picture.detach())
        slopes.append([part.grad for part in parts])
    assert (pictures[0] - pictures[1])[..., 8:-8, 8:-8].abs().max() < 1e-3
    for one, other, least in zip(*slopes, (0.97, 0.999, 0.999), strict=True):
        assert one is not None
        assert other is not None
        # Edges repeat beyond the picture, which the faster way leaves out.
        pair = torch.stack([grad[..., 2:-2, 2:-2].flatten() for grad in (one, other)])
        assert torch.corrcoef(pair)[0, 1] > least
        sizes = pair.norm(dim=1)
        assert sizes[0] == pytest.approx(float(sizes[1]), rel=0.1)


def pictures_off(*means: float) -> Tensor:
    """For each mean a picture whose squared error against nothing has about that mean."""
    uneven = 0.5 + torch.rand(len(means), 1, 40, 40, generator=torch.Generator().manual_seed(0))
    return uneven * torch.tensor(means).reshape(-1, 1, 1, 1).sqrt()


def test_halving_an_error_is_worth_the_same_in_every_picture() -> None:
    before = pictures_off(20.0, 2000.0)
    wanted = torch.zeros_like(before)
    losses = [
        float(gain_loss(before * torch.tensor(shares).reshape(2, 1, 1, 1).sqrt(), before, wanted))
        for shares in ((0.5, 1.0), (1.0, 0.5))
    ]
    assert losses[0] == pytest.approx(losses[1], rel=0.01)
    assert losses[0] == pytest.approx(0.5 * math.log(0.5), rel=0.01)


def test_what_is_worse_than_before_costs_more() -> None:
    before = pictures_off(50.0)
    wanted = torch.zeros_like(before)
    better, same, worse = (
        float(gain_loss(math.sqrt(share) * before, before, wanted)) for share in (0.8, 1.0, 1.25)
    )
    assert same == pytest.approx(0.0, abs=1e-6)
    assert worse == pytest.approx(-(1 + WORSE) * better, rel=0.01)


def test_the_edges_do_not_count() -> None:
    before = pictures_off(50.0)
    wanted = torch.zeros_like(before)
    made = before.clone()
    made[..., :EDGE, :] = made[..., -EDGE:, :] = made[..., :EDGE] = made[..., -EDGE:] = 1e4
    assert gain_loss(made, before, wanted) == gain_loss(before, before, wanted)


def test_a_picture_that_is_duller_pays_for_it() -> None:
    wanted = 255 * luma(height=96, width=128)
    grain = 8 * torch.randn(1, 1, 96, 128, generator=torch.Generator().manual_seed(1))
    blurred = torch.from_numpy(cv2.GaussianBlur(wanted[0, 0].numpy(), (0, 0), 0.8))[None, None]
    error = torch.full_like(wanted, 3.0)
    # As far off in the mean, one of them by being blurred.
    size = float(((blurred - wanted)[..., EDGE:-EDGE, EDGE:-EDGE] ** 2).mean().sqrt())
    sharp = wanted + size / 3 * error
    assert float(gain_loss(sharp, sharp, wanted)) == pytest.approx(0.0, abs=1e-6)
    assert float(gain_loss(blurred, sharp, wanted)) > 0.05
    # What was only grain may go.
    assert gain_loss(wanted, wanted + grain, wanted) < -1
