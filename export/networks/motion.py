"""Interpolation and prediction: what two pictures and their optical flow say of a third one.

DIS flow is found outside (``streamer.ops.motion``), the large pictures are warped outside. The
network sits between: from the small pictures, already brought to the wanted time by either flow,
it tells where the motion is a guess, and how soft the picture is to be there.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.networks.base import Network
from export.networks.motion_signs import SIGNS, SignReader
from streamer.infer.reference_motion import (
    NARROW,
    SOFT_LATER,
    SOFT_LEAST,
    SOFT_PULL,
    SOFT_START,
    TEMPER,
    WIDE,
)

SLOPE = 0.1
"""Of the leaky ReLU. With plain ones this network dies within a thousand steps and gives constants."""

HEADS = 1
"""How much softer or sharper than by arithmetic. Heads for the choice of motion were tried: they
gained 0.01 dB on held-out clips and cost single ones up to 1.2."""

PULL = 4.0
"""Units of the last convolution to those of a sigmoid's argument."""


class Motion(NamedTuple):
    """What the network says of the picture at ``time``; all (N, channels, h, w)."""

    flow: Tensor
    """x, y into picture 0 and x, y into picture 1, pixels of this grid."""
    mask: Tensor
    """Share of picture 0 in the blend, 0..1."""
    residual: Tensor
    """Added to the blend, luma / 255; this network leaves it at nothing."""
    softness: Tensor
    """Share of the blurred blend, 0..1: where the motion is a guess, sharp detail is mostly wrong."""
    confidence: Tensor | None = None
    """0..1: near 1 where the result is right."""


class Choices(NamedTuple):
    """What makes the picture, all (N, 1, h, w), 0..1."""

    ahead: Tensor
    """Share of the forward flow, the rest is the backward one's."""
    moves: Tensor
    """Share of that motion, the rest stands still."""
    share: Tensor
    """Of picture 0, the rest is picture 1's."""
    softness: Tensor


class MotionNetwork(Network):
    """Takes ``pictures`` (N, 6, 2h, 2w) and ``motion`` (N, 5, h, w) as ``pack_motion`` fills them.

    It chooses motions as ``ReferenceMotionEngine`` does and learns where they are a guess. Its
    convolutions work at an eighth and a sixteenth of the picture's size: a finer grid makes no
    picture better, 36.02 against 36.05 dB with the motion of DIS "medium".
    """

    def __init__(self, *, channels: tuple[int, int, int], depth: int, has_confidence: bool) -> None:
        super().__init__()
        fine, coarse, again = channels
        self.has_confidence = has_confidence
        self.signs = SignReader()
        self.seen = _convolution(SIGNS, fine)
        self.down = _convolution(fine, coarse, stride=2)
        self.around = Stack(coarse, depth - 1)
        self.rise = _convolution(coarse, fine)
        self.again = Stack(fine, depth, outputs=again)
        self.tail = _convolution(again, HEADS + has_confidence)
        # So that it starts at what arithmetic alone says; even a hundredth of it costs 0.1 dB.
        nn.init.zeros_(self.tail.weight)

    def forward(self, pictures: Tensor, motion: Tensor) -> Motion:
        mismatch, time = mismatches(pictures), motion[:, 4:5]
        heads = self.heads(pictures, motion)
        choices = choose(heads, mismatch, time)
        flow = _flow(choices, motion)
        made = Motion(
            flow=flow,
            mask=(choices.share + _only_first(flow, time)).clamp(0.0, 1.0),
            residual=torch.zeros_like(time),
            softness=choices.softness,
        )
        if not self.has_confidence:
            return made
        return made._replace(confidence=torch.sigmoid(heads[:, HEADS:]))

    def heads(self, pictures: Tensor, motion: Tensor) -> Tensor:
        """(N, HEADS, h, w): what to change of softness; one more channel for confidence."""
        fine = _bent(self.seen(self.signs(pictures, motion)))
        coarse = self.around(_bent(self.down(fine)))
        again = self.again(_bent(_enlarged(self.rise(coarse), "nearest") + fine))
        return _enlarged(PULL * self.tail(again), "bilinear")


def mismatches(pictures: Tensor) -> Tensor:
    """(N, 3, h, w) how far both pictures differ around a cell, by forward flow, backward flow and
    standing still; luma / 255, as ``ReferenceMotionEngine`` measures it."""
    cells = functional.avg_pool2d((pictures[:, 0::2] - pictures[:, 1::2]).abs(), 2)
    near, around = (
        functional.avg_pool2d(cells, size, 1, size // 2, count_include_pad=False)
        for size in (NARROW, WIDE)
    )
    return 0.5 * (near + around)


def choose(heads: Tensor, mismatch: Tensor, time: Tensor) -> Choices:
    """By mismatch (N, 3, h, w) and nearness in ``time`` (N, 1, h, w); softness changed by the heads."""
    forward, backward, standing = mismatch[:, 0:1], mismatch[:, 1:2], mismatch[:, 2:3]
    ahead = torch.sigmoid(TEMPER * (backward - forward))
    moves = torch.sigmoid(TEMPER * (standing - torch.minimum(forward, backward)))
    differs = standing + moves * (backward + ahead * (forward - backward) - standing)
    start = SOFT_START + SOFT_LATER * functional.relu(time - 1.0)
    soft = torch.sigmoid(heads[:, 0:1] + start + SOFT_PULL * differs)
    softness = functional.relu(soft - SOFT_LEAST) * (1.0 / (1.0 - SOFT_LEAST))
    return Choices(ahead, moves, (1.0 - time).clamp(0.0, 1.0), softness)


def _flow(choices: Choices, motion: Tensor) -> Tensor:
    forward, backward, time = motion[:, 0:2], motion[:, 2:4], motion[:, 4:5]
    common = choices.moves * (backward + choices.ahead * (forward - backward))
    return torch.cat([-time * common, (1.0 - time) * common], dim=1)


def _only_first(flow: Tensor, time: Tensor) -> Tensor:
    """Between two pictures 1 where only picture 0 holds the place, -1 where only picture 1 does."""
    is_between = functional.relu(1.0 - time).sign()
    return is_between * (_beyond(flow[:, 2:4]) - _beyond(flow[:, 0:2]))


def _beyond(flow: Tensor) -> Tensor:
    """0 where a flow ends within the picture, 1 where it ends a cell or more beyond its edge."""
    ones = torch.ones_like(flow[:, :1])
    columns, rows = ones.cumsum(3) - 1.0, ones.cumsum(2) - 1.0
    x, y = columns + flow[:, 0:1], rows + flow[:, 1:2]
    across = torch.maximum(-x, x - columns[..., -1:])
    down = torch.maximum(-y, y - rows[:, :, -1:])
    return torch.maximum(across, down).clamp(0.0, 1.0)


class Stack(nn.Module):
    """3x3 convolutions at one size."""

    def __init__(self, channels: int, depth: int, outputs: int | None = None) -> None:
        super().__init__()
        widths = [channels, *[outputs or channels] * depth]
        self.layers = nn.ModuleList(_convolution(widths[n], widths[n + 1]) for n in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = _bent(layer(x))
        return x


def _convolution(inputs: int, outputs: int, *, stride: int = 1) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
    nn.init.kaiming_normal_(layer.weight, a=SLOPE)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def _bent(x: Tensor) -> Tensor:
    return functional.leaky_relu(x, SLOPE)


def _enlarged(x: Tensor, mode: str) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode=mode)
