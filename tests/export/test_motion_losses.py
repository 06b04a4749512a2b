"""What made frames are learnt by: each loss is least where the result is right."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from export.motion_losses import (
    CONFIDENCE_DROP,
    compose,
    confidence_loss,
    flow_loss,
    picture_loss,
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


@pytest.fixture
def ends() -> tuple[Tensor, Tensor]:
    """Both pictures on the network's grid, and the wanted one."""
    height, width = GRID
    wanted = luma(height=height, width=width)
    sources = [
        luma(height=height, width=width, moved=(s * SHIFT[0], s * SHIFT[1])) for s in (1, -1)
    ]
    return torch.cat(sources, dim=1), wanted


TRUE = (*SHIFT, -SHIFT[0], -SHIFT[1])


def test_known_flow_that_is_no_better_is_not_followed(ends: tuple[Tensor, Tensor]) -> None:
    known = motion(1.0, 2.0, -3.0, 2.0).flow
    assert flow_loss(motion(*TRUE), known, *ends) == 0
    assert flow_loss(motion(*TRUE), motion(*TRUE).flow, *ends) == 0


def test_known_flow_that_is_better_draws_the_flow_to_it(ends: tuple[Tensor, Tensor]) -> None:
    made = motion(0.0, 0.0, 0.0, 0.0)
    made.flow.requires_grad_()
    loss = flow_loss(made, motion(*TRUE).flow, *ends)
    loss.backward()  # type: ignore[no-untyped-call]
    assert made.flow.grad is not None
    pull = -made.flow.grad.sum(dim=(0, 2, 3))
    assert torch.equal(torch.sign(pull), torch.sign(torch.tensor(TRUE)))
    nearer = flow_loss(motion(*(0.5 * value for value in TRUE)), motion(*TRUE).flow, *ends)
    assert 0 < nearer < loss


def test_each_flow_is_compared_with_its_own_picture(ends: tuple[Tensor, Tensor]) -> None:
    only_second_is_wrong = motion(*SHIFT, 0.0, 0.0)
    swapped = motion(-SHIFT[0], -SHIFT[1], *SHIFT).flow
    assert flow_loss(only_second_is_wrong, motion(*TRUE).flow, *ends) > 0
    assert flow_loss(motion(*TRUE), swapped, *ends) == 0


@pytest.mark.parametrize("error", [0.0, 0.02, 0.2])
def test_confidence_is_best_where_it_says_what_the_error_is(error: float) -> None:
    errors = torch.full((1, 1, 32, 32), error, requires_grad=True)
    right = float(np.exp(-CONFIDENCE_DROP * error))
    guesses = torch.linspace(0, 1, 101)
    losses = [confidence_loss(torch.full((1, 1, 8, 8), float(c)), errors) for c in guesses]
    assert guesses[int(torch.stack(losses).argmin())] == pytest.approx(right, abs=0.0051)
    assert confidence_loss(torch.full((1, 1, 8, 8), right), errors) < 1e-5
    # A network does not learn to be wrong so that its doubt is right.
    assert not losses[0].requires_grad


def test_confidence_falls_with_errors_of_either_sign() -> None:
    errors = torch.full((1, 1, 16, 16), 0.1)
    errors[..., ::2] *= -1
    doubtful, sure = (torch.full((1, 1, 4, 4), value) for value in (0.09, 1.0))
    assert confidence_loss(doubtful, errors) < 0.01 < confidence_loss(sure, errors)


def test_the_picture_loss_falls_as_the_error_shrinks() -> None:
    error = 0.1 * torch.randn(2, 1, 96, 96, generator=torch.Generator().manual_seed(0))
    losses = [picture_loss(share * error, pyramid_weight=0.25) for share in (1.0, 0.5, 0.2, 0.05)]
    assert losses == sorted(losses, reverse=True)
    error.requires_grad_()
    picture_loss(error, pyramid_weight=0.25).backward()  # type: ignore[no-untyped-call]
    assert error.grad is not None
    # Every step against the gradient makes the errors smaller.
    assert (error.grad * error).sum() > 0


def test_a_coarse_error_costs_more_than_a_fine_one_of_the_same_size() -> None:
    flat = torch.full((1, 1, 96, 96), 0.1)
    fine = flat.clone()
    fine[..., ::2] *= -1
    coarse_loss, fine_loss = (picture_loss(e, pyramid_weight=0.25) for e in (flat, fine))
    assert coarse_loss > 1.5 * fine_loss
    plain = [picture_loss(e, pyramid_weight=0.0) for e in (flat, fine)]
    assert plain[0] == pytest.approx(float(plain[1]))


def test_the_edges_do_not_count() -> None:
    error = torch.zeros(1, 1, 96, 96)
    error[..., :16, :] = error[..., -16:, :] = error[..., :16] = error[..., -16:] = 1.0
    assert picture_loss(error, pyramid_weight=0.25) == picture_loss(0 * error, pyramid_weight=0.25)
