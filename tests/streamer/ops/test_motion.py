"""Motion of a texture that is known at every instant, found, carried and followed."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from streamer.frame import Plane
from streamer.ops.motion import (
    BLUR_SIGMA,
    BLUR_SIZE,
    MOTIONS,
    MULTIPLE,
    PICTURES,
    Floats,
    FlowEstimator,
    Flows,
    Guide,
    Warper,
    half,
    motions_at,
    pack_motion,
    padded,
)
from tests.streamer.pictures import texture

WIDTH, HEIGHT = 160, 128
MOVED = np.array([3.0, -2.0], np.float32)
"""Right and up, from time 0 to time 1."""

QUARTER = MOVED / np.float32(8)
"""Half the way, on a grid a quarter as large."""

ALLOWED_PX = 0.3
EDGE = 20
"""What moves in from outside was never seen."""


def at(time: float, *, width: int = WIDTH, height: int = HEIGHT) -> Plane:
    moved = float(time * MOVED[0]), float(time * MOVED[1])
    return texture(width=width, height=height, moved=moved)


def psnr(seen: Plane | Floats, wanted: Plane, *, edge: int = EDGE) -> float:
    inner = (slice(edge, -edge), slice(edge, -edge))
    error = seen[inner].astype(np.float64) - wanted[inner]
    return 10 * math.log10(255**2 / max(1e-9, float(np.mean(error**2))))


def everywhere(flow: Floats, *, height: int, width: int) -> Floats:
    """The same (2,) flow at each pixel, (2, h, w)."""
    return np.ascontiguousarray(np.broadcast_to(flow[:, None, None], (2, height, width)))


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


def even_guide(*flows: Floats, share: float, size: tuple[int, int]) -> Guide:
    """The same flow into either picture everywhere, on a grid of ``size`` (height, width)."""
    height, width = size
    return Guide(
        np.concatenate([everywhere(flow, height=height, width=width) for flow in flows]),
        np.full(size, share, np.float32),
        np.zeros(size, np.float32),
        np.zeros(size, np.float32),
    )


def blended(first: Plane, second: Plane, guide: Guide, *, is_enlarged: bool = False) -> Plane:
    warper = Warper(*first.shape, is_enlarged=is_enlarged)
    warper.follow(guide)
    out = np.empty_like(first)
    warper.blend(first, second, out)
    return out


@pytest.mark.parametrize("is_enlarged", [False, True])
@pytest.mark.parametrize("part", [1, 2, 4])
def test_a_warp_by_the_known_flow_gives_the_moved_picture(part: int, *, is_enlarged: bool) -> None:
    first, second = at(0), at(1)
    assert psnr(first, second) < 25
    for share in (1.0, 0.0):
        flow = MOVED / np.float32(part)
        guide = even_guide(-flow, flow, share=share, size=(HEIGHT // part, WIDTH // part))
        there, back = (
            blended(one, other, guide, is_enlarged=is_enlarged)
            for one, other in ((first, second), (second, first))
        )
        assert psnr(there, second if share else first) > 35
        # Of swapped pictures it leads twice as far away.
        assert psnr(back, first if share else second) < 25


def test_a_warp_that_goes_nowhere_changes_nothing() -> None:
    nowhere = np.zeros(2, np.float32)
    for size in ((HEIGHT, WIDTH), (HEIGHT // 4, WIDTH // 4)):
        guide = even_guide(nowhere, nowhere, share=1.0, size=size)
        assert np.array_equal(blended(at(0), at(1), guide), at(0))


@pytest.mark.parametrize(("width", "height"), [(WIDTH, HEIGHT), (97, 75), (98, 74)])
def test_a_blend_takes_from_the_first_picture_what_the_mask_says(width: int, height: int) -> None:
    # The second is brighter, so that it shows which of the two was taken.
    first = at(0, width=width, height=height)
    second = at(1, width=width, height=height) + np.uint8(20)
    size = ((height + 3) // 4, (width + 3) // 4)
    wanted = at(0.5, width=width, height=height)
    for share, brighter in ((1.0, 0), (0.0, 20), (0.5, 10)):
        guide = even_guide(-QUARTER, QUARTER, share=share, size=size)
        assert psnr(blended(first, second, guide), wanted + np.uint8(brighter)) > 35


def test_where_the_mask_is_full_the_other_picture_is_not_seen() -> None:
    first, second, black = at(0), at(1), np.zeros((HEIGHT, WIDTH), np.uint8)
    for share in (1.0, 0.0):
        guide = even_guide(-QUARTER, QUARTER, share=share, size=(HEIGHT // 4, WIDTH // 4))
        alone = (first, black) if share else (black, second)
        assert np.array_equal(blended(first, second, guide), blended(alone[0], alone[1], guide))


def test_coarse_coordinates_go_on_evenly_to_the_edges() -> None:
    ramp = np.broadcast_to(np.arange(0, 240, 2, dtype=np.uint8), (96, 120)).copy()
    guide = even_guide(-2 * QUARTER, 2 * QUARTER, share=1.0, size=(24, 30))
    out = blended(ramp, ramp, guide).astype(int)
    # Moved by three pixels of two code values; the border repeats.
    assert np.array_equal(out, np.maximum(ramp.astype(int) - 6, 0))


def test_a_warper_takes_guides_of_several_sizes_one_after_another() -> None:
    first, second = at(0), at(1)
    warper, out = Warper(HEIGHT, WIDTH, is_enlarged=False), np.empty((HEIGHT, WIDTH), np.uint8)
    for part in (4, 2, 3, 4):
        size = (-(-HEIGHT // part), -(-WIDTH // part))
        flow = MOVED / np.float32(2 * part)
        guide = even_guide(-flow, flow, share=0.5, size=size)
        warper.follow(guide)
        warper.blend(first, second, out)
        assert np.array_equal(out, blended(first, second, guide))


def finished(*, residual: Floats, softness: Floats) -> Plane:
    out = at(0)
    still = even_guide(0 * MOVED, 0 * MOVED, share=1.0, size=(HEIGHT // 4, WIDTH // 4))
    guide = replace(still, residual=residual, softness=softness)
    Warper(HEIGHT, WIDTH, is_enlarged=False).finish(guide, out)
    return out


def test_a_residual_is_added_in_code_values_and_stays_among_them() -> None:
    residual = np.full((HEIGHT // 4, WIDTH // 4), 10 / 255, np.float32)
    residual[:, WIDTH // 8 :] = -1.0
    out = finished(residual=residual, softness=np.zeros_like(residual))
    middle = WIDTH // 2
    assert np.array_equal(out[:, : middle - 8], at(0)[:, : middle - 8] + np.uint8(10))
    assert not out[:, middle + 8 :].any()


def test_a_made_picture_is_blurred_where_it_is_a_guess_and_only_there() -> None:
    softness = np.zeros((HEIGHT // 4, WIDTH // 4), np.float32)
    softness[:, WIDTH // 8 :] = 1.0
    out, middle = finished(residual=np.zeros_like(softness), softness=softness), WIDTH // 2
    soft = cv2.GaussianBlur(
        at(0), (BLUR_SIZE, BLUR_SIZE), BLUR_SIGMA, borderType=cv2.BORDER_REPLICATE
    )
    assert np.array_equal(out[:, : middle - 8], at(0)[:, : middle - 8])
    assert np.array_equal(out[:, middle + 8 :], soft[:, middle + 8 :])
    assert not np.array_equal(soft, at(0))


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
            out = blended(at(0), at(1), guide)
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


@pytest.mark.parametrize(("side", "expected"), [(1, 8), (8, 8), (9, 16), (180, 184)])
def test_sides_are_enlarged_to_the_next_multiple(side: int, expected: int) -> None:
    assert padded(side, 8) == expected
