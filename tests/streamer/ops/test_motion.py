"""Motion of a texture that is known at every instant, found, carried and followed."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.frame import Plane
from streamer.ops.motion import (
    MOTIONS,
    MULTIPLE,
    PICTURES,
    Floats,
    FlowEstimator,
    Flows,
    Guide,
    OpenCvSearch,
    coarser,
    half,
    motions_at,
    pack_motion,
    padded,
)
from streamer.ops.motion_warp import Warper
from tests.streamer.motion import EDGE, everywhere, psnr
from tests.streamer.pictures import texture

WIDTH, HEIGHT = 160, 128
MOVED = np.array([3.0, -2.0], np.float32)
"""Right and up, from time 0 to time 1."""

QUARTER = MOVED / np.float32(8)
"""Half the way, on a grid a quarter as large."""

ALLOWED_PX = 0.3


def at(time: float, *, width: int = WIDTH, height: int = HEIGHT) -> Plane:
    moved = float(time * MOVED[0]), float(time * MOVED[1])
    return texture(width=width, height=height, moved=moved)


def known_flows(*, height: int, width: int) -> Flows:
    forward = np.ascontiguousarray(everywhere(MOVED, height=height, width=width).transpose(1, 2, 0))
    return Flows(forward, -forward)


def inside(motion: Floats) -> Floats:
    return motion[EDGE:-EDGE, EDGE:-EDGE]


@pytest.fixture(scope="module")
def flows() -> Flows:
    return FlowEstimator().between(at(0), at(1))


def test_flow_is_found_both_ways(flows: Flows) -> None:
    assert flows.forward.shape == flows.backward.shape == (HEIGHT, WIDTH, 2)
    assert np.abs(inside(flows.forward) - MOVED).max() < ALLOWED_PX
    assert np.abs(inside(flows.backward) + MOVED).max() < ALLOWED_PX


@pytest.mark.parametrize("time", [0.25, 0.5, 2.0])
def test_the_motion_of_an_even_flow_is_the_same_at_every_time(flows: Flows, time: float) -> None:
    for motion in motions_at(flows, time):
        assert np.abs(inside(motion) - MOVED).max() < ALLOWED_PX


@pytest.mark.parametrize("time", [0.0, 0.5, 1.0, 1.5])
def test_motion_stands_where_its_pixel_is_at_that_time(time: float) -> None:
    # A zoom by a tenth: what starts at x is at x * (1 + time / 10).
    columns = np.broadcast_to(np.arange(200, dtype=np.float32), (24, 200))
    still = np.zeros_like(columns)
    flows = Flows(
        forward=np.stack([0.1 * columns, still], axis=-1),
        backward=np.stack([-0.1 / 1.1 * columns, still], axis=-1),
    )
    expected = 0.1 * columns / (1 + 0.1 * time)
    assert time == 0.0 or np.abs(0.1 * columns - expected)[:, :150].max() > 0.6
    for motion in motions_at(flows, time):
        assert np.abs(motion[:, :150, 0] - expected[:, :150]).max() < 0.06
        assert not motion[..., 1].any()


@pytest.mark.parametrize("time", [0.5, 2.0])
def test_pictures_and_motions_are_packed_at_the_wanted_time(flows: Flows, time: float) -> None:
    first, second = at(0), at(1)
    pictures = np.full((PICTURES, HEIGHT, WIDTH), np.nan, np.float32)
    motion = np.full((MOTIONS, HEIGHT // 2, WIDTH // 2), np.nan, np.float32)
    pack_motion(first, second, flows, time, pictures=pictures, motion=motion)
    for picture in pictures[:4]:
        assert psnr(picture * 255, at(time)) > 35
    assert np.allclose(pictures[4] * 255, first, atol=1e-3)
    assert np.allclose(pictures[5] * 255, second, atol=1e-3)
    for part, expected in zip(motion[:4], [*MOVED / 2, *MOVED / 2], strict=True):
        assert np.abs(inside(part) - expected).max() < ALLOWED_PX / 2
    assert (motion[4] == time).all()


def test_a_prediction_lands_where_the_motion_leads(flows: Flows) -> None:
    for motion in motions_at(flows, 2.0):
        share = np.ascontiguousarray(motion.transpose(2, 0, 1))
        for mask in (np.ones((HEIGHT, WIDTH), np.float32), np.zeros((HEIGHT, WIDTH), np.float32)):
            none = np.zeros_like(mask)
            guide = Guide(np.concatenate([-2 * share, -share]), mask, none, none)
            out = np.empty_like(at(0))
            warper = Warper(*out.shape, is_enlarged=False, is_luma=True)
            warper.make(guide, (at(0), at(1), out))
            assert psnr(out, at(2)) > 35
            assert psnr(out, at(1)) < 25


@pytest.mark.parametrize(("width", "height"), [(45, 33), (47, 40), (48, 39), (44, 30)])
def test_padding_repeats_the_edges_and_the_time_is_everywhere(width: int, height: int) -> None:
    first, second = at(0, width=width, height=height), at(1, width=width, height=height)
    size = padded(height, MULTIPLE), padded(width, MULTIPLE)
    pictures = np.full((PICTURES, *size), np.nan, np.float32)
    motion = np.full((MOTIONS, size[0] // 2, size[1] // 2), np.nan, np.float32)
    flows = known_flows(height=height, width=width)
    pack_motion(first, second, flows, 0.75, pictures=pictures, motion=motion)
    rows, columns = (height + 1) // 2, (width + 1) // 2
    for packed, h, w in ((pictures, height, width), (motion[:4], rows, columns)):
        edges = ((0, packed.shape[1] - h), (0, packed.shape[2] - w))
        for layer in packed:
            assert np.array_equal(layer, np.pad(layer[:h, :w], edges, mode="edge"))
    assert np.allclose(motion[:4, 0, 0], [*MOVED / 2, *MOVED / 2], atol=1e-5)
    assert (motion[4] == 0.75).all()


def test_the_picture_at_half_size_averages_and_leaves_an_odd_edge_out() -> None:
    luma = np.array([[10, 20, 99], [30, 40, 99], [99, 99, 99]], np.uint8)
    assert half(luma).tolist() == [[25]]
    assert half(at(0, width=45, height=33)).shape == (16, 22)


@pytest.mark.parametrize(("width", "height"), [(427, 120), (64, 179), (213, 121), (64, 48)])
def test_a_coarser_flow_stays_in_its_place_whether_sides_are_odd_or_even(
    width: int, height: int
) -> None:
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    coarse = coarser(np.stack([columns, rows], axis=-1))
    assert coarse.shape == ((height + 1) // 2, (width + 1) // 2, 2)
    # A cell lies between two pixels, and counts in steps of two; only the last may have but one.
    between = [np.arange(side // 2) + 0.25 for side in (width, height)]
    assert np.allclose(coarse[0, : width // 2, 0], between[0])
    assert np.allclose(coarse[: height // 2, 0, 1], between[1])


@pytest.mark.parametrize(("side", "expected"), [(1, 8), (8, 8), (9, 16), (180, 184)])
def test_sides_are_enlarged_to_the_next_multiple(side: int, expected: int) -> None:
    assert padded(side, 8) == expected


def with_gaps(picture: Plane) -> Plane:
    """The same with rows apart, as decoders leave them."""
    wide = np.zeros((picture.shape[0], picture.shape[1] + 24), np.uint8)
    wide[:, : picture.shape[1]] = picture
    return wide[:, : picture.shape[1]]


def test_rows_with_a_gap_between_them_are_searched_like_others() -> None:
    pictures = at(0.0), at(1.0)
    wanted = FlowEstimator(OpenCvSearch).between(*pictures)
    found = FlowEstimator(OpenCvSearch).between(*map(with_gaps, pictures))
    np.testing.assert_array_equal(found.forward, wanted.forward)
    np.testing.assert_array_equal(found.backward, wanted.backward)
