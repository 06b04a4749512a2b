"""What interpolation and prediction minimise: distance of the made picture, and of its flow."""

from __future__ import annotations

from functools import lru_cache

import cv2
import torch
from torch import Tensor
from torch.nn import functional

from export.networks.motion import Motion
from streamer.ops.motion import BLUR_SIGMA, BLUR_SIZE

LEVELS = 4
"""Of the Laplacian pyramid; the coarsest is what is left at an eighth."""

EDGE = 16
"""Luma pixels at each side that no loss looks at: what moves in from outside was never seen."""

FLOOR = 1 / 255
"""Mean error below which a picture counts less: there noise decides."""

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


def picture_loss(error: Tensor, *, pyramid_weight: float) -> Tensor:
    """Charbonnier and L1 of a Laplacian pyramid whose levels count by their size; edges cut.

    Each picture's loss is divided by its own error, or the few with the largest motion would
    drown the others; what is left follows the logarithm of the error, as PSNR does.
    """
    inner = error[:, :, EDGE:-EDGE, EDGE:-EDGE]
    plain = torch.sqrt(inner * inner + 1e-6).mean(dim=(1, 2, 3))
    loss, rest = plain, inner
    for level in range(LEVELS - 1):
        small = functional.avg_pool2d(rest, 2)
        band = rest - functional.interpolate(small, size=rest.shape[-2:], mode="bilinear")
        loss = loss + pyramid_weight * 2**level * band.abs().mean(dim=(1, 2, 3))
        rest = small
    loss = loss + pyramid_weight * 2 ** (LEVELS - 1) * rest.abs().mean(dim=(1, 2, 3))
    mean: Tensor = (loss / (plain.detach() + FLOOR)).mean()
    return mean


def flow_loss(made: Motion, known: Tensor, ends: Tensor, wanted: Tensor) -> Tensor:
    """Distance to flow found with the wanted picture at hand, where that explains it better.

    ``known`` (N, 4, h, w) like ``made.flow``; ``ends`` (N, 2, h, w) both pictures as they are and
    ``wanted`` (N, 1, h, w) at the network's grid, luma / 255. Source: the privileged distillation
    of RIFE (Huang et al. 2022), with optical flow in the place of its teacher.
    """
    edge = EDGE // 4
    loss = torch.zeros(())
    for n in (0, 1):
        own, other = made.flow[:, 2 * n : 2 * n + 2], known[:, 2 * n : 2 * n + 2]
        end = ends[:, n : n + 1]
        with torch.no_grad():
            is_better = _error(end, other, wanted) < _error(end, own, wanted) - 1 / 255
        distance = torch.sqrt((own - other) ** 2 + 0.0025).mean(dim=1, keepdim=True)
        loss = loss + (distance * is_better)[:, :, edge:-edge, edge:-edge].mean()
    return loss


def _error(end: Tensor, flow: Tensor, wanted: Tensor) -> Tensor:
    return functional.avg_pool2d((warp(end, flow) - wanted).abs(), 3, stride=1, padding=1)


def confidence_loss(confidence: Tensor, error: Tensor) -> Tensor:
    """Distance of the confidence from what the picture's own error says it should be."""
    seen = functional.avg_pool2d(error.detach().abs(), 4)
    loss: Tensor = (confidence - torch.exp(-CONFIDENCE_DROP * seen)).abs().mean()
    return loss
