"""Super-resolution of YUV 4:2:0: a stack of 3x3 convolutions at half resolution."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.networks.base import Network
from export.networks.rep_conv import RepConv, plain_convolution

LUMA_OFFSET, LUMA_GAIN = 16.0, 219.0
CHROMA_OFFSET, CHROMA_GAIN = 128.0, 224.0

PACKED_CHANNELS = 6
"""Four phases of luma, U, V."""


def pack(y: Tensor, uv: Tensor) -> Tensor:
    """The network's input from 8-bit code values.

    ``y`` is (N, 1, H, W), ``uv`` (N, 2, H/2, W/2), any dtype, 0..255; the result is
    (N, 6, H/2, W/2) float32, luma nominally 0..1 and chroma -0.5..0.5.
    """
    luma = (y.float() - LUMA_OFFSET) / LUMA_GAIN
    chroma = (uv.float() - CHROMA_OFFSET) / CHROMA_GAIN
    return torch.cat([functional.pixel_unshuffle(luma, 2), chroma], dim=1)


def unpack(packed: Tensor, *, scale: int) -> tuple[Tensor, Tensor]:
    """Luma (N, 1, scale*H, scale*W) and chroma (N, 2, scale*H/2, scale*W/2) of an output.

    ``packed`` is (N, 6*scale*scale, H/2, W/2); values and units pass through unchanged.
    """
    phases = (2 * scale) ** 2
    luma = functional.pixel_shuffle(packed[:, :phases], 2 * scale)
    chroma = functional.pixel_shuffle(packed[:, phases:], scale)
    return luma, chroma


def output_gain(scale: int) -> Tensor:
    """What turns each output channel from normalised units into 8-bit code values."""
    luma = torch.full(((2 * scale) ** 2,), LUMA_GAIN)
    return torch.cat([luma, torch.full((2 * scale**2,), CHROMA_GAIN)])


CONTRAST = 16.0
"""A difference between neighbours, 0.01 where a codec has been, is as much as a picture's brightness
by this."""


class EdgedHead(nn.Module):
    """A first layer that sees contrast. Edges are repeated: beside zeros every border would be one."""

    def __init__(self, inputs: int, outputs: int, *, expansion: int) -> None:
        super().__init__()
        self.layer = RepConv(inputs, outputs, expansion=expansion)

    @property
    def bias(self) -> Tensor:
        """(outputs,), of the convolution by ``kernel()``."""
        return self.layer.bias

    @abstractmethod
    def kernel(self) -> Tensor:
        """(outputs, inputs, 3, 3), to be applied to packed pictures as they are."""

    def forward(self, packed: Tensor) -> Tensor:
        edged = functional.pad(packed, (1, 1, 1, 1), mode="replicate")
        return functional.conv2d(edged, self.kernel(), self.bias)

    def fused(self) -> nn.Conv2d:
        """One plain convolution with this layer's present weights."""
        return plain_convolution(self.kernel(), self.bias, edges="replicate")


class ContrastHead(EdgedHead):
    """A first layer whose every kernel sums to nothing, over luma and over either chroma.

    What a codec did shows in differences of a few code values. Beside brightness, which is a
    hundred times as large, a ReLU does not tell them apart: without this, x1 learns nothing.
    """

    def __init__(self, outputs: int, *, expansion: int) -> None:
        super().__init__(PACKED_CHANNELS, outputs, expansion=expansion)

    def kernel(self) -> Tensor:
        parts = torch.split(self.layer.kernel(), [4, 1, 1], dim=1)
        means = [part.mean(dim=(1, 2, 3), keepdim=True) for part in parts]
        free = [part - mean for part, mean in zip(parts, means, strict=True)]
        return CONTRAST * torch.cat(free, dim=1)

    def take(self, kernel: Tensor, bias: Tensor) -> None:
        """Makes ``kernel()`` this one, which sums to nothing as its own do."""
        self.layer.take(kernel / CONTRAST, bias)


