"""Interpolation and prediction: what two pictures and their optical flow say of a third one.

DIS flow is found outside (``streamer.ops.motion``), the large pictures are warped outside. The
network sits between: from the small pictures, already brought to the wanted time by either flow,
it tells where which flow is right, corrects it, and says which picture to believe.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.networks.base import Network
from streamer.ops.motion import MOTIONS, PICTURES

SLOPE = 0.1
"""Of the leaky ReLU. With plain ones this network dies within a thousand steps and gives constants."""

CONTRAST = 4.0
"""What differs between the pictures to the convolutions' units; it is mostly under a quarter."""

FLOW_SCALE = 0.1
"""Pixels of the motions' grid to the convolutions' units: most motions are within 10."""

CORRECTION_SCALE = 1.0
"""Units of the last convolution to pixels."""

TEMPER = 128.0
"""Of the choice between motions: two code values of mismatch weigh as much as one unit."""

COST_WINDOW = 5
"""Mismatch is averaged over this many pixels of the motions' grid on each side."""

HEADS = 9
"""Two choices between motions, corrections of two flows (x, y each), mask, residual, softness."""

SOFT_START, SOFT_PULL = -5.0, 60.0
"""How softness starts out: nothing where both pictures agree, half where they differ by 21 codes."""

MISMATCHES = 3

LARGEST_RESIDUAL = 0.25

TIME_PULL = 4.0
"""How the mask starts out: three quarters for a picture a quarter away, nothing for the one
before last."""


class Motion(NamedTuple):
    """What the network says of the picture at ``time``; all (N, channels, h, w)."""

    flow: Tensor
    """x, y into picture 0 and x, y into picture 1, pixels of this grid."""
    mask: Tensor
    """Share of picture 0 in the blend, 0..1."""
    residual: Tensor
    """Added to the blend, luma / 255, at most a quarter either way."""
    softness: Tensor
    """Share of the blurred blend, 0..1: where the motion is a guess, sharp detail is mostly wrong."""
    confidence: Tensor | None = None
    """0..1: near 1 where the result is right."""


class MotionNetwork(Network):
    """Takes ``pictures`` (N, 6, 2h, 2w) and ``motion`` (N, 5, h, w) as ``pack_motion`` fills them.

    Works on the motions' grid, a quarter of the full picture's size, and on two coarser ones. It
    starts at the motion whose two pictures agree best, and learns what to change of that.
    """

    def __init__(self, *, channels: tuple[int, int, int], depth: int, has_confidence: bool) -> None:
        super().__init__()
        fine, middle, coarse = channels
        self.has_confidence = has_confidence
        # A stride-2 convolution, not an unshuffle: ONNX Runtime takes 3 ms to transpose that.
        self.look = _convolution(PICTURES + 1 + MISMATCHES, fine, size=4, stride=2)
        self.told = _convolution(MOTIONS + 1, fine)
        self.fine = _convolution(fine, fine)
        self.down = _convolution(fine, middle, stride=2)
        self.middle = Stack(middle, depth)
        self.deeper = _convolution(middle, coarse, stride=2)
        self.coarse = Stack(coarse, depth)
        self.rise = _convolution(coarse, middle)
        self.middle_again = Stack(middle, depth)
        self.surface = _convolution(middle, fine)
        self.fine_again = _convolution(fine, fine)
        # Small, so that it starts at the choice by mismatch and at the mean of both pictures.
        self.tail = _convolution(fine, HEADS + has_confidence, gain=0.01)

    def forward(self, pictures: Tensor, motion: Tensor) -> Motion:
        mismatch = (pictures[:, 0::2] - pictures[:, 1::2]).abs()
        # The six pictures are nearly the same one; how they differ is what matters.
        shared = pictures.mean(dim=1, keepdim=True)
        seen = torch.cat([(pictures - shared) * CONTRAST, shared - 0.5, mismatch * CONTRAST], dim=1)
        x = _bent(self.look(seen) + self.told(_told(motion)))
        fine = _bent(self.fine(x))
        middle = self.middle(_bent(self.down(fine)))
        x = self.coarse(_bent(self.deeper(middle)))
        x = _bent(_twice(self.rise(x)) + middle)
        x = self.middle_again(x)
        x = _bent(_twice(self.surface(x)) + fine)
        x = _bent(self.fine_again(x))
        around = functional.avg_pool2d(
            functional.avg_pool2d(mismatch, 2), COST_WINDOW, stride=1, padding=COST_WINDOW // 2
        )
        return self._read(self.tail(x), around, motion)

    def _read(self, heads: Tensor, mismatch: Tensor, motion: Tensor) -> Motion:
        forward, backward, standing = (mismatch[:, n : n + 1] for n in range(MISMATCHES))
        share = torch.sigmoid(heads[:, 0:1] + TEMPER * (backward - forward))
        moves = torch.sigmoid(
            heads[:, 1:2] + TEMPER * (standing - torch.minimum(forward, backward))
        )
        common = moves * (motion[:, 2:4] + share * (motion[:, 0:2] - motion[:, 2:4]))
        time = motion[:, 4:5]
        correction = heads[:, 2:6] * CORRECTION_SCALE
        flow = torch.cat([-time * common, (1.0 - time) * common], dim=1) + correction
        residual = LARGEST_RESIDUAL * torch.tanh(heads[:, 7:8])
        nearer = heads[:, 6:7] + TIME_PULL * (0.5 - time)
        differs = moves * (backward + share * (forward - backward)) + (1.0 - moves) * standing
        softness = torch.sigmoid(heads[:, 8:9] + SOFT_START + SOFT_PULL * differs)
        made = Motion(flow, torch.sigmoid(nearer), residual, softness)
        if not self.has_confidence:
            return made
        return made._replace(confidence=torch.sigmoid(heads[:, 9:10]))


def _told(motion: Tensor) -> Tensor:
    """Both motions in the convolutions' units, how far they differ, and the time."""
    apart = (motion[:, 0:2] - motion[:, 2:4]).abs().sum(dim=1, keepdim=True)
    return torch.cat([motion[:, :4] * FLOW_SCALE, apart * FLOW_SCALE, motion[:, 4:]], dim=1)


class Stack(nn.Module):
    """3x3 convolutions at one size."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_convolution(channels, channels) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = _bent(layer(x))
        return x


def _convolution(
    inputs: int, outputs: int, *, size: int = 3, stride: int = 1, gain: float = 1.0
) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, size, stride=stride, padding=1)
    nn.init.kaiming_normal_(layer.weight, a=SLOPE)
    with torch.no_grad():
        layer.weight.mul_(gain)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def _bent(x: Tensor) -> Tensor:
    return functional.leaky_relu(x, SLOPE)


def _twice(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")
