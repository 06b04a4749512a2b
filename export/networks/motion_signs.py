"""What tells of motion, read from two pictures by arithmetic alone: nothing here is learnt.

A convolution learns slowly to multiply or to compare two pictures shifted against each other;
given as channels, both are there from the first step.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

CELL = 4
"""Pixels of the pictures, which have half the size of those that are made: an eighth of theirs."""

REACH = 2
"""Pixels of a quarter of the full picture: how far pictures are shifted to compare them."""

SHIFTS = [
    (down, across)
    for down in (-REACH, 0, REACH)
    for across in (-REACH, 0, REACH)
    if (down, across) != (0, 0)
]

SIGNS = 12 + 2 * len(SHIFTS)
"""Motions (4), how they differ (2), time, mismatch (3), brightness, contrast, and for either flow
what a shift (8) would change of its mismatch."""

FLOW_SCALE = 4.0
"""A quarter of a pixel of the motions' grid is where motions begin to count by their logarithm."""

LEAST_MISMATCH = 0.25 / 255
"""Mismatch counts by its logarithm, as noise or detail set its size; below this it is rounding."""

CONTRAST_SCALE = 4.0


class SignReader(nn.Module):
    """From ``pictures`` (N, 6, 2h, 2w) and ``motion`` (N, 5, h, w) to (N, SIGNS, h/2, w/2)."""

    shifted: Tensor

    def __init__(self) -> None:
        super().__init__()
        side = 2 * REACH + 1
        kernels = torch.zeros(len(SHIFTS), 2, side, side)
        for kernel, (down, across) in zip(kernels, SHIFTS, strict=True):
            kernel[0, REACH, REACH] = 1.0
            kernel[1, REACH + down, REACH + across] = -1.0
        self.register_buffer("shifted", kernels, persistent=False)

    @torch.no_grad()
    def forward(self, pictures: Tensor, motion: Tensor) -> Tensor:
        mismatch = functional.avg_pool2d((pictures[:, 0::2] - pictures[:, 1::2]).abs(), CELL)
        mismatch = torch.log(mismatch + LEAST_MISMATCH)
        cells = functional.avg_pool2d(motion, 2)
        motions = torch.cat([cells[:, :4], cells[:, 0:2] - cells[:, 2:4]], dim=1)
        shared = pictures.mean(dim=1, keepdim=True)
        brightness = functional.avg_pool2d(shared, CELL)
        variance = functional.avg_pool2d(shared * shared, CELL) - brightness**2
        small = functional.avg_pool2d(pictures[:, :4], 2)
        return torch.cat(
            [
                0.5 * _asinh(FLOW_SCALE * motions),
                cells[:, 4:5],
                0.5 * mismatch + 2.0,
                brightness - 0.5,
                CONTRAST_SCALE * torch.sqrt(functional.relu(variance) + 1e-6),
                *(
                    self._shifts(small[:, 2 * n : 2 * n + 2]) - mismatch[:, n : n + 1]
                    for n in range(2)
                ),
            ],
            dim=1,
        )

    def _shifts(self, pair: Tensor) -> Tensor:
        """Logarithm of how far two (N, 2, h, w) pictures differ when one is shifted."""
        edged = functional.pad(pair, (REACH,) * 4, mode="replicate")
        apart = functional.avg_pool2d(functional.conv2d(edged, self.shifted).abs(), 2)
        return torch.log(apart + LEAST_MISMATCH)


def _asinh(x: Tensor) -> Tensor:
    # ONNX Runtime's own takes 1.6 ms for a 720p picture, this 0.3.
    size = x.abs()
    return x.sign() * torch.log(size + torch.sqrt(size * size + 1.0))
