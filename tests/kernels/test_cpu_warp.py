"""The warp that is compiled for processors: its twin, and the same at every level."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kernels.errors import KernelError
from kernels.native import Native
from kernels.native_warp import Maps, WarpCall, scratch_bytes
from tests.kernels.cpu_warps import (
    SIZES,
    Case,
    apart,
    calm,
    case,
    made,
    twin,
    warped,
    zooming,
)
from tests.kernels.host_build import sanitized
from tests.kernels.pictures import Guarded

ROOT = Path(__file__).parent.parent.parent

how = pytest.mark.parametrize("is_sharp", [False, True])
sizes = pytest.mark.parametrize(("width", "height", "cell"), SIZES)
wildness = pytest.mark.parametrize("is_wild", [False, True])


def still(it: Case) -> Case:
    """The same planes, where nothing moves."""
    return replace(it, maps=replace(it.maps, flow=np.zeros_like(it.maps.flow)))


@how
@wildness
@sizes
def test_a_warp_is_within_one_code_value_of_its_twin(
    levels: list[Native], width: int, height: int, cell: float, *, is_wild: bool, is_sharp: bool
) -> None:
    """It holds shares and codes in fewer bits: some that lie near a half are rounded otherwise."""
    it = case(width, height, cell, is_wild=is_wild, is_finished=False)
    difference = apart(made(levels[0], it, is_sharp=is_sharp), twin(it, is_sharp=is_sharp))
    assert difference.max() <= 1
    assert difference.sum() <= max(1, 0.02 * difference.size)


@wildness
@sizes
def test_a_finished_plane_is_within_one_code_value_of_its_twin(
    levels: list[Native], width: int, height: int, cell: float, *, is_wild: bool
) -> None:
    """Of the same made plane: here the first one, copied."""
    it = still(case(width, height, cell, is_wild=is_wild))
    it = replace(it, maps=replace(it.maps, mask=np.ones_like(it.maps.mask)))
    difference = apart(made(levels[0], it, is_sharp=False), twin(it, is_sharp=False))
    assert difference.max() <= 1
    assert difference.sum() <= max(1, 0.05 * difference.size)


@how
@wildness
@sizes
def test_every_level_makes_the_same_plane(
    levels: list[Native], width: int, height: int, cell: float, *, is_wild: bool, is_sharp: bool
) -> None:
    it = case(width, height, cell, is_wild=is_wild)
    plain = made(levels[0], it, is_sharp=is_sharp)
    assert plain.max() > plain.min() or plain.size == 1
    for native in levels[1:]:
        np.testing.assert_array_equal(made(native, it, is_sharp=is_sharp), plain)


@how
@pytest.mark.parametrize("size", [(300, 70, 8.0), (700, 40, 16.0), (320, 90, 4.0)])
@pytest.mark.parametrize("motion", [calm, zooming])
def test_short_motions_give_the_twin_within_one_code_value_and_the_same_at_every_level(
    levels: list[Native],
    size: tuple[int, int, float],
    motion: Callable[[Case], Case],
    *,
    is_sharp: bool,
) -> None:
    it = motion(case(*size, is_finished=False))
    plain = made(levels[0], it, is_sharp=is_sharp)
    difference = apart(plain, twin(it, is_sharp=is_sharp))
    assert difference.max() <= 1
    assert difference.sum() <= max(1, 0.02 * difference.size)
    for native in levels[1:]:
        np.testing.assert_array_equal(made(native, it, is_sharp=is_sharp), plain)


@how
@sizes
def test_rows_can_be_made_apart_in_planes_of_any_stride(
    levels: list[Native], width: int, height: int, cell: float, *, is_sharp: bool
) -> None:
    it = case(width, height, cell, is_wild=True)
    first, second = Guarded(it.first, padding=7, offset=1), Guarded(it.second, padding=1)
    out = Guarded(it.empty(), padding=3, offset=5)
    # Upside down: the stride is negative.
    turned = np.ascontiguousarray(second.array[::-1])[::-1]
    trio = (first.array, turned, out.array)
    warped(levels[-1], [trio], it.maps, is_sharp=is_sharp, rows=(height // 3, height // 2))
    np.testing.assert_array_equal(out.array, made(levels[-1], it, is_sharp=is_sharp))
    assert out.is_intact()
    assert first.is_intact()


def test_two_planes_at_once_are_as_each_of_them(levels: list[Native]) -> None:
    it = case(300, 70, 8.0, is_finished=False)
    other = replace(it, first=it.second, second=it.first)
    # Rows of the second lie elsewhere than those of the first.
    apart_rows = Guarded(it.second, padding=9).array
    outs = it.empty(), it.empty()
    warped(levels[-1], [(it.first, it.second, outs[0]), (apart_rows, it.first, outs[1])], it.maps)
    np.testing.assert_array_equal(outs[0], made(levels[-1], it, is_sharp=False))
    np.testing.assert_array_equal(outs[1], made(levels[-1], other, is_sharp=False))


@how
@pytest.mark.parametrize("odd", [1e4, -1e4, 3e38, np.inf, -np.inf, np.nan])
def test_a_flow_to_far_away_gives_the_edge_it_points_to(
    levels: list[Native], odd: float, *, is_sharp: bool
) -> None:
    it = case(300, 70, 8.0, is_finished=False)
    flow = np.full_like(it.maps.flow, odd)
    it = replace(it, maps=replace(it.maps, flow=flow, mask=np.ones_like(it.maps.mask)))
    corner = it.first[-1, -1] if odd > 0 and odd < np.inf else it.first[0, 0]
    assert (made(levels[-1], it, is_sharp=is_sharp) == corner).all()


@how
def test_whole_motions_copy_samples(levels: list[Native], *, is_sharp: bool) -> None:
    it = case(300, 70, 8.0, is_finished=False)
    flow = np.zeros_like(it.maps.flow)
    flow[0], flow[1] = 3 / 8, -2 / 8
    it = replace(it, maps=replace(it.maps, flow=flow, mask=np.ones_like(it.maps.mask)))
    rows, columns = np.arange(70) - 2, np.arange(300) + 3
    moved = it.first[rows.clip(0, 69)][:, columns.clip(0, 299)]
    np.testing.assert_array_equal(made(levels[-1], it, is_sharp=is_sharp), moved)


def test_where_one_plane_has_the_whole_share_the_other_is_not_seen(levels: list[Native]) -> None:
    it = case(300, 70, 8.0, is_finished=False)
    for share in (1.0, 0.0):
        it = replace(it, maps=replace(it.maps, mask=np.full_like(it.maps.mask, share)))
        blank = replace(it, second=it.empty()) if share else replace(it, first=it.empty())
        expected = made(levels[-1], it, is_sharp=False)
        np.testing.assert_array_equal(made(levels[-1], blank, is_sharp=False), expected)


def bad(it: Case) -> list[tuple[list[tuple[object, ...]], Maps, str]]:
    """Trios and maps that no kernel may see, and a word of what is said about each."""
    fine = (it.first, it.second, it.empty())
    maps, flow, mask = it.maps, it.maps.flow, it.maps.mask
    whole = np.zeros((2, *it.shape), np.uint8)
    locked = it.empty()
    locked.flags.writeable = False
    wide = np.zeros((it.shape[0], 2 * it.shape[1]), np.uint8)
    return [
        ([fine, fine], maps, "2 planes"),
        ([], maps, "0 planes"),
        ([(it.first, it.first[1:], it.empty())], maps, "a plane is"),
        ([(it.first, it.first.astype(np.int8), it.empty())], maps, "int8"),
        ([(it.first, wide[:, ::2], it.empty())], maps, "contiguous"),
        ([(it.first, whole[0], whole[0])], maps, "one of those"),
        ([(it.first, it.second, locked)], maps, "cannot be written"),
        ([(it.first, it.second, np.broadcast_to(it.first[:1], it.shape))], maps, "written"),
        ([fine], replace(maps, flow=flow[:3]), "flow is"),
        ([fine], replace(maps, flow=flow.astype(np.float64)), "float64"),
        ([fine], replace(maps, mask=np.repeat(mask, 2, axis=1)[:, ::2]), "contiguous"),
        ([fine], replace(maps, softness=None), "only one of"),
        ([fine], replace(maps, extent=(0.0, 1.0)), "above 0"),
    ]


@pytest.mark.parametrize("number", range(13))
def test_what_the_kernel_cannot_take_is_refused(levels: list[Native], number: int) -> None:
    trios, maps, word = bad(case(46, 18, 4.0))[number]
    with pytest.raises(KernelError, match=word):
        WarpCall(levels[0], trios, maps, is_sharp=False)  # type: ignore[arg-type]


def test_rows_and_scratch_are_checked(levels: list[Native]) -> None:
    it = case(46, 18, 4.0)
    call = WarpCall(levels[0], [(it.first, it.second, it.empty())], it.maps, is_sharp=False)
    enough = np.zeros(scratch_bytes(46, it.maps.mask.shape[1]), np.uint8)
    for begin, end in ((-1, 5), (5, 4), (0, 19)):
        with pytest.raises(KernelError, match="rows"):
            call.make(begin, end, enough)
    for scratch in (enough[1:], np.zeros((enough.size, 2), np.uint8)[:, 0]):
        with pytest.raises(KernelError, match="scratch"):
            call.make(0, 18, scratch)


@pytest.mark.usefixtures("levels")
def test_nothing_outside_the_arrays_is_touched() -> None:
    """In a process of its own, which a signal ends at the first such access."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.kernels.cpu_fences"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr.strip().splitlines()[-1:]
    assert int(done.stdout) >= 4 * len(SIZES)


def test_no_step_is_undefined(levels: list[Native], tmp_path: Path) -> None:
    checked = sanitized(tmp_path, "warp.cpp")
    for size in SIZES:
        for is_sharp in (False, True):
            it = case(*size, is_wild=True)
            seen = made(checked, it, is_sharp=is_sharp)
            np.testing.assert_array_equal(seen, made(levels[0], it, is_sharp=is_sharp))
