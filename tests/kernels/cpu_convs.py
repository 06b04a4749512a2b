"""Stacks of convolutions and packed pictures for the tests, real and hostile ones.

``python -m tests.kernels.cpu_convs`` runs some between pages nobody may touch, and ends with a signal
when one is.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kernels.conv_weights import (
    GAIN,
    PHASES,
    TOP_BYTE,
    TOP_CODE,
    TOP_WEIGHT,
    ConvLayer,
    ConvModel,
    top_taken,
)
from kernels.native import Native
from kernels.native_conv import LINE, ConvPart, ConvStack
from tests.kernels.cpu_fences import fenced
from tests.kernels.cpu_warps import runnable
from tests.kernels.pictures import GUARD

SIZES = [(1, 1), (1, 9), (7, 2), (4, 4), (5, 13), (17, 8), (33, 50), (64, 47)]
"""Rows and columns: single ones, parts of tiles, whole ones, more than a chunk."""


def layer(
    numbers: np.random.Generator, ins: int, outs: int, *, is_first: bool = False, zero: int = 0
) -> ConvLayer:
    """Weights as far apart as they come, some nothing, and outs whose steps fill their range."""
    weights = numbers.integers(-TOP_WEIGHT, TOP_WEIGHT + 1, (outs, ins, 3, 3))
    weights[numbers.random((outs, ins, 3, 3)) < 0.1] = TOP_WEIGHT
    weights[numbers.random((outs, ins, 3, 3)) < 0.1] = -TOP_WEIGHT
    # No more of them than what 32 bits hold of the largest sums, on either side.
    order = np.argsort(numbers.random((outs, 9 * ins)), axis=1).reshape(outs, ins, 3, 3)
    weights[order >= 100] = 0
    top = top_taken(ins) if is_first else TOP_BYTE
    least = -top if is_first else 0
    for sign in (1, -1):
        half = sign * weights > 0
        too_many = np.abs(weights * half).sum((1, 2, 3)) * (top - least) * GAIN > 0.9 * 2**31
        weights[half & too_many[:, None, None, None]] //= 2
    spread = np.abs(weights).sum((1, 2, 3)) * top / 4 + 1
    return ConvLayer(
        weights=weights,
        scale=numbers.uniform(0.5, 4, outs) * TOP_BYTE / spread,
        bias=spread * numbers.uniform(-0.3, 0.5, outs),
        top=top,
        bottom=least,
        low=-zero,
        high=TOP_BYTE - zero,
        zero=zero,
    )


def model(
    seed: int,
    channels: Sequence[int],
    *,
    phases: int = PHASES,
    has_skip: bool = False,
    repeats_edge: bool = False,
) -> ConvModel:
    """A stack whose layers give so many channels; the first takes ``phases``."""
    numbers = np.random.default_rng(seed)
    takes, last = [phases, *channels[:-1]], len(channels) - 1
    layers = [
        layer(numbers, ins, outs, is_first=n == 0, zero=128 if n == last else 0)
        for n, (ins, outs) in enumerate(zip(takes, channels, strict=True))
    ]
    first, second = numbers.uniform(0.2, 0.9, 2)
    return ConvModel(layers, (first, second) if has_skip else None, repeats_edge)


def taken_by(stack: ConvModel) -> int:
    """How many planes it takes."""
    return int(stack.layers[0].weights.shape[1])


def codes(seed: int, rows: int, columns: int, *, phases: int = PHASES) -> NDArray[np.float32]:
    """A packed picture of every code value there is, and of every difference where there are two."""
    numbers = np.random.default_rng([seed, rows, columns])
    whole = numbers.integers(-16, 240, (phases, rows, columns)).astype(np.float32)
    whole[PHASES:] = numbers.integers(-255, 256, whole[PHASES:].shape)
    units = np.array(([219] * 4 + [224] * 2) * 2, np.float32).reshape(-1, 1, 1)
    return whole / units[:phases]


def hostile(seed: int, rows: int, columns: int, *, phases: int = PHASES) -> NDArray[np.float32]:
    """What no picture holds: halves between codes, far too large, infinite, no numbers at all; and
    the extremes side by side, which make the largest sums on the way."""
    numbers = np.random.default_rng([seed, rows, columns])
    packed = codes(seed, rows, columns, phases=phases)
    extremes = np.array(
        [np.nan, -np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-42, -0.0, 0.5 / 219, -1.5 / 224],
        np.float32,
    )
    places = numbers.random(packed.shape) < 0.2
    packed[places] = numbers.choice(extremes, int(places.sum()))
    signs = np.indices((rows, columns)).sum(0) % 2 * 2 - 1
    signed = 2.0 * signs * numbers.choice([-1, 1], (phases, 1, 1))
    packed[:, : rows // 2] = signed[:, : rows // 2]
    return packed


def extreme(channels: int, *, layers: int) -> ConvModel:
    """Of whose layers each may give all that 32 bits hold: positive and negative weights add up to
    14620 each, and with the bias to 2^31 - 1."""
    top_sum, bias = 14620, (2**31 - 1) / GAIN - 14620 * TOP_BYTE
    numbers = np.random.default_rng(channels)
    row = np.zeros(9 * channels, np.int64)
    heaviest, rest = divmod(top_sum, TOP_WEIGHT)
    row[:heaviest], row[heaviest] = TOP_WEIGHT, rest
    row[-heaviest:], row[-heaviest - 1] = -TOP_WEIGHT, -rest
    whole = ConvLayer(
        weights=numbers.permuted(np.tile(row, (channels, 1)), axis=1).reshape(-1, channels, 3, 3),
        scale=np.full(channels, 2e-4),
        bias=np.full(channels, bias),
        top=TOP_BYTE,
    )
    first = layer(numbers, 6, channels, is_first=True)
    return ConvModel([first, *[whole] * (layers - 1)])


def reaching(*, up: bool) -> tuple[ConvModel, NDArray[np.float32]]:
    """A stack that takes two pictures, and such of 3x3 pixels, in whose middle the first layer's one sum
    is 2^31 - 1, or 2^31 below nothing. The residual there tells where it was: 255, or 0."""
    numbers, signs = np.random.default_rng(8), np.where(np.arange(108) % 2, 1, -1)
    top_sum = 14620 if up else -14620
    heaviest, rest = divmod(abs(top_sum), TOP_WEIGHT)
    weights = signs * np.array([TOP_WEIGHT] * heaviest + [rest] + [0] * (107 - heaviest))
    first = ConvLayer(
        weights=numbers.permuted(weights).reshape(1, 12, 3, 3),
        scale=np.full(1, TOP_BYTE / (14620 * TOP_BYTE)),
        # Nothing is left between what the extremes reach and the ends of 32 bits.
        bias=np.full(1, (2**31 - up) / GAIN * (1 if up else -1) - top_sum * TOP_BYTE),
        top=TOP_BYTE,
        bottom=-TOP_BYTE,
        low=0 if up else -TOP_BYTE,
        high=TOP_BYTE if up else 0,
        zero=0 if up else TOP_BYTE,
    )
    through = np.zeros((1, 1, 3, 3), np.int64)
    through[..., 1, 1] = 1
    last = ConvLayer(through, np.ones(1), np.zeros(1), top=TOP_BYTE)
    packed = np.sign(first.weights[0]) * np.float32(2 if up else -2)
    return ConvModel([first, last]), packed.astype(np.float32)


def wrapping() -> tuple[ConvModel, NDArray[np.float32]]:
    """A stack and a picture of whose tiles one place sums up to 7 * 32688 * 17340, 1.8 times 2^31."""
    numbers = np.random.default_rng(1)
    through = np.zeros((7, 6, 3, 3), np.int64)
    through[:, 0, 1, 1] = TOP_WEIGHT
    first = layer(numbers, 6, 7, is_first=True)
    share = TOP_BYTE / TOP_WEIGHT / TOP_CODE
    first = replace(first, weights=through, scale=np.full(7, share), bias=np.zeros(7))
    heavy = np.full((7, 7, 3, 3), TOP_WEIGHT)
    second = ConvLayer(heavy, np.full(7, 1e-4), np.full(7, -1e6), top=TOP_BYTE)
    y, x = np.indices((32, 64)) // 2
    packed = np.zeros((6, 32, 64), np.float32)
    packed[0] = np.where((x + y) % 2, -2.0, 2.0)
    return ConvModel([first, second]), packed


def made(native: Native, stack: ConvModel, packed: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The residual of a packed picture, in one piece."""
    calls = ConvStack(native, stack)
    rows, columns = packed.shape[1:]
    residual = np.full((calls.outs, rows, columns), 99, np.uint8)
    ConvPart(calls, packed, residual, range(rows)).make(scratch(calls, columns)[0])
    return residual


