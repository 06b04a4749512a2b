"""Sums over pictures and residuals: the kernels on the host against their twins."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels import launch, reference
from kernels.arguments import Difference, Health, Precision
from tests.kernels.host_build import HostKernels
from tests.kernels.pictures import FLOATS, Counts, Guarded, random_samples
from tests.kernels.runners import Runner

SIZES = [(1, 1), (7, 3), (8, 2), (61, 33), (560, 19)]


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("pitch", [1, 32])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_difference_is_its_twin_in_every_count(
    runner: Runner, bits: int, width: int, height: int, pitch: int
) -> None:
    numbers = np.random.default_rng([width, height, bits])
    offset = int(pitch == 1)
    samples = (random_samples((height, width), bits, numbers) for _ in range(2))
    first = Guarded(next(samples), padding=3, pitch=pitch)
    second = Guarded(next(samples), offset=offset, pitch=pitch)
    second.array[: height // 2] = first.array[: height // 2, :1]
    total, bins = reference.difference(first.array, second.array)
    assert bins.sum() == 2 * width * height
    for with_bins in (False, True):
        seen = Counts(Difference)
        call = launch.difference(
            first.plane(), second.plane(), out=seen.address, with_bins=with_bins
        )
        runner.run(call)
        assert seen.told.sum == total
        np.testing.assert_array_equal(np.array(seen.told.bins), bins * with_bins)
        assert seen.is_intact()


def test_the_largest_difference_does_not_overflow(runner: Runner) -> None:
    """More than 2**32, which 10 bits reach below the size of 4K."""
    wide = Guarded(np.full((1, 8192), 0xFFFF, np.uint16))
    black = Guarded(np.zeros((1, 8192), np.uint16))
    seen = Counts(Difference)
    seen.array[0, :4] = 255
    runner.run(launch.difference(wide.plane(), black.plane(), out=seen.address, with_bins=True))
    assert seen.told.sum == 2**32 - 1 + 1023 * 8192
    assert seen.told.bins[0][63] == seen.told.bins[1][0] == 8192
    runner.run(launch.difference(wide.plane(), black.plane(), out=seen.address))
    assert seen.told.sum == 2**32 - 1 + 2 * 1023 * 8192


@pytest.mark.parametrize("bits", [8, 10])
def test_no_count_is_lost_where_one_thread_has_more_than_a_byte_holds(
    host_kernels: HostKernels, bits: int
) -> None:
    dtype = np.uint8 if bits == 8 else np.uint16
    grey = Guarded(np.full((80, 1536), 200, dtype))
    seen = Counts(Difference)
    call = launch.difference(grey.plane(), grey.plane(), out=seen.address, with_bins=True)
    host_kernels.run(call, blocks=(1, 1))
    total, bins = reference.difference(grey.array, grey.array)
    assert (seen.told.sum, total) == (0, 0)
    np.testing.assert_array_equal(np.array(seen.told.bins), bins)


@pytest.mark.parametrize("precision", list(Precision))
@pytest.mark.parametrize(("count", "offset"), [(1, 0), (6, 1), (5000, 0), (70001, 3)])
def test_watching_is_its_twin_in_every_count(
    runner: Runner, precision: Precision, count: int, offset: int
) -> None:
    numbers = np.random.default_rng(count)
    values: NDArray[Any] = numbers.normal(0, 90, (1, count)).astype(FLOATS[precision])
    for odd in (np.nan, np.inf, -np.inf, -128, np.nextafter(FLOATS[precision](-128), 0)):
        values[numbers.random(values.shape) < 0.03] = odd
    residual, seen = Guarded(values, offset=offset), Counts(Health)
    runner.run(launch.watch(residual.address, count=count, precision=precision, out=seen.address))
    told = seen.told
    assert (told.nans, told.infinities, told.dark) == reference.watch(values)
    assert seen.is_intact()


def test_a_sound_residual_has_nothing_to_count() -> None:
    sound = np.random.default_rng(2).normal(0, 20, 4096).astype(np.float32)
    assert reference.watch(sound) == (0, 0, 0)
    assert reference.watch(np.array([np.nan, np.inf, -np.inf, -128, -127.5])) == (1, 2, 1)
