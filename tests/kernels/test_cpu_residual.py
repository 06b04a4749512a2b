"""The upscale, the sum and the packing that are compiled for processors: their twins, at every level."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels import native_pack, native_residual, reference
from kernels.errors import KernelError
from kernels.native import Native
from tests.kernels.cpu_residuals import SIZES, Picture, blank, enhanced, picture
from tests.kernels.host_build import sanitized
from tests.kernels.pictures import Guarded

sizes = pytest.mark.parametrize(("width", "height"), SIZES)
kinds = pytest.mark.parametrize("dtype", [np.uint8, np.float32])


@kinds
@sizes
def test_the_sum_is_its_twin_at_every_level(
    levels: list[Native], width: int, height: int, dtype: type[Any]
) -> None:
    it = picture(width, height, dtype)
    expected = reference.add_residual(it.planes, it.residual, scale=2)
    for native in levels:
        for seen, same in zip(enhanced(native, it), expected, strict=True):
            np.testing.assert_array_equal(seen, same)


@sizes
def test_the_plain_upscale_is_its_twin_at_every_level_and_odd_sizes(
    levels: list[Native], width: int, height: int
) -> None:
    luma = picture(width, height, np.uint8).planes[0][: height - 1, : width - 1]
    shape = (2 * height - 2, 2 * width - 2)
    expected = reference.upscale(luma, scale=2, height=shape[0], width=shape[1])
    for native in levels:
        out = Guarded(np.zeros(shape, np.uint8), padding=3, offset=1)
        native_residual.upscale(native, [luma], [out.array])
        np.testing.assert_array_equal(out.array, expected)
        assert out.is_intact()


@kinds
@sizes
def test_planes_and_residuals_may_have_any_stride(
    levels: list[Native], width: int, height: int, dtype: type[Any]
) -> None:
    it = picture(width, height, dtype)
    expected = enhanced(levels[-1], it)
    # Upside down: strides are negative.
    turned = [np.ascontiguousarray(plane[::-1])[::-1] for plane in it.planes]
    residual = np.ascontiguousarray(it.residual[:, ::-1])[:, ::-1]
    outs = [Guarded(plane, padding=7, offset=3) for plane in blank(it)]
    native_residual.add_residual(levels[-1], turned, residual, [out.array for out in outs])
    for out, same in zip(outs, expected, strict=True):
        np.testing.assert_array_equal(out.array, same)
        assert out.is_intact()


def test_a_residual_that_is_not_finite_counts_as_nothing_and_a_huge_one_is_clipped(
    levels: list[Native],
) -> None:
    it = picture(46, 18, np.float32)
    for native in levels:
        plain = enhanced(native, it.with_residual(0))
        for odd, expected in (
            *((odd, plain) for odd in (np.nan, np.inf, -np.inf)),
            (3e38, [np.full_like(plane, 255) for plane in plain]),
            (-3e38, [np.full_like(plane, 0) for plane in plain]),
        ):
            for seen, same in zip(enhanced(native, it.with_residual(odd)), expected, strict=True):
                np.testing.assert_array_equal(seen, same)


@sizes
def test_packing_is_its_twin_at_every_level(levels: list[Native], width: int, height: int) -> None:
    planes = picture(width, height, np.uint8).planes
    rows, columns = planes[1].shape
    expected = reference.pack(planes, rows=rows, columns=columns, dtype=np.float32)
    for native in levels:
        out = Guarded(np.full((6, rows, columns), np.nan, np.float32))
        native_pack.pack(native, planes, out.array)
        np.testing.assert_array_equal(out.array, expected)
        assert out.is_intact()


def bad_sums(it: Picture) -> list[tuple[Callable[[Native], None], str]]:
    """What no kernel may see, and a word of what is said about each."""
    outs = blank(it)
    locked = outs[0].copy()
    locked.flags.writeable = False
    y, u, v = it.planes
    wide = np.zeros((outs[0].shape[0], 2 * outs[0].shape[1]), np.uint8)

    def adds(planes: list[Any], residual: NDArray[Any], out: list[Any]) -> Callable[[Native], None]:
        return lambda native: native_residual.add_residual(native, planes, residual, out)

    return [
        (adds([y, u], it.residual, outs), "allowed are three"),
        (adds([y[:-2], u, v], it.residual, outs), "Y of twice that"),
        (adds([y, u, v], it.residual[1:], outs), "a residual is"),
        (adds([y, u, v], it.residual[:, :, 1:], outs), "a residual is"),
        (adds([y, u, v], it.residual.astype(np.float64), outs), "float64"),
        (adds([y, u, v], np.repeat(it.residual, 2, axis=2)[:, :, ::2], outs), "contiguous"),
        (adds([y, u, v], it.residual[:, 1:], outs), "a residual is"),
        (adds([y, u, v], it.residual, [wide[:, ::2], *outs[1:]]), "contiguous"),
        (adds([y, u, v], it.residual, [outs[0][:-1], *outs[1:]]), "a plane is"),
        (adds([y.astype(np.int8), u, v], it.residual, outs), "int8"),
        (adds([y, u, v], it.residual, [locked, *outs[1:]]), "cannot be written"),
        (
            adds([y, outs[2][:9, :23], v], it.residual, [outs[0], outs[2], outs[1]]),
            "storage of its",
        ),
        (lambda native: native_residual.upscale(native, [], []), "1 to 3"),
        (lambda native: native_residual.upscale(native, [y[:0]], [y[:0]]), "a plane is"),
    ]


@pytest.mark.parametrize("number", range(14))
def test_a_sum_the_kernel_cannot_take_is_refused(levels: list[Native], number: int) -> None:
    call, word = bad_sums(picture(46, 18, np.uint8))[number]
    with pytest.raises(KernelError, match=word):
        call(levels[0])


def test_a_packing_the_kernel_cannot_take_is_refused(levels: list[Native]) -> None:
    y, u, v = picture(46, 18, np.uint8).planes
    good = np.zeros((6, 9, 23), np.float32)
    outs: list[Any] = [good[:5], good.astype(np.float64), np.repeat(good, 2, axis=2)[:, :, ::2]]
    for out in outs:
        with pytest.raises(KernelError, match="what is packed is"):
            native_pack.pack(levels[0], (y, u, v), out)
    for planes in ((y[1:], u, v), (y, u.astype(np.int8), v), (y, y[::2, ::2], v)):
        with pytest.raises(KernelError, match="a plane is"):
            native_pack.pack(levels[0], planes, good)  # type: ignore[arg-type]


def test_no_step_is_undefined(levels: list[Native], tmp_path: Path) -> None:
    checked = sanitized(tmp_path, "add_residual.cpp")
    for size, dtype in product(SIZES, (np.uint8, np.float32)):
        it = picture(*size, dtype)
        for seen, same in zip(enhanced(checked, it), enhanced(levels[0], it), strict=True):
            np.testing.assert_array_equal(seen, same)