class SuperResolution(Network):
    """Residual over the plain bicubic upscale, in normalised units.

    Takes (N, 6, H/2, W/2) as ``pack`` gives it; gives (N, 6*scale*scale, H/2, W/2) for ``unpack``.
    ReLU only: ONNX Runtime fuses it into the convolution, which it does not do with PReLU. The
    long skip (SESR) adds the first layer's result to the last hidden one's: a stack of more than
    four layers tends to die in its first thousand steps without it.
    """

    def __init__(
        self,
        *,
        scale: int,
        channels: int,
        depth: int,
        expansion: int,
        long_skip: bool = False,
        sees_contrast: bool = False,
        residual_gain: float = 1.0,
        residual_limit: float = 0.0,
    ) -> None:
        super().__init__()
        self.scale, self.channels, self.depth = scale, channels, depth
        self.long_skip, self.residual_gain = long_skip, residual_gain
        # Of the fused network, which is judged and exported; beyond it nothing would be learnt.
        self.residual_limit = residual_limit
        self.head = (
            ContrastHead(channels, expansion=expansion)
            if sees_contrast
            else RepConv(PACKED_CHANNELS, channels, expansion=expansion)
        )
        self.body = nn.ModuleList(
            RepConv(channels, channels, expansion=expansion, gain=0.5) for _ in range(depth)
        )
        # A small last layer starts the result at the plain upscale.
        outputs = PACKED_CHANNELS * scale**2
        gain = min(0.2, 0.005 / residual_gain)
        self.tail = RepConv(channels, outputs, expansion=expansion, gain=gain, may_keep=False)

    def forward(self, packed: Tensor) -> Tensor:
        # Code values have as many digits as bfloat16 holds: what a codec did would be rounded away.
        with torch.autocast(packed.device.type, enabled=False):
            first = functional.relu(self.head(packed))
        x = first
        for layer in self.body:
            x = functional.relu(layer(x))
        residual: Tensor = self.tail(x + first if self.long_skip else x)
        return self.residual_gain * residual

    @torch.no_grad()
    def fused(self) -> FusedSuperResolution:
        """The network as it is exported: plain convolutions, residual in 8-bit code values."""
        hidden = [self.head.fused()]
        hidden += [layer.fused() for layer in self.body if isinstance(layer, RepConv)]
        tail = self.tail.fused()
        gain = self.residual_gain * output_gain(self.scale)
        tail.weight.mul_(gain[:, None, None, None])
        if tail.bias is not None:
            tail.bias.mul_(gain)
        layers = itertools.chain.from_iterable((layer, nn.ReLU()) for layer in hidden)
        return FusedSuperResolution(
            *layers, tail, long_skip=self.long_skip, residual_limit=self.residual_limit
        ).eval()

    @torch.no_grad()
    def take(self, fused: FusedSuperResolution) -> None:
        """Becomes the network that gives this one when it is fused."""
        gain = self.residual_gain * output_gain(self.scale)
        *hidden, tail = (layer for layer in fused if isinstance(layer, nn.Conv2d))
        for layer, plain in zip((self.head, *self.body), hidden, strict=True):
            assert isinstance(layer, RepConv | ContrastHead)
            layer.take(plain.weight, cast(Tensor, plain.bias))
        self.tail.take(tail.weight / gain[:, None, None, None], cast(Tensor, tail.bias) / gain)


class FusedSuperResolution(nn.Sequential):
    """Plain convolutions and ReLUs in a row, with or without the long skip.

    The result is cut at ``residual_limit`` code values up and down; 0 leaves it.
    """

    def __init__(self, *layers: nn.Module, long_skip: bool, residual_limit: float) -> None:
        super().__init__(*layers)
        self.long_skip, self.residual_limit = long_skip, residual_limit

    def forward(self, packed: Tensor) -> Tensor:
        head, activation, *body, tail = self
        x = first = activation(head(packed))
        for layer in body:
            x = layer(x)
        residual: Tensor = tail(x + first if self.long_skip else x)
        if self.residual_limit:
            return residual.clamp(-self.residual_limit, self.residual_limit)
        return residual
