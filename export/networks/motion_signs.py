"""What tells where a guide is wrong, read by arithmetic: nothing here is learnt.

Nothing depends on brightness, place or direction, and on speed only by differences: what a network
learns of fifty clips must hold for others. A convolution learns slowly to compare two pictures;
given as channels, the comparison is there from the first step.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

SIGNS = 20 + 5 + 6 + 2 + 1 + 3 + 4 + 7
"""Mismatch in quarters of a cell (20), around it (5); how motions differ from the guide's and from each
other (6), from those around (2), divergence; mask, softness, time; detail (4); means over the picture
(7). A multiple of 16, which convolutions on processors take in half the time."""

LEAST_MISMATCH = 0.5 / 255
"""Mismatch counts by its logarithm, as noise or detail set its size; below this it is rounding."""

MOTION_SCALE = 2.0
"""Half a cell of the guide is where differences of motions begin to count by their logarithm."""


AGREEING, DOUBTFUL = 1.0 / 255, 2.0 / 255
"""Mismatch around a place up to which the guide is right, and from which it may be wrong. Without, a pan
of 49 dB lost 0.06, and the mean of eight clips gained 0.007 less."""


class Signs(NamedTuple):
    """At an eighth of the made picture's size, in cells of the guide, which has a quarter of it."""

    channels: Tensor
    """(N, SIGNS, h/2, w/2)."""
    told: tuple[Tensor, Tensor]
    """Motions by the forward and the backward flow, (N, 2, h/2, w/2)."""
    common: Tensor
    """That of the guide."""
    around: Tensor
    """The guide's mean over three by three."""
    doubt: Tensor
    """(N, 1, h/2, w/2) 0 where either flow's pictures agree, 1 where both differ."""


class SignReader(nn.Module):
    """From ``pictures`` (N, 6, 2h, 2w), ``motion`` (N, 5, h, w) and ``guide`` (N, 6, h, w)."""

    @torch.no_grad()
    def forward(self, pictures: Tensor, motion: Tensor, guide: Tensor) -> Signs:
        # By forward flow, backward flow and standing still; either picture by both flows.
        apart = torch.cat(
            [
                pictures[:, 1:2] - pictures[:, 0:1],
                pictures[:, 3:4] - pictures[:, 2:3],
                pictures[:, 5:6] - pictures[:, 4:5],
                pictures[:, 2:4] - pictures[:, 0:2],
            ],
            dim=1,
        )
        mismatch = functional.avg_pool2d(apart.abs(), 2)
        near = _logarithm(mismatch)
        wide = _mean_around(functional.avg_pool2d(mismatch, 2))
        cells, maps = functional.avg_pool2d(motion, 2), functional.avg_pool2d(guide, 2)
        common = maps[:, 2:4] - maps[:, 0:2]
        around = _mean_around(common)
        detail = self._detail(pictures, apart[:, 0:1])
        means = torch.cat([_mean(near), _mean(detail[:, :1]), _mean(maps[:, 5:6])], dim=1)
        told = cells[:, 0:2], cells[:, 2:4]
        channels = torch.cat(
            [
                # Four slices take a fifth of the time of pixel_unshuffle.
                *(near[:, :, down::2, across::2] for down in (0, 1) for across in (0, 1)),
                _logarithm(wide),
                *(_asinh(MOTION_SCALE * (part - common)) for part in told),
                _asinh(MOTION_SCALE * (told[0] - told[1])),
                _asinh(MOTION_SCALE * (common - around)),
                _asinh(MOTION_SCALE * _divergence(common)),
                maps[:, 4:6],
                cells[:, 4:5],
                detail,
                means.expand(-1, -1, *common.shape[2:]),
            ],
            dim=1,
        )
        least = torch.minimum(wide[:, 0:1], wide[:, 1:2])
        doubt = ((least - AGREEING) * (1.0 / (DOUBTFUL - AGREEING))).clamp(0.0, 1.0)
        return Signs(channels, told, common, around, doubt)

    def _detail(self, pictures: Tensor, apart: Tensor) -> Tensor:
        """(N, 4, h/2, w/2) of both pictures' mean, either picture and their difference."""
        first, second = pictures[:, 0:1], pictures[:, 1:2]
        seen = torch.cat([0.5 * (first + second), first, second, apart], dim=1)
        mean = functional.avg_pool2d(seen, 2)
        variance = functional.relu(functional.avg_pool2d(seen * seen, 2) - mean * mean)
        power = functional.avg_pool2d(variance, 2)
        return 0.25 * torch.log(power + LEAST_MISMATCH**2) + 2.0


def _logarithm(mismatch: Tensor) -> Tensor:
    return 0.5 * torch.log(mismatch + LEAST_MISMATCH) + 2.0


def _mean(x: Tensor) -> Tensor:
    return x.mean(dim=(2, 3), keepdim=True)


def _mean_around(x: Tensor) -> Tensor:
    edged = functional.pad(x, (1, 1, 1, 1), mode="replicate")
    return functional.avg_pool2d(edged, 3, 1)


def _divergence(flow: Tensor) -> Tensor:
    """Central differences; none at the edges."""
    across = flow[:, 0:1, :, 2:] - flow[:, 0:1, :, :-2]
    down = flow[:, 1:2, 2:] - flow[:, 1:2, :-2]
    return functional.pad(across, (1, 1, 0, 0)) + functional.pad(down, (0, 0, 1, 1))


def _asinh(x: Tensor) -> Tensor:
    # ONNX Runtime's own takes five times as long.
    size = x.abs()
    return x.sign() * torch.log(size + torch.sqrt(size * size + 1.0))