def scratch(stack: ConvStack, columns: int) -> tuple[NDArray[np.uint8], ...]:
    """Scratch as large as it is said to be, of noise, and what lies before and behind it."""
    size = stack.scratch_bytes(columns)
    whole = np.random.default_rng(size).integers(0, 256, size + 4 * GUARD, np.uint8)
    begin = GUARD + -(whole.ctypes.data + GUARD) % LINE
    return whole[begin : begin + size], whole[:begin], whole[begin + size :]


def main() -> None:
    """Makes parts of pictures between pages nobody may touch; says how many."""
    count = 0
    for native in runnable():
        for seed, channels in enumerate([[7, 31, 24], [33, 20, 33, 6], [96, 96], [16, 12]]):
            phases = 12 if channels == [16, 12] else PHASES
            stack = model(seed, channels, phases=phases, has_skip=channels[0] == 33)
            calls = ConvStack(native, stack)
            for rows, columns in [(1, 1), (7, 18), (21, 50), (12, 48)]:
                for is_at_end in (False, True):
                    room, packed, residual = (
                        fenced(array, is_at_end=is_at_end)
                        for array in (
                            scratch(calls, columns)[0],
                            hostile(seed, rows, columns, phases=phases),
                            np.zeros((calls.outs, rows, columns), np.uint8),
                        )
                    )
                    for upwards in (False, True):
                        part = ConvPart(calls, packed, residual, range(rows // 3, rows))
                        part.make(room, upwards=upwards)
                        count += 1
    sys.stdout.write(f"{count}\n")


if __name__ == "__main__":
    main()
