"""Super-resolution of YUV 4:2:0: a stack of 3x3 convolutions at half resolution."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.networks.base import Network
from export.networks.rep_conv import RepConv

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


class SuperResolution(Network):
    """Residual over the plain bicubic upscale, in normalised units.

    Takes (N, 6, H/2, W/2) as ``pack`` gives it; gives (N, 6*scale*scale, H/2, W/2) for ``unpack``.
    ReLU only: ONNX Runtime fuses it into the convolution, which it does not do with PReLU. The
    long skip (SESR) adds the first layer's result to the last hidden one's: a stack of more than
    four layers tends to die in its first thousand steps without it.
    """

    def __init__(
        self, *, scale: int, channels: int, depth: int, expansion: int, long_skip: bool = False
    ) -> None:
        super().__init__()
        self.scale, self.channels, self.depth = scale, channels, depth
        self.long_skip = long_skip
        self.head = RepConv(PACKED_CHANNELS, channels, expansion=expansion)
        self.body = nn.ModuleList(
            RepConv(channels, channels, expansion=expansion, gain=0.5) for _ in range(depth)
        )
        # A small last layer starts the result at the plain upscale.
        outputs = PACKED_CHANNELS * scale**2
        self.tail = RepConv(channels, outputs, expansion=expansion, gain=0.005, may_keep=False)

    def forward(self, packed: Tensor) -> Tensor:
        x = first = functional.relu(self.head(packed))
        for layer in self.body:
            x = functional.relu(layer(x))
        residual: Tensor = self.tail(x + first if self.long_skip else x)
        return residual

    @torch.no_grad()
    def fused(self) -> FusedSuperResolution:
        """The network as it is exported: plain convolutions, residual in 8-bit code values."""
        hidden = [self.head.fused()]
        hidden += [layer.fused() for layer in self.body if isinstance(layer, RepConv)]
        tail = self.tail.fused()
        gain = output_gain(self.scale)
        tail.weight.mul_(gain[:, None, None, None])
        if tail.bias is not None:
            tail.bias.mul_(gain)
        layers = itertools.chain.from_iterable((layer, nn.ReLU()) for layer in hidden)
        return FusedSuperResolution(*layers, tail, long_skip=self.long_skip).eval()


class FusedSuperResolution(nn.Sequential):
    """Plain convolutions and ReLUs in a row, with or without the long skip."""

    def __init__(self, *layers: nn.Module, long_skip: bool) -> None:
        super().__init__(*layers)
        self.long_skip = long_skip

    def forward(self, packed: Tensor) -> Tensor:
        head, activation, *body, tail = self
        x = first = activation(head(packed))
        for layer in body:
            x = layer(x)
        residual: Tensor = tail(x + first if self.long_skip else x)
        return residual
