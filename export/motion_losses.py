"""What interpolation and prediction minimise: distance of the made picture, and of its flow."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import torch
from torch import Tensor
from torch.nn import functional

from export.networks.motion import Motion
from streamer.ops.motion import BLUR_SIGMA, BLUR_SIZE

EDGE = 2
"""Cells of eight luma pixels at each side that no loss looks at: what moves in from outside was
never seen."""

FLOOR = 0.1
"""Squared code values of error below which a picture counts less: rounding alone gives as much."""

MEAN_OF_ROOT = 0.8
"""Mean absolute error as a share of the root of the mean squared one, where errors are Gaussian."""

CONFIDENCE_DROP = 24.0
"""A luma error of 1/24 (11 code values) makes a confidence of 1/e."""


def warp(picture: Tensor, flow: Tensor) -> Tensor:
    """``picture`` (N, C, H, W) looked up bilinearly where ``flow`` (N, 2, H, W) points, in pixels."""
    height, width = picture.shape[-2:]
    columns, rows = _grid(height, width)
    across = (columns + flow[:, 0]) * (2 / (width - 1)) - 1
    down = (rows + flow[:, 1]) * (2 / (height - 1)) - 1
    places = torch.stack([across, down], dim=-1)
    looked_up: Tensor = functional.grid_sample(
        picture, places, padding_mode="border", align_corners=True
    )
    return looked_up


@lru_cache(maxsize=8)
def _grid(height: int, width: int) -> tuple[Tensor, Tensor]:
    rows, columns = torch.meshgrid(
        torch.arange(height, dtype=torch.float32),
        torch.arange(width, dtype=torch.float32),
        indexing="ij",
    )
    return columns, rows


def compose(made: Motion, first: Tensor, second: Tensor) -> Tensor:
    """The made picture (N, 1, H, W) from pictures four times as large as the network's grid."""
    flow, share = 4.0 * _enlarged(made.flow), _enlarged(made.mask)
    left, right = warp(first, flow[:, :2]), warp(second, flow[:, 2:])
    picture = right + share * (left - right)
    soft = functional.conv2d(functional.pad(picture, (2, 2, 2, 2), mode="replicate"), _blur())
    return picture + _enlarged(made.softness) * (soft - picture) + _enlarged(made.residual)


@lru_cache(maxsize=1)
def _blur() -> Tensor:
    """The Gaussian of ``ops.motion``, (1, 1, 5, 5)."""
    line = torch.from_numpy(cv2.getGaussianKernel(BLUR_SIZE, BLUR_SIGMA)).float()
    return (line @ line.T)[None, None]


def _enlarged(values: Tensor) -> Tensor:
    large: Tensor = functional.interpolate(values, scale_factor=4.0, mode="bilinear")
    return large


def error_loss(error: Tensor, rivals: Sequence[Tensor]) -> Tensor:
    """Of (N, 1, h, w) squared errors, code values, the logarithm of each picture's mean, as PSNR
    measures it; edges cut. What is worse than the best of the rivals counts twice."""
    beaten = torch.stack([_log_mean(rival) for rival in rivals]).amin(dim=0).detach()
    gained = _log_mean(error) - beaten
    loss: Tensor = (gained + functional.relu(gained)).mean()
    return loss


def _log_mean(error: Tensor) -> Tensor:
    inner = error[:, :, EDGE:-EDGE, EDGE:-EDGE]
    return torch.log(inner.mean(dim=(1, 2, 3)) + FLOOR)


def confidence_loss(confidence: Tensor, error: Tensor) -> Tensor:
    """Distance of the confidence (N, 1, 2h, 2w) from what the squared error (N, 1, h, w), code
    values, says it should be; edges cut."""
    seen = torch.sqrt(error.detach().clamp(min=0.0)) * (MEAN_OF_ROOT / 255)
    distance = (functional.avg_pool2d(confidence, 2) - torch.exp(-CONFIDENCE_DROP * seen)).abs()
    loss: Tensor = distance[:, :, EDGE:-EDGE, EDGE:-EDGE].mean()
    return loss
