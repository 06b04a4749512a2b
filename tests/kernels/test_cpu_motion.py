"""What is compiled about motion, at every level this processor runs, on real and hostile pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from kernels.errors import KernelError
from kernels.native import Native
from kernels.native_motion import Floats, FlowCalls, GuideCalls, Plane
from streamer.ops.both import both
from tests.kernels.cpu_warps import runnable
from tests.streamer.pictures import texture

WIDTH, HEIGHT = 160, 96
SIZES = [(WIDTH, HEIGHT), (16, 16), (17, 23), (8, 8), (213, 121), (64, 9)]


@pytest.fixture(params=runnable(), ids=lambda level: level.name)
def compiled(request: pytest.FixtureRequest) -> Native:
    level: Native = request.param
    return level


def flat(width: int, height: int) -> tuple[Plane, Plane]:
    return np.zeros((height, width), np.uint8), np.full((height, width), 255, np.uint8)


def same(width: int, height: int) -> tuple[Plane, Plane]:
    return (texture(width=width, height=height),) * 2


def cut(width: int, height: int) -> tuple[Plane, Plane]:
    return (
        texture(width=width, height=height),
        texture(width=width, height=height, moved=(40.0, 9.0), seed=9),
    )


def noise(width: int, height: int) -> tuple[Plane, Plane]:
    first, second = np.random.default_rng(3).integers(0, 256, (2, height, width), np.uint8)
    return first, second


def stripes(width: int, height: int) -> tuple[Plane, Plane]:
    """No gradient down, and the strongest there is across."""
    first = np.zeros((height, width), np.uint8)
    first[:, ::2] = 255
    return first, 255 - first


PAIRS = [flat, same, cut, noise, stripes]

Pairs = Callable[[int, int], tuple[Plane, Plane]]


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("pairs", PAIRS)
def test_flow_is_finite_and_stays_near_the_picture(
    compiled: Native, pairs: Pairs, width: int, height: int
) -> None:
    calls = FlowCalls(compiled)
    start, end = pairs(width, height)
    flow = calls.search(start, end)
    calls.complete(flow, start, end)
    assert flow.shape == (height, width, 2)
    assert np.isfinite(flow).all()
    assert np.abs(flow).max() < 3 * max(width, height) + 16


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_pictures_that_are_the_same_do_not_move(compiled: Native, width: int, height: int) -> None:
    calls = FlowCalls(compiled)
    start, end = same(width, height)
    flow = calls.search(start, end)
    calls.complete(flow, start, end)
    assert not flow.any()


@pytest.mark.parametrize(
    ("moved", "size"),
    [((0.25, 0.0), 1), ((1.0, -1.0), 1), ((-3.5, 2.25), 1), ((14.0, 9.0), 4), ((-20.0, 4.0), 4)],
)
def test_small_and_large_motions_are_found(
    compiled: Native, moved: tuple[float, float], size: int
) -> None:
    """``size``: of waves; what moves farther than half of one looks as if it moved elsewhere."""

    def at(x: float, y: float) -> Plane:
        waves = texture(width=WIDTH // size, height=HEIGHT // size, moved=(x / size, y / size))
        enlarged = cv2.resize(waves, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        return np.asarray(enlarged, dtype=np.uint8)

    flow = FlowCalls(compiled).search(at(0.0, 0.0), at(*moved))
    off = np.abs(flow - np.array(moved, np.float32))[24:-24, 24:-24].max(axis=-1)
    # Where gradients are faint, motion stays near what the coarser picture said.
    assert np.median(off) < 0.1 * size
    assert np.quantile(off, 0.95) < 0.3 * size


def test_a_picture_that_only_becomes_brighter_does_not_move(compiled: Native) -> None:
    start = texture(width=WIDTH, height=HEIGHT) // 2
    flow = FlowCalls(compiled).search(start, start + np.uint8(40))
    assert np.abs(flow).max() < 0.05


def test_all_levels_of_processor_find_the_same(levels: list[Native]) -> None:
    first, second = cut(213, 121)
    found: list[list[Floats]] = []
    for level in levels:
        calls = FlowCalls(level)
        ahead, back = calls.search(first, second), calls.search(second, first)
        calls.complete(ahead, first, second)
        maps, motion = (np.empty((layers, 61, 107), np.float32) for layers in (6, 5))
        GuideCalls(level, both).make((first, second), (ahead, back), 0.5, maps=maps, motion=motion)
        found.append([ahead, back, maps, motion])
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            assert np.array_equal(one, two)


def test_rows_that_lie_apart_and_upside_down_are_read_as_they_lie(compiled: Native) -> None:
    calls = FlowCalls(compiled)
    whole = [texture(width=WIDTH + 8, height=HEIGHT, moved=(x, 0.0)) for x in (0.0, 3.0)]
    for view in (np.s_[:, 3:-5], np.s_[::-1, :-8], np.s_[::2, 8:]):
        start, end = (picture[view] for picture in whole)
        wanted = calls.search(np.ascontiguousarray(start), np.ascontiguousarray(end))
        assert np.array_equal(calls.search(start, end), wanted)


def test_sizes_in_turn_do_not_disturb_each_other(compiled: Native) -> None:
    calls = FlowCalls(compiled)
    for width, height in [*SIZES, *SIZES[::-1]]:
        start, end = cut(width, height)
        assert np.array_equal(calls.search(start, end), FlowCalls(compiled).search(start, end))


@pytest.mark.parametrize("time", [0.0, 0.25, 0.5, 1.0, 2.0, 40.0])
@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("pairs", PAIRS)
def test_guides_are_finite_and_in_their_range(
    compiled: Native, pairs: Pairs, width: int, height: int, time: float
) -> None:
    flows = np.random.default_rng(4).normal(0, 30, (2, height, width, 2)).astype(np.float32)
    flows[0, 0, 0] = (np.nan, np.inf)
    flows[1, -1, -1] = (-1e30, 1e30)
    rows, columns = (height + 1) // 2, (width + 1) // 2
    maps = np.full((6, rows, columns), np.nan, np.float32)
    pictures = np.full((6, 2 * rows, 2 * columns), np.nan, np.float32)
    GuideCalls(compiled, both).make(
        pairs(width, height), (flows[0], flows[1]), time, maps=maps, pictures=pictures
    )
    assert np.isfinite(pictures).all()
    assert pictures.min() >= 0
    assert pictures.max() <= 1 + 1e-6
    mask, softness = maps[4:]
    assert ((mask >= 0) & (mask <= 1)).all()
    assert ((softness >= 0) & (softness <= 1 + 1e-6)).all()


def coarse(flow: Floats) -> Floats:
    """On cells of two by two pixels, in cells."""
    down, across = (side % 2 for side in flow.shape[:2])
    even = np.pad(flow, ((0, down), (0, across), (0, 0)), mode="edge")
    rows = even[:, ::2] + even[:, 1::2]
    return np.float32(0.125) * (rows[::2] + rows[1::2])


def carried(flow: Floats, share: float) -> Floats:
    """A flow where its cells are after a share of it, looked up twice."""
    height, width = flow.shape[:2]
    found = flow
    for _ in range(2):
        x = np.arange(width, dtype=np.float32) + np.float32(share) * found[..., 0]
        y = np.arange(height, dtype=np.float32)[:, None] + np.float32(share) * found[..., 1]
        x, y = x.clip(0, width - 1), y.clip(0, height - 1)
        left, top = x.astype(int), y.astype(int)
        right, under = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
        across = (x - left.astype(np.float32))[..., None]
        down = (y - top.astype(np.float32))[..., None]
        upper = flow[top, left] + across * (flow[top, right] - flow[top, left])
        lower = flow[under, left] + across * (flow[under, right] - flow[under, left])
        found = upper + down * (lower - upper)
    return found


@pytest.mark.parametrize("time", [0.0, 0.25, 0.5, 1.5, 3.0])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_motions_are_the_flows_where_their_pixels_are_at_the_time(
    compiled: Native, width: int, height: int, time: float
) -> None:
    numbers = np.random.default_rng([width, height])
    flows = numbers.normal(0, 4, (2, height, width, 2)).astype(np.float32)
    rows, columns = (height + 1) // 2, (width + 1) // 2
    maps = np.empty((6, rows, columns), np.float32)
    motion = np.full((5, rows, columns), np.nan, np.float32)
    GuideCalls(compiled, both).make(
        cut(width, height), (flows[0], flows[1]), time, maps=maps, motion=motion
    )
    ahead, back = carried(coarse(flows[0]), -time), -carried(coarse(flows[1]), time - 1)
    expected = np.concatenate([ahead, back, np.full((rows, columns, 1), time)], axis=2)
    assert np.array_equal(motion, expected.transpose(2, 0, 1).astype(np.float32))


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_what_is_larger_than_the_picture_repeats_its_edge(
    compiled: Native, width: int, height: int
) -> None:
    pair = cut(width, height)
    flows = np.random.default_rng(4).normal(0, 4, (2, height, width, 2)).astype(np.float32)
    rows, columns = (height + 1) // 2, (width + 1) // 2
    made: list[list[Floats]] = []
    for down, across in ((0, 0), (3, 0), (0, 1), (2, 9)):
        sides = rows + down, columns + across
        arrays = [
            np.full((layers, *(part * side for side in sides)), np.nan, np.float32)
            for layers, part in ((6, 1), (6, 2), (5, 1))
        ]
        maps, pictures, motion = arrays
        GuideCalls(compiled, both).make(
            pair, (flows[0], flows[1]), 0.5, maps=maps, pictures=pictures, motion=motion
        )
        made.append(arrays)
        for small, large, part in zip(made[0], arrays, (1, 2, 1), strict=True):
            beyond = ((0, 0), (0, part * down), (0, part * across))
            assert np.array_equal(large, np.pad(small, beyond, mode="edge"))


def test_pictures_the_search_cannot_take_are_refused(levels: list[Native]) -> None:
    best = levels[-1]
    calls, good = FlowCalls(best), texture(width=32, height=24)
    pictures: list[Any] = [
        good[:7],
        good.astype(np.float32),
        good[:, ::2],
        np.empty((24, 8200), np.uint8),
        np.empty((2, 24, 32), np.uint8),
    ]
    for bad in pictures:
        with pytest.raises(KernelError, match=r"a picture is .*; allowed is"):
            calls.search(bad, bad)
    with pytest.raises(KernelError, match=r"give two of one size"):
        calls.search(good, good[:-1])
    with pytest.raises(KernelError, match=r"a flow is .*; allowed is"):
        calls.complete(np.zeros((24, 31, 2), np.float32), good, good)
    flow = calls.search(good, good)
    shapes: list[tuple[tuple[int, ...], ...]] = [
        ((6, 12, 15), (6, 24, 32), (5, 12, 16)),
        ((6, 12), (6, 24, 32), (5, 12, 16)),
        ((6, 12, 16), (6, 24, 34), (5, 12, 16)),
        ((6, 12, 17), (6, 24, 34), (5, 12, 16)),
    ]
    for shape in shapes:
        maps, seen, motion = (np.empty(sides, np.float32) for sides in shape)
        with pytest.raises(KernelError, match=r"planes are .*; allowed is"):
            GuideCalls(best, both).make(
                (good, good), (flow, flow), 0.5, maps=maps, pictures=seen, motion=motion
            )
