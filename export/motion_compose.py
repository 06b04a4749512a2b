"""The made picture on a processor, by OpenCV as the host makes it, with its derivatives.

The same as ``motion_losses.compose`` in a fifth of the time: PyTorch's look-ups and enlargements have slow
backward passes there. Derivatives of looked-up values are central differences of the pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamer.ops.motion import BLUR_SIGMA, BLUR_SIZE

Floats = NDArray[np.float32]

TIMES = 4
"""The made picture's size is this many times that of the guide."""

BLUR = cv2.getGaussianKernel(BLUR_SIZE, BLUR_SIGMA).astype(np.float32)

TENT = np.array([1, 3, 5, 7], np.float32) / (2 * TIMES)
"""Shares that a cell has in the first half of the eight pixels it reaches, when it is enlarged."""


class Compose(torch.autograd.Function):
    """From flow (N, 4, h, w), mask and softness (N, 1, h, w), all float32 on a processor, and two
    pictures (N, 1, 4h, 4w) to the made one."""

    @staticmethod
    def forward(
        ctx: Any, flow: Tensor, mask: Tensor, softness: Tensor, first: Tensor, second: Tensor
    ) -> Tensor:
        given = [part.detach().contiguous().numpy() for part in (flow, mask, softness)]
        pictures = [picture[:, 0].contiguous().numpy() for picture in (first, second)]
        made = [_Made(*parts) for parts in zip(*given, *pictures, strict=True)]
        ctx.made = made
        return torch.from_numpy(np.stack([one.picture for one in made])[:, None])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        shares = [
            one.shares(np.ascontiguousarray(gradient[0].numpy()))
            for one, gradient in zip(ctx.made, gradients[0], strict=True)
        ]
        flow, mask, softness = (np.stack(part) for part in zip(*shares, strict=True))
        return (*map(torch.from_numpy, (flow, mask[:, None], softness[:, None])), None, None)


class _Made:
    """One picture, and what its derivatives are made of."""

    def __init__(
        self, flow: Floats, mask: Floats, softness: Floats, first: Floats, second: Floats
    ) -> None:
        self._moved = [_enlarged(TIMES * part) for part in flow]
        self._mask, self._soft = _enlarged(mask[0]), _enlarged(softness[0])
        self._ends = first, second
        left, right = (
            _looked_up(picture, self._moved[2 * n : 2 * n + 2], cv2.INTER_CUBIC)
            for n, picture in enumerate(self._ends)
        )
        self._apart = left - right
        sharp = right + self._mask * self._apart
        blurred = cv2.sepFilter2D(sharp, -1, BLUR, BLUR, borderType=cv2.BORDER_REPLICATE)
        self._blurring = blurred - sharp
        self.picture: Floats = sharp + self._soft * self._blurring

    def shares(self, gradient: Floats) -> tuple[Floats, Floats, Floats]:
        """Of flow (4, h, w), mask and softness (h, w) in the loss whose gradient this is."""
        softened = self._soft * gradient
        blurred = cv2.sepFilter2D(softened, -1, BLUR, BLUR, borderType=cv2.BORDER_CONSTANT)
        sharp = gradient - softened + blurred
        of_first = TIMES * self._mask * sharp
        flow = []
        for n, weight in enumerate((of_first, TIMES * sharp - of_first)):
            slopes = _looked_up(
                _slopes(self._ends[n]), self._moved[2 * n : 2 * n + 2], cv2.INTER_LINEAR
            )
            flow += [_gathered(weight * slopes[..., part]) for part in (0, 1)]
        return (
            np.stack(flow),
            _gathered(sharp * self._apart),
            _gathered(gradient * self._blurring),
        )


def _enlarged(part: Floats) -> Floats:
    size = (TIMES * part.shape[1], TIMES * part.shape[0])
    return np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_LINEAR), np.float32)


def _gathered(values: Floats) -> Floats:
    """The transpose of ``_enlarged``; cells at the edge go without what they repeat beyond it."""
    sides = np.pad(values, 2).reshape(values.shape[0] + 4, -1, TIMES)
    across = sides[:, :-1] @ TENT + sides[:, 1:] @ TENT[::-1]
    rows = across.reshape(-1, TIMES, across.shape[1])
    down: Floats = np.einsum("rkc,k->rc", rows[:-1], TENT)
    down += np.einsum("rkc,k->rc", rows[1:], TENT[::-1])
    return down


def _looked_up(picture: Floats, moved: Sequence[Floats], how: int) -> Floats:
    across, down = moved
    found = cv2.remap(
        picture, across, down, how | cv2.WARP_RELATIVE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(found, np.float32)


def _slopes(picture: Floats) -> Floats:
    """(H, W, 2): how the picture changes per pixel, across and down."""
    edged = cv2.copyMakeBorder(picture, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    across = 0.5 * (edged[1:-1, 2:] - edged[1:-1, :-2])
    down = 0.5 * (edged[2:, 1:-1] - edged[:-2, 1:-1])
    return np.asarray(np.stack([across, down], axis=-1), np.float32)
