"""What denoising does around its network, compiled and by OpenCV, and both against the definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels import reference_denoise
from kernels.native import native
from streamer.frame import Planes
from streamer.ops import follower, host
from tests.streamer.pictures import empty, noise, texture

Floats = NDArray[np.float32]

UNITS = np.array([219] * 4 + [224] * 2, np.float32)[:, None, None]
"""Code values for each 1 of what is packed."""

SIZES = [(2, 2), (22, 14), (46, 18), (130, 66)]


@pytest.fixture(params=["compiled", "opencv"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is compiled, where it is, and what stands in for it."""
    name: str = request.param
    if name == "opencv":
        monkeypatch.setattr(follower, "native", lambda: None)
    elif native() is None:
        pytest.skip("nothing is compiled for this processor: no C++ compiler was there")
    return name


def drawn(*, width: int, height: int, seed: int = 1) -> Planes:
    """Smooth enough that a look-up a little beside gives nearly the same."""
    y = texture(width=width, height=height, seed=seed)
    u, v = (texture(width=width // 2, height=height // 2, seed=seed + n) for n in (1, 2))
    return y, u, v


def moved_by(cells: tuple[float, float], planes: Planes) -> Floats:
    flow = np.empty((*planes[1].shape, 2), np.float32)
    flow[:] = cells
    return flow


def followed(before: Planes, now: Planes, flow: Floats) -> Floats:
    packed = np.full((1, 12, *now[1].shape), np.nan, np.float32)
    follower.follow(before, now, flow, packed)
    return packed


def packed_alone(planes: Planes) -> Floats:
    packed = np.empty((1, 6, *planes[1].shape), np.float32)
    host.pack(planes, packed)
    return packed


def codes(difference: Floats) -> Floats:
    """A packed difference in code values."""
    return np.asarray(difference[0] * UNITS, np.float32)


def changes(rows: int, columns: int, *, seed: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (1, 12, rows, columns), np.uint8)


def mixed(now: Planes, packed: Floats, change: NDArray[Any]) -> Planes:
    out = empty(width=now[0].shape[1], height=now[0].shape[0])
    follower.mix(now, packed, change, out)
    return out


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_first_picture_is_packed_and_differs_from_nothing(
    width: int, height: int, way: str
) -> None:
    planes = noise(width=width, height=height, padding=5)
    packed = np.full((1, 12, height // 2, width // 2), np.nan, np.float32)
    follower.begin(planes, packed)
    np.testing.assert_array_equal(packed[:, :6], packed_alone(planes))
    assert not packed[:, 6:].any()


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_where_nothing_moves_the_difference_is_that_of_the_pictures(
    width: int, height: int, way: str
) -> None:
    now, before = (noise(width=width, height=height, seed=seed, padding=3) for seed in (1, 2))
    packed = followed(before, now, moved_by((0, 0), now))
    np.testing.assert_allclose(packed[:, :6], packed_alone(now), atol=1e-6)
    expected = packed_alone(before) - packed_alone(now)
    np.testing.assert_allclose(packed[:, 6:], expected, atol=2e-6)


@pytest.mark.parametrize("moved", [(2, 1), (-3, 2), (0, -1)])
def test_what_moved_by_whole_cells_is_brought_along(moved: tuple[int, int], way: str) -> None:
    before = drawn(width=96, height=64)
    across, down = moved
    now = tuple(
        np.roll(plane, (step * down, step * across), (0, 1))
        for plane, step in zip(before, (2, 1, 1), strict=True)
    )
    packed = followed(before, (now[0], now[1], now[2]), moved_by((-across, -down), before))
    inner = np.s_[:, 4:-4, 4:-4]
    assert np.abs(codes(packed[:, 6:])[inner]).max() < 1e-3
    # It is no picture of anything that stands.
    still = followed(before, (now[0], now[1], now[2]), moved_by((0, 0), before))
    assert np.abs(codes(still[:, 6:])[inner]).mean() > 3


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("reach", [0.4, 3.0, 50.0])
@pytest.mark.parametrize("trembling", [0.0, 0.2])
def test_both_ways_follow_alike_within_a_code(
    width: int, height: int, reach: float, trembling: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if native() is None:
        pytest.skip("nothing is compiled for this processor: no C++ compiler was there")
    now, before = (drawn(width=width, height=height, seed=seed) for seed in (1, 7))
    numbers = np.random.default_rng(2)
    flow = moved_by(tuple(numbers.uniform(-reach, reach, 2)), now)
    flow += numbers.uniform(-trembling, trembling, flow.shape).astype(np.float32)
    ours = followed(before, now, flow)
    monkeypatch.setattr(follower, "native", lambda: None)
    theirs = followed(before, now, flow)
    np.testing.assert_array_equal(ours[:, :6], theirs[:, :6])
    gap = np.abs(codes(ours[:, 6:]) - codes(theirs[:, 6:]))
    # A place may be rounded to the next 32nd of a pixel, and on the steepest slopes that is a code,
    # which may then be rounded to another one.
    assert gap.mean() < 0.35
    assert gap.max() < 2.01
    assert np.mean(gap > 1.01) < 0.01


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_mixing_is_its_definition(width: int, height: int, way: str) -> None:
    now, before = (noise(width=width, height=height, seed=seed, padding=7) for seed in (1, 2))
    packed = followed(before, now, moved_by((0, 0), now))
    change = changes(height // 2, width // 2)
    expected = empty(width=width, height=height)
    reference_denoise.mix(now, packed[0, 6:], change[0], expected)
    for seen, same in zip(mixed(now, packed, change), expected, strict=True):
        assert np.abs(seen.astype(int) - same).max() <= 1
        assert np.mean(seen != same) < 0.01


def test_a_share_of_all_is_the_last_picture_and_one_of_nothing_is_this_one(way: str) -> None:
    now, before = (noise(width=46, height=18, seed=seed) for seed in (1, 2))
    packed = followed(before, now, moved_by((0, 0), now))
    nothing = np.full((1, 12, 9, 23), 128, np.uint8)
    for share, wanted in ((0, now), (255, before)):
        nothing[:, :6] = share
        for seen, same in zip(mixed(now, packed, nothing), wanted, strict=True):
            np.testing.assert_array_equal(seen, same)


def test_what_is_added_is_added_to_its_own_pixels(way: str) -> None:
    now = noise(width=12, height=8)
    packed = followed(now, now, moved_by((0, 0), now))
    change = np.full((1, 12, 4, 6), 128, np.uint8)
    change[0, :6] = 0
    change[0, 6 + 1, 2, 3] += 9
    change[0, 6 + 4, 1, 5] -= 7
    expected = [plane.astype(int) for plane in now]
    expected[0][4, 7] += 9
    expected[1][1, 5] -= 7
    for seen, exact in zip(mixed(now, packed, change), expected, strict=True):
        np.testing.assert_array_equal(seen, np.clip(exact, 0, 255))


def test_numbers_are_taken_as_the_codes_they_are_nearest_to(way: str) -> None:
    now, before = (noise(width=46, height=18, seed=seed) for seed in (1, 2))
    packed = followed(before, now, moved_by((0, 0), now))
    change = changes(9, 23)
    numbers = np.random.default_rng(4)
    floats = change.astype(np.float32) - 128
    floats += numbers.uniform(-0.4, 0.4, floats.shape).astype(np.float32)
    # What lies beyond is as much as a code can say.
    floats[change == 255] += 1e6
    floats[change == 0] -= 1e6
    for seen, same in zip(mixed(now, packed, floats), mixed(now, packed, change), strict=True):
        np.testing.assert_array_equal(seen, same)


def test_what_was_written_before_is_of_no_account(way: str) -> None:
    now, before = (noise(width=22, height=14, seed=seed) for seed in (1, 2))
    packed = followed(before, now, moved_by((0, 0), now))
    outs = [noise(width=22, height=14, seed=seed) for seed in (8, 9)]
    for out in outs:
        follower.mix(now, packed, changes(7, 11), out)
    for one, two in zip(*outs, strict=True):
        np.testing.assert_array_equal(one, two)


def test_pictures_that_came_are_left_as_they_are(way: str) -> None:
    now, before = (noise(width=22, height=14, seed=seed) for seed in (1, 2))
    copies = [plane.copy() for plane in (*now, *before)]
    packed = followed(before, now, moved_by((0.5, 0.25), now))
    mixed(now, packed, changes(7, 11))
    for plane, same in zip((*now, *before), copies, strict=True):
        np.testing.assert_array_equal(plane, same)
