"""Stacks of 3x3 convolutions, and their weights as ``kernels/cpu/conv_tiles.h`` takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kernels.errors import KernelError

GAIN = 576
"""Times the sum of the products comes back: 24 for each of two dimensions."""

TOP_WEIGHT = 227
"""The largest of which every place fits into 16 bits."""

TOP_CODE, TOP_DIFFERENCE = 239, 255
"""The largest magnitude of what the first layer takes: 255 - 16, or between two codes."""

PHASES = 6
"""Planes of a packed picture; a network takes one, or two."""


def top_taken(phases: int) -> int:
    """The largest magnitude of what a first layer takes that is given so many planes."""
    return TOP_CODE if phases == PHASES else TOP_DIFFERENCE


TOP_BYTE = 255
"""What a layer gives is of 0..255."""

TOP_STEP = 2**22
"""What is rounded before it is bounded lies within this, as processors can that round by adding."""

_TO_PLACES = np.array(
    [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 6]], np.int64
)
"""From the three weights of a line to the six places that a line of four stands on: 24 times the G of
Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015, section 4.3, but for
infinity, of which the kernel makes up a factor of four."""


@dataclass(frozen=True, slots=True)
class ConvLayer:
    """One 3x3 convolution in whole numbers, around which everything is nothing."""

    weights: NDArray[np.int64]
    """(outs, ins, 3, 3), -227..227."""
    scale: NDArray[np.float64]
    """(outs,): what leaves for each 1 of a sum of products."""
    bias: NDArray[np.float64]
    """(outs,), in units of a sum."""
    top: int
    """The largest of what comes in."""
    bottom: int = 0
    """The smallest of what comes in."""
    low: int = 0
    high: int = TOP_BYTE
    """What leaves is rounded to even, bounded so, and ``zero`` added: 0..255 then."""
    zero: int = 0

    @property
    def gained_bias(self) -> NDArray[np.int64]:
        return np.rint(GAIN * self.bias).astype(np.int64)

    @property
    def gained_scale(self) -> NDArray[np.float32]:
        return (self.scale / GAIN).astype(np.float32)

    def check(self) -> None:
        """Raises ``KernelError`` where the kernel's whole numbers do not hold what may come in or out."""
        shape, outs = self.weights.shape, self.weights.shape[:1]
        if 0 in shape or shape[2:] != (3, 3) or not self.scale.shape == self.bias.shape == outs:
            raise KernelError(
                f"a layer has weights {shape}, scale {self.scale.shape} and bias {self.bias.shape}; "
                "allowed are (outs, ins, 3, 3), (outs,) and (outs,)"
            )
        lowest, highest = self.low + self.zero, self.high + self.zero
        if not 0 <= lowest <= highest <= TOP_BYTE:
            raise KernelError(
                f"a layer gives {lowest}..{highest}; allowed is what lies in 0..{TOP_BYTE}"
            )
        heaviest = np.abs(self.weights).max()
        with np.errstate(invalid="ignore", over="ignore"):
            reach = self._reach()
            step = np.abs(reach * self.scale / GAIN).max()
        # Written so that not a number is never within.
        if not (
            heaviest <= TOP_WEIGHT
            and -(2**31) <= reach.min() <= reach.max() < 2**31
            and step <= TOP_STEP
        ):
            raise KernelError(
                f"a layer's weights reach {heaviest}, its sums {reach.min():.4g}..{reach.max():.4g}, what "
                f"it gives {step:.4g}; allowed are {TOP_WEIGHT}, 32 bits and {TOP_STEP}; use other weights"
            )

    def _reach(self) -> NDArray[np.float64]:
        """(2, outs): the least and the most that GAIN times a sum and its bias may be; exact."""
        up, down = (np.maximum(sign * self.weights, 0).sum((1, 2, 3)) for sign in (1, -1))
        least, most = up * self.bottom - down * self.top, up * self.top - down * self.bottom
        return GAIN * np.stack([least, most]) + np.rint(GAIN * self.bias)


@dataclass(frozen=True, slots=True)
class ConvModel:
    """A stack of convolutions from a packed picture to its residual."""

    layers: Sequence[ConvLayer]
    """The first takes code values less their zero, luma -16..239 and chroma -128..127; of a network that
    takes two pictures, also how much the second differs, -255..255."""
    skip: tuple[float, float] | None = None
    """What the last layer takes is so much of the layer before and so much of the first one, within
    the bounds of the layer before."""
    repeats_edge: bool = False
    """Whether the picture goes on beyond its edges for the first layer; else there is nothing."""


def laid_out(layer: ConvLayer, lanes: int) -> NDArray[np.int16]:
    """The weights by ``blocks`` of outs: of each (36 places, pairs of ins, outs, 2), all in one row.
    What fills up the last ones is nothing."""
    outs, ins = layer.weights.shape[:2]
    places = np.einsum("ai,ocij,bj->aboc", _TO_PLACES, layer.weights, _TO_PLACES)
    filled = np.zeros((36, padded(outs, lanes), padded(ins, 2)), np.int16)
    filled[:, :outs, :ins] = places.reshape(36, outs, ins)
    pairs = filled.reshape(36, filled.shape[1], -1, 2).swapaxes(1, 2)
    return np.concatenate([pairs[:, :, block].ravel() for block in blocks(outs, lanes)])


def blocks(outs: int, lanes: int) -> list[slice]:
    """Of outs that are made at once, as in ``convolve_rows``: two vectors, or the last one or three."""
    found, at, end = [], 0, padded(outs, lanes)
    while at < end:
        vectors = (end - at) // lanes
        size = lanes * (vectors if vectors == 3 else min(vectors, 2))
        found.append(slice(at, at + size))
        at += size
    return found


def padded(count: int, step: int) -> int:
    """The next multiple of ``step``."""
    return -(-count // step) * step
