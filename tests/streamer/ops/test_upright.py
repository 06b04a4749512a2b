from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from streamer.frame import Plane, Planes
from streamer.ops.upright import Turn, turn_stated, upright

ONE = 1 << 16

TURNED: dict[tuple[int, int, int, int], Callable[[Plane], Plane]] = {
    (ONE, 0, 0, ONE): lambda plane: plane,
    (0, -ONE, ONE, 0): lambda plane: np.rot90(plane, 1),
    (-ONE, 0, 0, -ONE): lambda plane: np.rot90(plane, 2),
    (0, ONE, -ONE, 0): lambda plane: np.rot90(plane, 3),
    (-ONE, 0, 0, ONE): np.fliplr,
    (ONE, 0, 0, -ONE): np.flipud,
    (0, ONE, ONE, 0): lambda plane: plane.T,
    (0, -ONE, -ONE, 0): lambda plane: np.rot90(plane, 2).T,
}
"""What each matrix (a, b, c, d) makes of a plane."""


def planes() -> Planes:
    values = np.random.default_rng(1)
    luma = values.integers(0, 256, (4, 6), dtype=np.uint8)
    return (luma, luma[::2, ::2].copy(), luma[1::2, 1::2].copy())


def matrix(a: int, b: int, c: int, d: int) -> bytes:
    return np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], np.int32).tobytes()


@pytest.mark.parametrize("stated", TURNED)
def test_a_picture_is_held_as_its_matrix_says(stated: tuple[int, int, int, int]) -> None:
    ours = upright(planes(), turn_stated(matrix(*stated)))
    for plane, before in zip(ours, planes(), strict=True):
        np.testing.assert_array_equal(plane, TURNED[stated](before))
        assert plane.flags.c_contiguous


def test_nothing_is_copied_where_nothing_is_stated() -> None:
    before = planes()
    assert upright(before, Turn()) is before


def test_a_slant_counts_as_the_nearest_quarter() -> None:
    # 89 and 2 degrees.
    assert turn_stated(matrix(1144, -65526, 65526, 1144)).is_transposed
    assert turn_stated(matrix(65496, -2287, 2287, 65496)) == Turn()
