"""Interpolation and prediction: where the guide that arithmetic makes of two pictures is wrong.

Flow is found outside, and of it a guide is made that is right in most places
(``streamer.infer.reference_motion``); the large pictures are warped outside. The network sits between:
it moves the guide's motion towards others that are told or that neighbours have, shifts the share
of either picture, and says how soft the result is to be. Untrained it changes nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.networks.base import Network
from export.networks.motion_signs import SIGNS, SignReader, Signs

SLOPE = 0.1
"""Of the leaky ReLU. With plain ones this network dies within a thousand steps and gives constants."""

REST = 0.1
"""What it says below this counts as nothing: where the guide is right, nothing must be changed, not
even a hundredth. Pans of 48 dB lose 0.6 without."""

NEAR = 2
"""Cells of an eighth of the picture: whose motions are offered besides. Standing still and others that are
six cells off were offered too, and gave nothing."""

OFFERED = 3 + 4
"""Motions: by either flow, the mean around, and those of four neighbours."""

MOST = 4.0
"""Cells of the guide, for each component: how far an offered motion pulls at most."""

SHARES = 2
"""Changes of mask and softness, for each of the guide's four cells in one of the network's."""


class Motion(NamedTuple):
    """How the picture at a time is made of two; all (N, channels, h, w)."""

    flow: Tensor
    """x, y into picture 0 and x, y into picture 1, pixels of this grid."""
    mask: Tensor
    """Share of picture 0 in the blend, 0..1."""
    softness: Tensor
    """Share of the blurred blend, 0..1: where the motion is a guess, sharp detail is mostly wrong."""


class MotionNetwork(Network):
    """Takes what ``streamer.ops.motion_guides.NetworkInputs`` fills: ``pictures`` (N, 6, 2h, 2w),
    ``motion`` (N, 5, h, w) and ``guide`` (N, 6, h, w); h and w are multiples of 4."""

    def __init__(self, *, channels: tuple[int, int], depth: int) -> None:
        super().__init__()
        fine, coarse = channels
        self.signs = SignReader()
        self.seen = _convolution(SIGNS, fine)
        self.before = Stack(fine, depth)
        self.down = _convolution(fine, coarse, stride=2)
        self.around = Stack(coarse, depth + 1)
        self.rise = _convolution(coarse, fine)
        self.after = Stack(fine, depth)
        self.tail = _convolution(fine, OFFERED + 4 * SHARES)
        nn.init.zeros_(self.tail.weight)

    def forward(self, pictures: Tensor, motion: Tensor, guide: Tensor) -> Motion:
        signs: Signs = self.signs(pictures, motion, guide)
        said = signs.doubt * self._settled(torch.tanh(self._heads(signs.channels)))
        change = _change(said, signs)
        time = motion[:, 4:5]
        shares = functional.pixel_shuffle(said[:, OFFERED:], 2)
        return Motion(
            flow=guide[:, 0:4] + torch.cat([-time * change, (1.0 - time) * change], dim=1),
            mask=(guide[:, 4:5] + shares[:, 0:1]).clamp(0.0, 1.0),
            softness=(guide[:, 5:6] + shares[:, 1:2]).clamp(0.0, 1.0),
        )

    def _heads(self, channels: Tensor) -> Tensor:
        fine = self.before(_bent(self.seen(channels)))
        coarse = self.around(_bent(self.down(fine)))
        risen = functional.interpolate(self.rise(coarse), scale_factor=2.0, mode="nearest")
        heads: Tensor = self.tail(self.after(_bent(risen + fine)))
        return heads

    def _settled(self, said: Tensor) -> Tensor:
        settled = (said - said.clamp(-REST, REST)) * (1.0 / (1.0 - REST))
        # What is at rest still learns which way it should go.
        return said + (settled - said).detach() if self.training else settled


def _change(said: Tensor, signs: Signs) -> Tensor:
    """(N, 2, h, w) to be added to the guide's motion."""
    offered = [*signs.told, signs.around, *_neighbours(signs.common)]
    change = torch.zeros_like(signs.common)
    for n, motion in enumerate(offered):
        change = change + said[:, n : n + 1] * (motion - signs.common).clamp(-MOST, MOST)
    enlarged: Tensor = functional.interpolate(change, scale_factor=2.0, mode="bilinear")
    return enlarged


def _neighbours(motion: Tensor) -> list[Tensor]:
    """What is left, right, above and below; edges repeat."""
    height, width = motion.shape[-2:]
    edged = functional.pad(motion, (NEAR,) * 4, mode="replicate")
    rows, columns = slice(NEAR, NEAR + height), slice(NEAR, NEAR + width)
    return [
        edged[:, :, rows, :width],
        edged[:, :, rows, 2 * NEAR : 2 * NEAR + width],
        edged[:, :, :height, columns],
        edged[:, :, 2 * NEAR : 2 * NEAR + height, columns],
    ]


class Stack(nn.Module):
    """3x3 convolutions at one size."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_convolution(channels, channels) for _ in range(depth))

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
