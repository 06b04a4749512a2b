"""The definitions of ``kernels/cpu/follow.cpp`` and ``mix.cpp``, in NumPy, the same to the bit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8]
Floats = NDArray[np.float32]
Whole = NDArray[np.int64]

STEPS = 32
"""Of a pixel, to which places are rounded."""

WEIGHT_BITS = 10
FURTHEST = np.float32(4096)
"""Pixels of the flow's grid."""

OFFSETS, GAINS = (16, 128, 128), (219.0, 224.0, 224.0)


def follow(
    before: Sequence[Plane], now: Sequence[Plane], flow: Floats, out: NDArray[np.float32]
) -> None:
    """Fills ``out`` (12, h, w): ``now`` packed, and by how much ``before``, where things are now,
    differs from it.

    Both pictures are Y (2 * h, 2 * w), U and V (h, w) uint8; ``flow`` (h, w, 2), across and down, leads
    from each 2x2 pixels of ``now`` to their place in ``before``, in pixels of its grid.
    """
    # What is no number is the furthest away.
    bounded = np.fmin(np.fmax(flow, -FURTHEST), FURTHEST)
    steps = np.floor(bounded * np.float32(2 * STEPS) + np.float32(0.5)).astype(np.int64)
    fields = (_doubled(steps), (steps + 1) >> 1, (steps + 1) >> 1)
    for n, (earlier, later, field) in enumerate(zip(before, now, fields, strict=True)):
        found = look_up(earlier, field)
        packed = _in_units(later.astype(np.int64) - OFFSETS[n], GAINS[n])
        difference = _in_units(found.astype(np.int64) - later, GAINS[n])
        if n:
            out[3 + n], out[9 + n] = packed, difference
            continue
        for row in range(2):
            for column in range(2):
                phase = 2 * row + column
                out[phase] = packed[row::2, column::2]
                out[6 + phase] = difference[row::2, column::2]


def _in_units(codes: Whole, gain: float) -> Floats:
    return (codes * (1.0 / gain)).astype(np.float32)


def _doubled(steps: Whole) -> Whole:
    """(2h, 2w, 2) from (h, w, 2): bilinear, pixel centres aligned, of twice the value."""
    for axis in (0, 1):
        padded = np.concatenate([steps.take([0], axis), steps, steps.take([-1], axis)], axis=axis)
        count = steps.shape[axis]
        low, here, high = (padded.take(range(k, k + count), axis) for k in range(3))
        steps = np.stack([low + 3 * here, 3 * here + high], axis=axis + 1)
        steps = steps.reshape(*steps.shape[:axis], 2 * count, *steps.shape[axis + 2 :])
    return (steps + 8) >> 4


def look_up(plane: Plane, field: Whole) -> Plane:
    """(H, W) looked up at each pixel's own place plus ``field`` (H, W, 2), in 32nds; cubic with
    a = -0.75, edges repeated."""
    height, width = plane.shape
    rows, columns = np.mgrid[:height, :width]
    x = np.clip(columns * STEPS + field[..., 0], -3 * STEPS, (width + 3) * STEPS)
    y = np.clip(rows * STEPS + field[..., 1], -3 * STEPS, (height + 3) * STEPS)
    across, down = weights(x % STEPS), weights(y % STEPS)
    total = np.zeros(plane.shape, np.int64)
    for i in range(4):
        row = np.clip(y // STEPS + i - 1, 0, height - 1)
        line = sum(
            plane[row, np.clip(x // STEPS + k - 1, 0, width - 1)] * across[k] for k in range(4)
        )
        total += line * down[i]
    half = 1 << (2 * WEIGHT_BITS - 1)
    return ((total + half) >> (2 * WEIGHT_BITS)).clip(0, 255).astype(np.uint8)


def weights(share: Whole) -> tuple[Whole, Whole, Whole, Whole]:
    """Of four neighbours, ``share`` 32nds behind the second, in 1024ths; together exactly one."""
    first = (-3 * share**3 + 192 * share**2 - 3072 * share + 64) >> 7
    second = (5 * share**3 - 288 * share**2 + 131072 + 64) >> 7
    last = (3 * share**3 - 96 * share**2 + 64) >> 7
    return first, second, (1 << WEIGHT_BITS) - first - second - last, last


def mix(now: Sequence[Plane], difference: Floats, change: Plane, out: Sequence[Plane]) -> None:
    """Fills ``out`` with ``now`` + share * difference + residual.

    ``difference`` (6, h, w) as ``follow`` gives it; ``change`` (12, h, w) uint8: six shares in 255ths,
    six residuals around 128.
    """
    shares, residuals = change[:6].astype(np.int64), change[6:].astype(np.int64) - 128
    gains = np.array([219] * 4 + [224] * 2, np.float32)[:, None, None]
    codes = np.floor(difference * gains + np.float32(0.5)).astype(np.int64)
    added = ((shares * codes * 257 + 32768) >> 16) + residuals
    for n, (plane, target) in enumerate(zip(now, out, strict=True)):
        if n:
            target[:] = (plane + added[3 + n]).clip(0, 255)
            continue
        for row in range(2):
            for column in range(2):
                here = np.s_[row::2, column::2]
                target[here] = (plane[here] + added[2 * row + column]).clip(0, 255)
