"""The losses of super-resolution say what they claim."""

from __future__ import annotations

import pytest
import torch

from export.losses import share_left


def test_the_share_left_is_that_of_the_squared_error_in_each_picture() -> None:
    target = torch.stack([torch.full((1, 4, 4), 3.0), torch.full((1, 4, 4), 0.1)])
    # Nothing done to the first, half of it undone in the second.
    error = torch.stack([target[0], 0.5 * target[1]])
    assert share_left(error, target, floor=0.0).item() == pytest.approx((1.0 + 0.25) / 2)


def test_an_undamaged_picture_counts_by_the_floor() -> None:
    nothing = torch.zeros(1, 1, 4, 4)
    assert share_left(nothing, nothing, floor=2.0).item() == 0.0
    assert share_left(nothing + 1.0, nothing, floor=2.0).item() == pytest.approx(0.25)


def test_its_optimum_is_the_mean_of_what_cannot_be_told_apart() -> None:
    # One pixel of four needs a correction of 4 and looks like the others: L1 would give 0.
    target = torch.tensor([4.0, 0.0, 0.0, 0.0]).reshape(1, 1, 2, 2)
    given = torch.zeros((), requires_grad=True)
    share_left(given - target, target, floor=1.0).backward()  # type: ignore[no-untyped-call]
    assert given.grad is not None
    assert given.grad.item() < 0
    losses = [share_left(value - target, target, floor=1.0).item() for value in (0.9, 1.0, 1.1)]
    assert min(losses) == losses[1]
