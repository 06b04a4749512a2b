"""What interpolation and prediction minimise: distance of the made picture from the wanted one."""

from __future__ import annotations

from functools import lru_cache

import cv2
import torch
from torch import Tensor
from torch.nn import functional

from export.motion_compose import Compose
from export.networks.motion import Motion
from streamer.ops.motion import BLUR_SIGMA, BLUR_SIZE

EDGE = 8
"""Luma pixels at each side that no loss looks at: what moves in from outside was never seen."""

FLOOR = 0.1
"""Squared code values of error below which a picture counts less: rounding alone gives as much."""

DULL = 1.0
"""Of lost sharpness: one per cent must gain 0.04 dB. Without, a clip of foliage lost a fifth for 0.11."""

WORSE = 2.0
"""How much more it counts where a picture is worse than before: what is made must not be spoilt."""


def warp(picture: Tensor, flow: Tensor) -> Tensor:
    """``picture`` (N, C, H, W) looked up bicubically where ``flow`` (N, 2, H, W) points, in pixels."""
    height, width = picture.shape[-2:]
    columns, rows = _grid(height, width, picture.device)
    across = (columns + flow[:, 0]) * (2 / (width - 1)) - 1
    down = (rows + flow[:, 1]) * (2 / (height - 1)) - 1
    places = torch.stack([across, down], dim=-1)
    looked_up: Tensor = functional.grid_sample(
        picture, places, mode="bicubic", padding_mode="border", align_corners=True
    )
    return looked_up


@lru_cache(maxsize=8)
def _grid(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    rows, columns = torch.meshgrid(
        torch.arange(height, dtype=torch.float32, device=device),
        torch.arange(width, dtype=torch.float32, device=device),
        indexing="ij",
    )
    return columns, rows


def compose(made: Motion, first: Tensor, second: Tensor) -> Tensor:
    """The made picture (N, 1, H, W) from pictures four times as large as the network's grid."""
    if first.device.type == "cpu":
        picture: Tensor = Compose.apply(*made, first, second)  # type: ignore[no-untyped-call]
        return picture
    return composed_anywhere(made, first, second)


def composed_anywhere(made: Motion, first: Tensor, second: Tensor) -> Tensor:
    """What ``compose`` gives, on any device."""
    flow, share = 4.0 * _enlarged(made.flow), _enlarged(made.mask)
    left, right = warp(first, flow[:, :2]), warp(second, flow[:, 2:])
    picture = right + share * (left - right)
    edged = functional.pad(picture, (2, 2, 2, 2), mode="replicate")
    soft = functional.conv2d(edged, _blur(picture.device))
    return picture + _enlarged(made.softness) * (soft - picture)


@lru_cache(maxsize=8)
def _blur(device: torch.device) -> Tensor:
    """The Gaussian of ``ops.motion``, (1, 1, 5, 5)."""
    line = torch.from_numpy(cv2.getGaussianKernel(BLUR_SIZE, BLUR_SIGMA)).float().to(device)
    return (line @ line.T)[None, None]


def _enlarged(values: Tensor) -> Tensor:
    large: Tensor = functional.interpolate(values, scale_factor=4.0, mode="bilinear")
    return large


def gain_loss(made: Tensor, before: Tensor, wanted: Tensor) -> Tensor:
    """How much worse a made picture is than another one, by the logarithm of each picture's mean
    squared error, as PSNR measures it: halving an error is worth the same in every picture.

    All (N, 1, H, W) code values; edges are cut. What is worse counts ``1 + WORSE`` times. A picture
    that is duller than both others pays for it: blurring what is uncertain always gains PSNR.
    """
    gained = _log_error(made, wanted) - _log_error(before, wanted).detach()
    least = torch.minimum(_log_sharpness(before), _log_sharpness(wanted)).detach()
    dulled = functional.relu(least - _log_sharpness(made))
    loss: Tensor = (gained + WORSE * functional.relu(gained) + DULL * dulled).mean()
    return loss


def _log_sharpness(picture: Tensor) -> Tensor:
    """Of the mean difference of a pixel from those around it."""
    inner = picture[:, :, EDGE:-EDGE, EDGE:-EDGE]
    around = inner[:, :, 1:-1, :-2] + inner[:, :, 1:-1, 2:]
    around = around + inner[:, :, :-2, 1:-1] + inner[:, :, 2:, 1:-1]
    apart = (4 * inner[:, :, 1:-1, 1:-1] - around).abs()
    return torch.log(apart.mean(dim=(1, 2, 3)) + FLOOR)


def _log_error(picture: Tensor, wanted: Tensor) -> Tensor:
    inner = (picture - wanted)[:, :, EDGE:-EDGE, EDGE:-EDGE]
    return torch.log((inner * inner).mean(dim=(1, 2, 3)) + FLOOR)
