"""Made planes: the kernels on the host, their twins, and the streamer's warper."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kernels import launch, reference
from streamer.ops.motion import Guide
from streamer.ops.motion_warp import Warper
from tests.kernels.guides import cells, grid_of, wild_flow, wild_map
from tests.kernels.pictures import Guarded, random_samples
from tests.kernels.runners import Runner
from tests.streamer.pictures import texture

SIZES = [(1, 1, 8.0), (5, 3, 4.0), (46, 18, 4.0), (37, 21, 2.5), (21, 9, 1.0)]


@pytest.mark.parametrize("looked_up", ["linear", "cubic"])
@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("width", "height", "cell"), SIZES)
def test_warping_is_its_twin_in_every_bit(
    runner: Runner,
    looked_up: str,
    bits: int,
    channels: int,
    width: int,
    height: int,
    cell: float,
) -> None:
    numbers = np.random.default_rng([width, height, bits])
    shape = (height, width, 2)[: 1 + channels]
    first = Guarded(random_samples(shape, bits, numbers), padding=6, offset=1)
    second = Guarded(random_samples(shape, bits, numbers), padding=2)
    grid = (cells(height, cell), cells(width, cell))
    flow, mask = wild_flow(grid, numbers=numbers), wild_map(grid, numbers=numbers)
    guide, alone = Guarded(np.stack((*flow, mask))), Guarded(flow[:2].copy())
    two, one = (Guarded(np.zeros_like(first.array), padding=4) for _ in range(2))
    ends, is_sharp = (first.plane(), second.plane()), looked_up == "cubic"
    on = grid_of(guide, cell)
    runner.run(launch.warp(*ends, two.plane(), guide=guide.address, grid=on, is_sharp=is_sharp))
    runner.run(
        launch.warp_one(ends[0], one.plane(), guide=alone.address, grid=on, is_sharp=is_sharp)
    )
    with np.errstate(invalid="ignore"):
        both = reference.warp(
            first.array, second.array, flow=flow, mask=mask, cell=cell, is_sharp=is_sharp
        )
        moved = reference.warp_one(first.array, flow=flow[:2], cell=cell, is_sharp=is_sharp)
    np.testing.assert_array_equal(two.array, both)
    np.testing.assert_array_equal(one.array, moved)
    assert two.is_intact()
    assert one.is_intact()


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize(
    ("width", "height", "cell", "pitch"),
    [*((*size, 1) for size in SIZES), (64, 9, 4.0, 32), (61, 9, 4.0, 32)],
)
@pytest.mark.parametrize("most_softness", [0, 1])
def test_finishing_is_its_twin_in_every_bit(
    runner: Runner,
    bits: int,
    width: int,
    height: int,
    cell: float,
    pitch: int,
    most_softness: int,
) -> None:
    numbers = np.random.default_rng([width, height, bits])
    offset = int(pitch == 1)
    samples = random_samples((height, width), bits, numbers)
    made = Guarded(samples, padding=3, offset=offset, pitch=pitch)
    out = Guarded(np.zeros_like(made.array), padding=8, pitch=pitch)
    grid = (cells(height, cell), cells(width, cell))
    residual = (wild_map(grid, numbers=numbers) - np.float32(0.5)) / np.float32(3)
    softness = wild_map(grid, numbers=numbers) * np.float32(most_softness)
    guide = Guarded(np.stack((residual, softness)))
    on = grid_of(guide, cell)
    runner.run(launch.finish(made.plane(), out.plane(), guide=guide.address, grid=on))
    twin = reference.finish(made.array, residual=residual, softness=softness, cell=cell)
    np.testing.assert_array_equal(out.array, twin)
    assert out.is_intact()


def guide(rows: int, columns: int) -> Guide:
    """Smooth maps: the streamer's warper rounds places to 1/32 pixel, which noise would show."""
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32) / np.float32(3)
    flow = np.stack((np.sin(x), np.cos(y), -np.cos(x + y), np.sin(x - y))).astype(np.float32)
    waves = np.asarray(0.5 + 0.5 * np.sin(2 * x) * np.cos(2 * y), np.float32)
    return Guide(flow, waves, (waves - np.float32(0.5)) / np.float32(10), np.float32(1) - waves)


@pytest.mark.parametrize("looked_up", ["linear", "cubic"])
@pytest.mark.parametrize(("cell", "width", "height"), [(4, 160, 128), (8, 160, 128), (2, 96, 64)])
def test_the_twin_makes_the_picture_that_the_streamers_warper_makes(
    looked_up: str, cell: int, width: int, height: int
) -> None:
    first, second = (texture(width=width, height=height, moved=(n, -n)) for n in (0.0, 3.0))
    told = guide(height // cell, width // cell)
    warper = Warper(height, width, is_enlarged=looked_up == "linear", is_luma=True)
    theirs, finished = np.empty_like(first), np.empty_like(first)
    nothing = np.zeros_like(told.mask)
    warper.make(replace(told, residual=nothing, softness=nothing), (first, second, theirs))
    made = reference.warp(
        first, second, flow=told.flow, mask=told.mask, cell=cell, is_sharp=looked_up == "cubic"
    )
    apart = np.abs(made.astype(int) - theirs)
    # The warper rounds places to 1/32 pixel, and each looked-up plane before it mixes them.
    assert apart.max() <= 2
    assert apart.mean() < 0.25
    ours = reference.finish(theirs, residual=told.residual, softness=told.softness, cell=cell)
    warper.make(told, (first, second, finished))
    apart = np.abs(ours.astype(int) - finished)
    # The warper rounds three times: the blur, the mix and the sum. Two of those are errors.
    assert apart.max() <= 2
    assert apart.mean() < 0.35


@pytest.mark.parametrize("looked_up", ["linear", "cubic"])
def test_no_motion_gives_the_plane_itself(looked_up: str) -> None:
    plane = texture(width=45, height=27, moved=(0.0, 0.0))
    still = np.zeros((2, 7, 12), np.float32)
    same = reference.warp_one(plane, flow=still, cell=4, is_sharp=looked_up == "cubic")
    np.testing.assert_array_equal(same, plane)


def test_whole_motions_move_whole_pixels_at_any_size_and_repeat_the_edge() -> None:
    plane = random_samples((9, 13), 8, np.random.default_rng(4))
    flow = np.stack((np.full((3, 4), 0.5), np.full((3, 4), -0.25))).astype(np.float16)
    moved = reference.warp_one(plane, flow=flow, cell=4, is_sharp=True)
    rows, columns = np.arange(9) - 1, np.arange(13) + 2
    expected = plane[np.clip(rows, 0, 8)][:, np.clip(columns, 0, 12)]
    np.testing.assert_array_equal(moved, expected)


def test_a_map_is_known_at_the_centres_of_its_cells() -> None:
    """Also where the grid reaches beyond an odd plane."""
    part = np.arange(12, dtype=np.float32).reshape(3, 4)
    large = reference.Maps(height=13, width=18, cell=5).enlarge(part)
    np.testing.assert_allclose(large[2::5, 2::5], part[:, :4], rtol=0, atol=1e-5)
    assert large[0, 0] == part[0, 0]
