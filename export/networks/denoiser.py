"""Denoising over time: how much of the last cleaned picture to take, and what to add."""

from __future__ import annotations

import itertools
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.networks.base import Network
from export.networks.rep_conv import RepConv
from export.networks.super_resolution import (
    CONTRAST,
    PACKED_CHANNELS,
    EdgedHead,
    output_gain,
)

RESIDUAL_GAIN = 1 / CONTRAST
"""What one unit of the last layer adds."""

SHARE_STEPS = 255.0
"""Code values of an output that say "all of the last picture"."""

SHARE_ZERO = 128.0
"""What is taken off a share's code values, so that they lie around zero as a residual's do."""


class DifferenceHead(EdgedHead):
    """A first layer that sees the picture's own contrast and its difference from the one before.

    Both are of a few code values; beside brightness, a hundred times as large, a ReLU does not tell
    them apart. Of brightness, on which a sensor's noise depends, the mean is left as it is.
    """

    def __init__(self, outputs: int, *, expansion: int) -> None:
        super().__init__(2 * PACKED_CHANNELS, outputs, expansion=expansion)

    def kernel(self) -> Tensor:
        of_now, of_change = torch.split(self.layer.kernel(), PACKED_CHANNELS, dim=1)
        parts = torch.split(of_now, [4, 1, 1], dim=1)
        means = [part.mean(dim=(1, 2, 3), keepdim=True) for part in parts]
        contrast = torch.cat(
            [CONTRAST * (part - mean) + mean for part, mean in zip(parts, means, strict=True)],
            dim=1,
        )
        return torch.cat([contrast, CONTRAST * of_change], dim=1)


class Denoiser(Network):
    """Takes (N, 12, H/2, W/2): a packed picture, and by how much the last cleaned one, brought to where
    things are now, differs from it. Gives (N, 12, H/2, W/2): for each packed value which share of the
    difference is taken, and what is added then, in normalised units; ``cleaned`` is the arithmetic.
    """

    def __init__(self, *, channels: int, depth: int, expansion: int) -> None:
        super().__init__()
        self.channels, self.depth = channels, depth
        self.head = DifferenceHead(channels, expansion=expansion)
        self.body = nn.ModuleList(
            RepConv(channels, channels, expansion=expansion, gain=0.5) for _ in range(depth)
        )
        self.tail = RepConv(
            channels, 2 * PACKED_CHANNELS, expansion=expansion, gain=0.05, may_keep=False
        )
        # It starts as a mean of both: where a share is at its bound nothing is learnt.
        nn.init.constant_(self.tail.bias[:PACKED_CHANNELS], 0.5)

    def forward(self, packed: Tensor) -> Tensor:
        # Code values have as many digits as bfloat16 holds: what a codec did would be rounded away.
        with torch.autocast(packed.device.type, enabled=False):
            x = functional.relu(self.head(packed))
        for layer in self.body:
            x = functional.relu(layer(x))
        share, residual = torch.split(self.tail(x), PACKED_CHANNELS, dim=1)
        # One step of the optimizer is more than what is to be added.
        return torch.cat([share, RESIDUAL_GAIN * residual], dim=1)

    @torch.no_grad()
    def fused(self) -> FusedDenoiser:
        """The network as it is exported: plain convolutions, everything in 8-bit code values."""
        hidden = [self.head.fused()]
        hidden += [layer.fused() for layer in self.body if isinstance(layer, RepConv)]
        tail = self.tail.fused()
        bias = cast(Tensor, tail.bias)
        gain = torch.cat(
            [torch.full((PACKED_CHANNELS,), SHARE_STEPS), RESIDUAL_GAIN * output_gain(1)]
        )
        tail.weight.mul_(gain[:, None, None, None])
        bias.mul_(gain)
        bias[:PACKED_CHANNELS] -= SHARE_ZERO
        layers = itertools.chain.from_iterable((layer, nn.ReLU()) for layer in hidden)
        return FusedDenoiser(*layers, tail).eval()


class FusedDenoiser(nn.Sequential):
    """Plain convolutions and ReLUs in a row; what they give is bounded by what fits into a byte."""

    def forward(self, packed: Tensor) -> Tensor:
        for layer in self:
            packed = layer(packed)
        return packed.clamp(-SHARE_ZERO, SHARE_STEPS - SHARE_ZERO)


def cleaned(change: Tensor, packed: Tensor) -> Tensor:
    """(N, 6, H/2, W/2) of what ``Denoiser`` gives and what it was given."""
    now, difference = torch.split(packed, PACKED_CHANNELS, dim=1)
    share, residual = torch.split(change, PACKED_CHANNELS, dim=1)
    return now + share.clamp(0.0, 1.0) * difference + residual
