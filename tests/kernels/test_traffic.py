"""What calls have to move, counted in the arrays that the twins take and give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels import launch, reference
from kernels.arguments import RESIDUAL_ZERO, Difference, Health, Layout, Precision
from kernels.traffic import _MOVED, bytes_moved
from kernels.units import UNITS
from tests.kernels.guides import cells, grid_of, wild_flow, wild_map
from tests.kernels.pictures import (
    FLOATS,
    RESIDUALS,
    Counts,
    Guarded,
    HostPicture,
    noise,
    random_samples,
    tensor,
)

SIZES = [(16, 8), (37, 21), (1, 1)]


def size_of(*arrays: NDArray[Any]) -> int:
    return sum(array.nbytes for array in arrays)


def test_every_unit_is_counted() -> None:
    assert set(_MOVED) == {unit.file for unit in UNITS}


@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize("precision", list(FLOATS))
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_packing_reads_the_picture_and_writes_all_of_the_input(
    layout: Layout, precision: Precision, width: int, height: int
) -> None:
    small = HostPicture(noise(layout, width=width, height=height), layout, padding=7)
    rows, columns = (height + 1) // 2 + 3, (width + 1) // 2 + 5
    made = reference.pack(small.planes, rows=rows, columns=columns, dtype=FLOATS[precision])
    call = launch.pack(small.picture(), tensor(Guarded(made), precision))
    assert bytes_moved(call) == size_of(*small.planes, made)


@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize("precision", list(RESIDUALS))
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_adding_a_residual_reads_the_values_that_the_output_shows(
    layout: Layout, precision: Precision, scale: int, width: int, height: int
) -> None:
    small = HostPicture(noise(layout, width=width, height=height), layout)
    rows, columns = (height + 1) // 2 + 1, (width + 1) // 2 + 2
    zero = RESIDUAL_ZERO if precision is Precision.CODES else 0
    residual = np.full((6 * scale**2, rows, columns), zero, RESIDUALS[precision])
    plain = reference.add_residual(small.planes, residual, scale=scale)
    large = HostPicture(plain, layout, padding=3)
    call = launch.add_residual(
        small.picture(), tensor(Guarded(residual), precision), large.picture(), scale=scale
    )
    # What a value changes in the output is where it is needed: one sample each.
    most, least = (255, 0) if precision is Precision.CODES else (300, -300)
    added = reference.add_residual(small.planes, np.full_like(residual, most), scale=scale)
    taken = reference.add_residual(small.planes, np.full_like(residual, least), scale=scale)
    needed = sum(int((a != t).sum()) for a, t in zip(added, taken, strict=True))
    expected = size_of(*small.planes, *plain) + needed * residual.itemsize
    assert bytes_moved(call) == expected


@pytest.mark.parametrize("layout", [Layout.NV12, Layout.P010])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_splitting_pairs_reads_a_picture_and_writes_one(
    layout: Layout, width: int, height: int
) -> None:
    pairs = HostPicture(noise(layout, width=width, height=height), layout, padding=3)
    made = HostPicture(reference.planar(pairs.planes), Layout.YUV420P, padding=1)
    call = launch.planar(pairs.picture(), made.picture())
    assert bytes_moved(call) == size_of(*pairs.planes, *made.planes)


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize(("width", "height"), [(16, 8), (37, 21)])
def test_halving_leaves_the_odd_edge_unread(bits: int, width: int, height: int) -> None:
    luma = random_samples((height, width), bits, np.random.default_rng(1))
    made = reference.half(luma)
    call = launch.half(Guarded(luma, padding=4).plane(), Guarded(made).plane())
    read = luma[: 2 * (height // 2), : 2 * (width // 2)]
    assert bytes_moved(call) == size_of(read, made)


@pytest.mark.parametrize("precision", list(FLOATS))
@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("looked_up", ["linear", "cubic"])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_warping_reads_planes_and_maps_once(
    precision: Precision, bits: int, channels: int, looked_up: str, width: int, height: int
) -> None:
    numbers = np.random.default_rng(1)
    shape = (height, width, 2)[: 1 + channels]
    first, second = (Guarded(random_samples(shape, bits, numbers), padding=n) for n in (0, 6))
    grid = (cells(height, 4), cells(width, 4))
    flow = Guarded(wild_flow(grid, precision, numbers=numbers))
    mask = Guarded(wild_map(grid, precision, numbers=numbers))
    made = Guarded(np.zeros_like(first.array))
    told = grid_of(mask, 4, precision)
    ends = first.plane(), second.plane(), made.plane()
    is_sharp = looked_up == "cubic"
    two = launch.warp(*ends, flow=flow.address, mask=mask.address, grid=told, is_sharp=is_sharp)
    one = launch.warp_one(ends[0], ends[2], flow=flow.address, grid=told, is_sharp=is_sharp)
    assert bytes_moved(two) == size_of(*(g.array for g in (first, second, flow, mask, made)))
    assert bytes_moved(one) == size_of(first.array, flow.array[:2], made.array)


@pytest.mark.parametrize("precision", list(FLOATS))
@pytest.mark.parametrize("bits", [8, 10])
def test_finishing_and_the_sums_read_each_sample_once(precision: Precision, bits: int) -> None:
    numbers = np.random.default_rng(1)
    plane = Guarded(random_samples((21, 37), bits, numbers), padding=3)
    other = Guarded(np.zeros_like(plane.array))
    maps = [Guarded(wild_map((6, 10), precision, numbers=numbers)) for _ in range(2)]
    finish = launch.finish(
        plane.plane(),
        other.plane(),
        residual=maps[0].address,
        softness=maps[1].address,
        grid=grid_of(maps[0], 4, precision),
    )
    assert bytes_moved(finish) == size_of(*(g.array for g in (plane, other, *maps)))
    seen = Counts(Difference)
    difference = launch.difference(plane.plane(), other.plane(), out=seen.address)
    assert bytes_moved(difference) == size_of(plane.array, other.array, seen.array)


@pytest.mark.parametrize("precision", list(RESIDUALS))
def test_watching_reads_each_value_once(precision: Precision) -> None:
    residual, health = Guarded(np.zeros((1, 4999), RESIDUALS[precision])), Counts(Health)
    watch = launch.watch(residual.address, count=4999, precision=precision, out=health.address)
    assert bytes_moved(watch) == size_of(residual.array, health.array)


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("channels", [1, 2])
def test_covering_reads_the_mask_and_copies_all_that_it_shows(bits: int, channels: int) -> None:
    shape = (21, 37, 2)[: 1 + channels]
    numbers = np.random.default_rng(1)
    over, out = (Guarded(random_samples(shape, bits, numbers), padding=n) for n in (0, 4))
    mask = Guarded(np.full((21, 37), 255, np.uint8), padding=3)
    call = launch.cover(over.plane(), out.plane(), mask=mask.plane())
    made = reference.cover(out.array, over.array, mask.array)
    assert bytes_moved(call) == size_of(over.array, mask.array, made)


def test_a_1080p_picture_packed_for_half_floats_moves_four_and_a_half_bytes_a_pixel() -> None:
    """As the head of pack.cu says."""
    picture = HostPicture(noise(Layout.NV12, width=192, height=108), Layout.NV12).picture()
    out = tensor(Guarded(np.zeros((6, 54, 96), np.float16)), Precision.FLOAT16)
    assert bytes_moved(launch.pack(picture, out)) == 192 * 108 * 9 // 2
