"""The arithmetic that twins are made of, beside the C library's."""

from __future__ import annotations

import ctypes
import ctypes.util

import numpy as np

from kernels.reference import _fused

TIE = (1 + 2**-15, 2**-24 * (1 - 2**-15), 1 + 2**-23)
"""Between two float32 and a little below the middle, which float64 does not tell from the middle."""


def test_a_fused_product_and_sum_are_rounded_once() -> None:
    numbers = np.random.default_rng(3)
    scales = np.exp2(numbers.integers(-30, 30, (3, 20_000)))
    values = (numbers.normal(0, 1, scales.shape) * scales).astype(np.float32)
    # Sums that cancel but for what a product has behind its 24 bits.
    values[2, ::3] = -(values[0, ::3] * values[1, ::3])
    signs = np.array([[1, 1, 1], [-1, 1, 1], [1, 1, -1], [-1, 1, -1]]).T
    ties = (np.array(TIE)[:, None] * signs).astype(np.float32)
    odd = np.array(np.meshgrid(*3 * ([0, -0.0, 1, 3e38, np.inf, np.nan],))).reshape(3, -1)
    a, b, c = np.concatenate((values, ties, odd.astype(np.float32)), axis=1)
    fmaf = ctypes.CDLL(ctypes.util.find_library("m")).fmaf
    fmaf.argtypes, fmaf.restype = 3 * [ctypes.c_float], ctypes.c_float
    expected = [fmaf(*each) for each in zip(a.tolist(), b.tolist(), c.tolist(), strict=True)]
    np.testing.assert_array_equal(_fused(a, b, c), np.array(expected, np.float32))
