"""What is compiled about sharpening, at every level: its twin, and what it is to be."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels import native_sharpen, reference_sharpen
from kernels.native import Native
from tests.kernels.cpu_sharpens import (
    ENDS,
    KINDS,
    SIZES,
    STRENGTHS,
    Plane,
    blank,
    ends,
    noise,
    sharpened,
    soft,
    twin,
)
from tests.kernels.cpu_warps import runnable
from tests.kernels.host_build import sanitized
from tests.kernels.pictures import Guarded

sizes = pytest.mark.parametrize(("rows", "columns"), SIZES)
ranges = pytest.mark.parametrize(("black", "white"), ENDS)
kinds = pytest.mark.parametrize("kind", KINDS)

LIMIT = 3 / 16
"""Of the lobe."""


@pytest.fixture(params=runnable(), ids=lambda level: level.name)
def compiled(request: pytest.FixtureRequest) -> Native:
    level: Native = request.param
    return level


def around(luma: Plane) -> NDArray[np.float64]:
    """(5, H, W): each pixel and its neighbours above, below, left and right; edges are repeated."""
    wide = np.pad(luma.astype(np.float64), 1, mode="edge")
    inner = np.s_[1:-1]
    return np.stack(
        [wide[inner, inner], wide[:-2, inner], wide[2:, inner], wide[inner, :-2], wide[inner, 2:]]
    )


def by_the_paper(luma: Plane, strength: float, black: int, white: int) -> NDArray[np.float64]:
    """RCAS as it was published, not rounded; by ratios of light, with divisions as they stand there."""
    e, *others = (around(luma) - black) / (white - black)
    inside, total = np.clip(others, 0, 1), np.sum(others, axis=0)
    least, most, pixel = inside.min(0), inside.max(0), e.clip(0, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        to_black = np.minimum(least, pixel) / (4 * most)
        to_white = (1 - np.maximum(most, pixel)) / (4 * least - 4)
    # What is nothing by nothing is black or white all around.
    lobe = np.maximum(-np.nan_to_num(to_black), np.nan_to_num(to_white)).clip(-LIMIT, 0) * strength
    return np.asarray(black + (white - black) * (lobe * total + e) / (4 * lobe + 1))


@ranges
@kinds
@sizes
def test_what_is_sharpened_is_its_twin(
    compiled: Native, rows: int, columns: int, kind: str, black: int, white: int
) -> None:
    luma = KINDS[kind](rows, columns)
    for strength in STRENGTHS:
        expected = twin(luma, strength, black, white)
        np.testing.assert_array_equal(sharpened(compiled, luma, strength, black, white), expected)


@ranges
@kinds
def test_it_is_what_was_published_to_half_a_code(
    compiled: Native, kind: str, black: int, white: int
) -> None:
    luma = KINDS[kind](33, 643)
    for strength in STRENGTHS:
        seen = sharpened(compiled, luma, strength, black, white)
        off = np.abs(seen - by_the_paper(luma, strength, black, white))
        assert off.max() < 0.501


@kinds
@sizes
def test_a_strength_of_zero_changes_nothing(
    compiled: Native, rows: int, columns: int, kind: str
) -> None:
    luma = KINDS[kind](rows, columns)
    np.testing.assert_array_equal(sharpened(compiled, luma, 0.0, 16, 235), luma)


@ranges
@pytest.mark.parametrize("strength", STRENGTHS)
def test_what_is_flat_stays_as_it_is(
    compiled: Native, black: int, white: int, strength: float
) -> None:
    for code in range(256):
        luma = np.full((3, 35), code, np.uint8)
        np.testing.assert_array_equal(sharpened(compiled, luma, strength, black, white), luma)


@ranges
def test_what_is_at_black_or_white_or_beyond_stays_and_so_do_its_neighbours(
    compiled: Native, black: int, white: int
) -> None:
    for luma in (ends(33, 643), noise(33, 643)):
        five = around(luma)
        is_fixed = (five.min(0) <= black) | (five.max(0) >= white)
        assert is_fixed.mean() > 0.1
        seen = sharpened(compiled, luma, 1.0, black, white)
        np.testing.assert_array_equal(seen[is_fixed], luma[is_fixed])
        assert not np.array_equal(seen, luma)


@ranges
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_nothing_that_lies_between_black_and_white_leaves_them(
    compiled: Native, black: int, white: int, strength: float
) -> None:
    numbers = np.random.default_rng(5)
    for margin in (1, 2, 5, 40):
        luma = numbers.integers(black + margin, white - margin, (70, 257), np.uint8, endpoint=True)
        seen = sharpened(compiled, luma, strength, black, white)
        assert black <= seen.min() <= seen.max() <= white


@ranges
def test_a_full_lobe_takes_a_lone_pixel_all_the_way_to_black_or_white(
    compiled: Native, black: int, white: int
) -> None:
    for end, inwards in ((black, 1), (white, -1)):
        luma = np.full((3, 3), end + 30 * inwards, np.uint8)
        luma[1, 1] = end + 20 * inwards
        assert sharpened(compiled, luma, 1.0, black, white)[1, 1] == end


def test_an_edge_gets_steeper_with_strength_and_stays_within_the_range(compiled: Native) -> None:
    row = np.array([60] * 8 + [70, 85, 155, 170] + [180] * 8, np.uint8)
    luma = np.repeat(row[None], 9, axis=0)
    steps = [
        np.diff(sharpened(compiled, luma, strength, 16, 235)[4].astype(int)).max()
        for strength in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    assert steps == sorted(set(steps)), "each is steeper than the one before"
    seen = sharpened(compiled, luma, 1.0, 16, 235)[4]
    assert seen.min() >= 16
    assert seen.max() <= 235
    # Where all five are alike nothing rings.
    np.testing.assert_array_equal(
        seen[[*range(7), *range(13, 20)]], row[[*range(7), *range(13, 20)]]
    )


def test_upside_down_and_turned_pictures_are_sharpened_alike(compiled: Native) -> None:
    luma = soft(40, 61)
    expected = sharpened(compiled, luma, 0.7, 16, 235)
    for turn in (np.flipud, np.fliplr, np.transpose):
        turned = np.ascontiguousarray(turn(luma))
        np.testing.assert_array_equal(sharpened(compiled, turned, 0.7, 16, 235), turn(expected))


@pytest.mark.parametrize("turn", [1, -1])
@sizes
def test_planes_may_lie_anywhere(compiled: Native, rows: int, columns: int, turn: int) -> None:
    """``turn``: -1 where they lie upside down in memory."""
    luma = noise(rows, columns)
    expected = twin(luma, 0.5, 16, 235)
    given = Guarded(np.ascontiguousarray(luma[::turn]), padding=7, offset=3)
    out = Guarded(blank(luma), padding=5, offset=1)
    native_sharpen.sharpen(
        compiled,
        given.array[::turn],
        out.array[::turn],
        range(rows),
        strength=0.5,
        black=16,
        white=235,
    )
    np.testing.assert_array_equal(out.array[::turn], expected)
    assert given.is_intact()
    assert out.is_intact()


@pytest.mark.parametrize("cut", [(), (1,), (2, 3, 19, 32), tuple(range(1, 33)), (5, 5)])
def test_parts_are_what_the_whole_is_and_touch_no_other_rows(
    compiled: Native, cut: tuple[int, ...]
) -> None:
    luma = soft(33, 300)
    expected = twin(luma, 0.5, 16, 235)
    how = {"strength": 0.5, "black": 16, "white": 235}
    for begin, end in pairwise([0, *cut, 33]):
        rows, ours, theirs = range(begin, end), blank(luma), blank(luma)
        native_sharpen.sharpen(compiled, luma, ours, rows, **how)  # type: ignore[arg-type]
        reference_sharpen.sharpen(luma, theirs, rows, **how)  # type: ignore[arg-type]
        for seen in (ours, theirs):
            np.testing.assert_array_equal(seen[begin:end], expected[begin:end])
            assert (np.delete(seen, np.s_[begin:end], axis=0) == 99).all()


def test_no_step_is_undefined(tmp_path: Path) -> None:
    checked = sanitized(tmp_path, "sharpen.cpp")
    for kind in KINDS.values():
        for size in SIZES:
            for black, white in ENDS:
                luma = kind(*size)
                expected = twin(luma, 1.0, black, white)
                seen = sharpened(checked, luma, 1.0, black, white)
                np.testing.assert_array_equal(seen, expected)
