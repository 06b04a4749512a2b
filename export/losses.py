"""What training minimises: luma and chroma distance plus a small one in frequency."""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-3


def charbonnier(error: Tensor) -> Tensor:
    """Mean of sqrt(error^2 + epsilon^2): an L1 norm that is smooth at zero."""
    mean: Tensor = torch.sqrt(error * error + EPSILON * EPSILON).mean()
    return mean


def spectral(error: Tensor) -> Tensor:
    """Mean magnitude of the error's spectrum; by linearity that of the difference of spectra."""
    mean: Tensor = torch.fft.rfft2(error, norm="ortho").abs().mean()
    return mean


def share_left(error: Tensor, target: Tensor, *, floor: float) -> Tensor:
    """Mean over pictures of the squared error as a share of that of a residual of nothing.

    ``target`` is the residual wanted, so its square is the error without the network; the square
    of ``floor`` is added to it. Where only a few hundredths of an error can be foretold, a distance
    like L1's has its optimum at no change at all.
    """
    axes = (1, 2, 3)
    before = (target * target).mean(dim=axes) + floor * floor
    mean: Tensor = ((error * error).mean(dim=axes) / before).mean()
    return mean


def reconstruction_loss(
    luma_error: Tensor, chroma_error: Tensor, *, chroma_weight: float, spectral_weight: float
) -> Tensor:
    """The training loss of super-resolution; errors are in normalised units."""
    loss = charbonnier(luma_error) + chroma_weight * charbonnier(chroma_error)
    if spectral_weight:
        loss = loss + spectral_weight * spectral(luma_error)
    return loss
