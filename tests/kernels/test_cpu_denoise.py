"""What is compiled about denoising, at every level: its twins, and what they are to be."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from kernels import native_denoise, reference, reference_denoise
from kernels.native import Native
from tests.kernels.cpu_denoises import (
    FARTHEST,
    FLOWS,
    SIZES,
    Change,
    Floats,
    Moved,
    Plane,
    changed,
    differences,
    followed,
    followed_twin,
    mixed,
    moved,
    picture,
)
from tests.kernels.cpu_warps import apart, runnable
from tests.kernels.host_build import sanitized
from tests.kernels.pictures import Guarded
from tests.streamer.pictures import texture

sizes = pytest.mark.parametrize(("rows", "columns"), SIZES)
flows = pytest.mark.parametrize("flow", FLOWS)


@pytest.fixture(params=runnable(), ids=lambda level: level.name)
def compiled(request: pytest.FixtureRequest) -> Native:
    level: Native = request.param
    return level


def found_in(it: Moved, packed: Floats) -> list[Plane]:
    """The planes of ``before`` that were looked up."""
    phases = [packed[6:10] * np.float32(219), packed[10:] * np.float32(224)]
    luma, chroma = (np.rint(part).astype(int) for part in phases)
    found = [plane.astype(int) for plane in it.now]
    for n, (row, column) in enumerate(np.ndindex(2, 2)):
        found[0][row::2, column::2] += luma[n]
    found[1:] = [plane + part for plane, part in zip(found[1:], chroma, strict=True)]
    assert all(plane.min() >= 0 and plane.max() <= 255 for plane in found)
    return [plane.astype(np.uint8) for plane in found]


def equal(seen: Sequence[NDArray[Any]], wanted: Sequence[NDArray[Any]]) -> None:
    for one, other in zip(seen, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("seed", range(3))
@flows
@sizes
def test_what_is_followed_is_its_twin(
    compiled: Native, rows: int, columns: int, flow: str, seed: int
) -> None:
    it, expected = followed_twin(rows, columns, flow, seed)
    np.testing.assert_array_equal(followed(compiled, it), expected)


def test_every_place_between_pixels_is_its_twin(compiled: Native) -> None:
    """A flow that is the same all over, of each step that there is, and of halves of one."""
    it = moved(9, 37, flow="nothing")
    for step in np.arange(-130, 131):
        flow = np.broadcast_to(
            np.array([step, 65 - step], np.float32) / np.float32(128), it.flow.shape
        ).copy()
        one, expected = Moved(it.before, it.now, flow), it.empty()
        reference_denoise.follow(one.before, one.now, one.flow, expected)
        np.testing.assert_array_equal(followed(compiled, one), expected)


@sizes
def test_what_is_no_number_is_looked_for_as_far_as_it_goes(
    compiled: Native, rows: int, columns: int
) -> None:
    """No search gives such a flow, and the twin does not say what it means."""
    it = moved(rows, columns, flow="far")
    numbers = np.random.default_rng([rows, columns])
    it.flow[numbers.random(it.flow.shape) < 0.3] = np.nan
    it.flow[0, 0] = (np.nan, -np.nan)
    same = Moved(it.before, it.now, np.nan_to_num(it.flow, nan=-FARTHEST))
    expected = it.empty()
    reference_denoise.follow(same.before, same.now, same.flow, expected)
    np.testing.assert_array_equal(followed(compiled, it), expected)


@sizes
def test_what_stands_is_taken_as_it_is(compiled: Native, rows: int, columns: int) -> None:
    it = moved(rows, columns, flow="nothing")
    seen = followed(compiled, it)
    expected = reference.pack(it.now, rows=rows, columns=columns, dtype=np.float32)
    np.testing.assert_array_equal(seen[:6], expected)
    equal(found_in(it, seen), it.before)
    assert not followed(compiled, Moved(it.now, it.now, it.flow))[6:].any()


@pytest.mark.parametrize(("x", "y"), [(1, 0), (0, -1), (-3, 2), (2.5, 0.5), (70, 9), (-9, -70)])
@pytest.mark.parametrize("sides", [(7, 20), (5, 130)])
def test_whole_pixels_are_copied_from_where_the_flow_leads_and_edges_repeat(
    compiled: Native, x: float, y: float, sides: tuple[int, int]
) -> None:
    """Of luma also halves of cells."""
    flow = np.empty((*sides, 2), np.float32)
    flow[:] = x, y
    it = Moved(picture(*sides, seed=1), picture(*sides, seed=2), flow)
    found = found_in(it, followed(compiled, it))
    for n, plane in enumerate(it.before):
        if n and x % 1:
            continue
        per_cell = 1 if n else 2
        rows = np.arange(plane.shape[0]) + int(per_cell * y)
        columns = np.arange(plane.shape[1]) + int(per_cell * x)
        rows, columns = rows.clip(0, len(rows) - 1), columns.clip(0, len(columns) - 1)
        np.testing.assert_array_equal(found[n], plane[rows][:, columns])


def test_cubic_weights_are_one_together_and_nearly_the_real_ones() -> None:
    shares = np.arange(reference_denoise.STEPS)
    whole = np.stack(reference_denoise.weights(shares))
    np.testing.assert_array_equal(whole.sum(0), 1024)
    np.testing.assert_array_equal(whole[:, 0], [0, 1024, 0, 0])
    # What is rounded away is the third one's.
    np.testing.assert_array_equal(whole[0, 1:], whole[3, :0:-1])
    real = np.stack(reference.cubic_weights((shares / 32).astype(np.float32)))
    off = np.abs(whole - 1024 * real)
    assert off[[0, 1, 3]].max() <= 0.5
    assert off[2].max() <= 1.5


def remapped(plane: Plane, flow: Floats) -> Plane:
    """As OpenCV looks it up, with finer weights."""
    y, x = np.mgrid[: plane.shape[0], : plane.shape[1]].astype(np.float32)
    places = x + flow[..., 0], y + flow[..., 1]
    found = cv2.remap(plane, *places, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.uint8)


def smooth(rows: int, columns: int, *, seed: int) -> Plane:
    """Of which neighbours differ by no more than 20: a 64th of a pixel is no whole code."""
    small = texture(width=columns // 4, height=rows // 4, seed=seed)
    return np.asarray(cv2.resize(small, (columns, rows), interpolation=cv2.INTER_CUBIC), np.uint8)


@pytest.mark.parametrize("bend", [0.0, 0.02])
def test_opencv_finds_the_same_within_a_code_on_a_smooth_picture(
    compiled: Native, bend: float
) -> None:
    """Also where motion is another from cell to cell: luma goes by a bilinear mean of four of them."""
    rows, columns = 48, 100
    sides = [(2 * rows, 2 * columns), *[(rows, columns)] * 2]
    before, now = (
        [smooth(*side, seed=n + seed) for n, side in enumerate(sides)] for seed in (1, 5)
    )
    y, x = np.mgrid[:rows, :columns]
    for step in range(64):
        flow = np.empty((rows, columns, 2), np.float32)
        flow[..., 0] = (step - 200) / 64 + bend * (x - y)
        flow[..., 1] = (77 - step) / 64 + bend * (y - 20)
        found = found_in(it := Moved(before, now, flow), followed(compiled, it))
        large = 2 * np.asarray(cv2.resize(flow, (2 * columns, 2 * rows)), np.float32)
        for plane, seen, field in zip(before, found, (large, flow, flow), strict=True):
            assert apart(seen, remapped(plane, field)).max() <= 1
            # A place that is a quarter of a pixel off would not do.
            assert apart(seen, remapped(plane, field + np.float32(0.25))).max() > 1


@pytest.mark.parametrize("turn", [1, -1])
@pytest.mark.parametrize("flow", ["nothing", "moderate", "far"])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (5, 65), (33, 150)])
def test_planes_and_what_is_filled_may_lie_anywhere(
    compiled: Native, rows: int, columns: int, flow: str, turn: int
) -> None:
    """``turn``: -1 where they lie upside down in memory."""
    it, expected = followed_twin(rows, columns, flow, 1)
    before, now = ([spaced(plane, turn=turn) for plane in each] for each in (it.before, it.now))
    out = Guarded(np.full((rows, 12, columns), np.nan, np.float32), padding=5, offset=1)
    turned = out.array.transpose(1, 0, 2)[:, ::turn]
    native_denoise.follow(compiled, before, now, it.flow, turned, range(rows))
    np.testing.assert_array_equal(turned, expected)
    assert out.is_intact()


def spaced(plane: Plane, *, turn: int) -> Plane:
    """The same cut out of a larger one of noise."""
    whole = Guarded(np.ascontiguousarray(plane[::turn]), padding=7, offset=3)
    return whole.array[::turn]


CUTS: list[Sequence[int]] = [(), (1,), (2, 3, 19, 32), range(1, 33), (5, 5)]


@pytest.mark.parametrize("flow", ["nothing", "moderate"])
def test_parts_are_what_the_whole_is_and_touch_no_other_rows(compiled: Native, flow: str) -> None:
    it, expected = followed_twin(33, 150, flow, 1)
    for cut in CUTS:
        seen = it.empty()
        for begin, end in pairwise([0, *cut, 33]):
            alone = it.empty()
            for out in (seen, alone):
                native_denoise.follow(compiled, it.before, it.now, it.flow, out, range(begin, end))
            np.testing.assert_array_equal(alone[:, begin:end], expected[:, begin:end])
            assert np.isnan(alone[:, :begin]).all()
            assert np.isnan(alone[:, end:]).all()
        np.testing.assert_array_equal(seen, expected)


@pytest.mark.parametrize("seed", range(4))
@sizes
def test_what_is_mixed_is_its_twin(compiled: Native, rows: int, columns: int, seed: int) -> None:
    it = changed(rows, columns, seed=seed)
    expected = it.empty()
    reference_denoise.mix(it.now, it.difference, it.change, expected)
    equal(mixed(compiled, it), expected)


def with_codes(it: Change, *, share: int, residual: int) -> Change:
    change = np.empty_like(it.change)
    change[:6], change[6:] = share, residual
    return Change(it.now, it.difference, change)


@flows
def test_a_share_of_255_takes_all_of_the_difference_and_one_of_0_nothing(
    compiled: Native, flow: str
) -> None:
    it, packed = followed_twin(33, 150, flow, 2)
    one = Change(it.now, packed[6:], np.zeros((12, 33, 150), np.uint8))
    equal(mixed(compiled, with_codes(one, share=255, residual=128)), found_in(it, packed))
    equal(mixed(compiled, with_codes(one, share=0, residual=128)), it.now)


@pytest.mark.parametrize("residual", [0, 1, 127, 128, 129, 255])
@pytest.mark.parametrize("share", [0, 1, 128, 254, 255])
def test_a_picture_plus_both_is_rounded_once_and_clipped(
    compiled: Native, share: int, residual: int
) -> None:
    """All code values there are and all differences, each of U, V and the phases of luma."""
    codes = np.broadcast_to(np.arange(-255, 256), (6, 256, 511))
    chroma = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 511, 1)
    luma = chroma.repeat(2, 0).repeat(2, 1)
    change = np.zeros((12, 256, 511), np.uint8)
    it = Change([luma, chroma, chroma], differences(codes), change)
    y, u, v = mixed(compiled, with_codes(it, share=share, residual=residual))
    # Of these shares no part is nearly a half.
    taken = np.rint(share * codes[0] / 255).astype(int)
    expected = (chroma + taken + residual - 128).clip(0, 255)
    equal([u, v], [expected, expected])
    np.testing.assert_array_equal(y, expected.repeat(2, 0).repeat(2, 1))


def test_each_phase_takes_its_own_share_to_half_a_code(compiled: Native) -> None:
    """All shares of all differences, while the other five phases take nothing."""
    codes = np.broadcast_to(np.arange(-255, 256), (6, 256, 511))
    shares = np.arange(256)[:, None]
    now = np.where(codes[0] < 0, 255, 0).astype(np.uint8)
    planes = [now.repeat(2, 0).repeat(2, 1), now, now]
    for phase in range(6):
        change = np.zeros((12, 256, 511), np.uint8)
        change[6:], change[phase] = 128, shares
        seen = mixed(compiled, Change(planes, differences(codes), change))
        row, column = np.s_[phase // 2 :: 2], np.s_[phase % 2 :: 2]
        plane = seen[max(phase - 3, 0)]
        place = (row, column) if phase < 4 else (np.s_[:], np.s_[:])
        taken = plane[place].astype(int) - now
        # 257 of 65536 is a little more than a 255th.
        assert np.abs(taken - shares * codes[0] / 255).max() < 0.502
        plane[place] = now
        equal(seen, planes)


@pytest.mark.parametrize("turn", [1, -1])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (5, 65), (33, 150)])
def test_planes_differences_and_changes_may_lie_anywhere(
    compiled: Native, rows: int, columns: int, turn: int
) -> None:
    it = changed(rows, columns)
    expected = mixed(compiled, it)
    # The second picture of two that were packed, in memory whose rows lie apart.
    difference = Guarded(it.difference.transpose(1, 0, 2)[::turn].copy(), padding=3, offset=1)
    change = Guarded(it.change.transpose(1, 0, 2)[::turn].copy(), padding=5, offset=3)
    given, wanted = (each.array.transpose(1, 0, 2)[:, ::turn] for each in (difference, change))
    now = [spaced(plane, turn=turn) for plane in it.now]
    outs = [Guarded(plane, padding=7, offset=3) for plane in it.empty()]
    planes = [out.array[::turn] for out in outs]
    native_denoise.mix(compiled, now, given, wanted, planes, range(rows))
    equal(planes, expected)
    assert all(each.is_intact() for each in (difference, change, *outs))


def test_parts_are_mixed_as_the_whole_is_and_touch_no_other_rows(compiled: Native) -> None:
    it = changed(33, 150)
    it.change[6:] = 40
    expected = mixed(compiled, it)
    for cut in CUTS:
        seen = it.empty()
        for begin, end in pairwise([0, *cut, 33]):
            alone, part = it.empty(), range(begin, end)
            for out in (seen, alone):
                native_denoise.mix(compiled, it.now, it.difference, it.change, out, part)
            for plane, same, lines in zip(alone, expected, (2, 1, 1), strict=True):
                here = slice(lines * begin, lines * end)
                np.testing.assert_array_equal(plane[here], same[here])
                assert (np.delete(plane, here, axis=0) == 99).all()
        equal(seen, expected)


def test_no_step_is_undefined(levels: list[Native], tmp_path: Path) -> None:
    checked = sanitized(tmp_path, "follow.cpp", "mix.cpp")
    for rows, columns in SIZES:
        for flow in FLOWS:
            it, expected = followed_twin(rows, columns, flow, 1)
            np.testing.assert_array_equal(followed(checked, it), expected)
        one = changed(rows, columns)
        equal(mixed(checked, one), mixed(levels[0], one))
