"""Pictures of a texture that is known at every instant, made by guides that are known too."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

import cv2
import numpy as np
import pytest

from kernels.native import native
from streamer.frame import Plane
from streamer.ops.motion import BLUR_SIGMA, BLUR_SIZE, Floats, Guide
from streamer.ops.motion_tiles import TileWarper
from streamer.ops.motion_warp import Warper
from tests.streamer.motion import everywhere, psnr
from tests.streamer.pictures import texture

WIDTH, HEIGHT = 160, 128
MOVED = np.array([3.0, -2.0], np.float32)
"""Right and up, from time 0 to time 1."""

NOWHERE = np.zeros(2, np.float32)
QUARTER_SIZE = (HEIGHT // 4, WIDTH // 4)
QUARTER = MOVED / np.float32(8)
"""Half the way, on a grid a quarter as large."""

SIZES = [(WIDTH, HEIGHT), (98, 74), (426, 58), (700, 400)]
"""One tile, sides that end within a cell, several tiles."""


def at(time: float, *, width: int = WIDTH, height: int = HEIGHT) -> Plane:
    moved = float(time * MOVED[0]), float(time * MOVED[1])
    return texture(width=width, height=height, moved=moved)


def even_guide(
    *flows: Floats,
    share: float,
    size: tuple[int, int],
    filled: tuple[float, float] | None = None,
) -> Guide:
    """The same flow into either picture everywhere, on a grid of ``size`` (height, width)."""
    height, width = size
    return Guide(
        np.concatenate([everywhere(flow, height=height, width=width) for flow in flows]),
        np.full(size, share, np.float32),
        np.zeros(size, np.float32),
        np.zeros(size, np.float32),
        filled,
    )


Kind: TypeAlias = type[Warper] | type[TileWarper]


@pytest.fixture(params=[Warper, TileWarper])
def kind(request: pytest.FixtureRequest) -> Kind:
    """What is compiled for processors, and OpenCV: what holds for one must hold for the other."""
    chosen: Kind = request.param
    if chosen is Warper and native() is None:
        pytest.skip("nothing is compiled for processors; run: python -m kernels.native_build")
    return chosen


def made(
    kind: Kind, first: Plane, second: Plane, guide: Guide, *, is_enlarged: bool = False
) -> Plane:
    out = np.empty_like(first)
    warper = kind(*first.shape, is_enlarged=is_enlarged, is_luma=True)
    warper.make(guide, (first, second, out))
    return out


@pytest.mark.parametrize("is_enlarged", [False, True])
@pytest.mark.parametrize("part", [1, 2, 4])
def test_a_warp_by_the_known_flow_gives_the_moved_picture(
    kind: Kind, part: int, *, is_enlarged: bool
) -> None:
    first, second = at(0), at(1)
    assert psnr(first, second) < 25
    for share in (1.0, 0.0):
        flow = MOVED / np.float32(part)
        guide = even_guide(-flow, flow, share=share, size=(HEIGHT // part, WIDTH // part))
        there, back = (
            made(kind, one, other, guide, is_enlarged=is_enlarged)
            for one, other in ((first, second), (second, first))
        )
        assert psnr(there, second if share else first) > 35
        # Of swapped pictures it leads twice as far away.
        assert psnr(back, first if share else second) < 25


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_warp_that_goes_nowhere_changes_nothing(kind: Kind, width: int, height: int) -> None:
    guide = even_guide(NOWHERE, NOWHERE, share=1.0, size=(-(-height // 4), -(-width // 4)))
    picture = at(0, width=width, height=height)
    assert np.array_equal(made(kind, picture, picture // 2, guide), picture)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_blend_takes_from_the_first_picture_what_the_mask_says(
    kind: Kind, width: int, height: int
) -> None:
    # The second is brighter, so that it shows which of the two was taken.
    first = at(0, width=width, height=height)
    second = at(1, width=width, height=height) + np.uint8(20)
    size = ((height + 3) // 4, (width + 3) // 4)
    wanted = at(0.5, width=width, height=height)
    for share, brighter in ((1.0, 0), (0.0, 20), (0.5, 10)):
        guide = even_guide(
            -QUARTER, QUARTER, share=share, size=size, filled=(height / 4, width / 4)
        )
        assert psnr(made(kind, first, second, guide), wanted + np.uint8(brighter)) > 35


def test_a_mask_may_differ_from_place_to_place(kind: Kind) -> None:
    first = at(0)
    guide = even_guide(NOWHERE, NOWHERE, share=1.0, size=QUARTER_SIZE)
    guide.mask[:, QUARTER_SIZE[1] // 2 :] = 0.0
    out, middle = made(kind, first, first // 2, guide), WIDTH // 2
    assert np.array_equal(out[:, : middle - 4], first[:, : middle - 4])
    assert np.array_equal(out[:, middle + 4 :], first[:, middle + 4 :] // 2)


def test_where_the_mask_is_full_the_other_picture_is_not_seen(kind: Kind) -> None:
    first, second, black = at(0), at(1), np.zeros((HEIGHT, WIDTH), np.uint8)
    for share in (1.0, 0.0):
        guide = even_guide(-QUARTER, QUARTER, share=share, size=QUARTER_SIZE)
        alone = (first, black) if share else (black, second)
        assert np.array_equal(
            made(kind, first, second, guide), made(kind, alone[0], alone[1], guide)
        )


def test_motion_goes_on_evenly_to_the_edges(kind: Kind) -> None:
    ramp = np.broadcast_to(np.arange(0, 240, 2, dtype=np.uint8), (96, 120)).copy()
    guide = even_guide(-2 * QUARTER, 2 * QUARTER, share=1.0, size=(24, 30))
    out = made(kind, ramp, ramp, guide).astype(int)
    # Moved by three pixels of two code values; the border repeats.
    assert np.array_equal(out, np.maximum(ramp.astype(int) - 6, 0))


@pytest.mark.parametrize(("width", "height"), [(854, 360), (426, 242), (640, 358)])
@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("is_across", [True, False])
def test_motion_ends_where_it_should_where_the_picture_ends_within_a_cell(
    kind: Kind, width: int, height: int, scale: int, *, is_across: bool
) -> None:
    # Near the far edge: what lies before it moves by eight pixels, what lies behind stands still.
    rows, columns = -(-height // 4), -(-width // 4)
    filled = height / 4, width / 4
    edge = (columns if is_across else rows) - 20
    guide = even_guide(NOWHERE, NOWHERE, share=1.0, size=(rows, columns), filled=filled)
    behind = np.arange(columns) if is_across else np.arange(rows)[:, None]
    guide.flow[0 if is_across else 1] = np.where(behind < edge, -8 / 4 / scale, 0)
    side = (width if is_across else height) * scale
    # A code value a pixel, so that what is missing says how far it was moved.
    codes = np.clip(np.arange(side) - (side - 230), 0, None).astype(np.uint8)
    ramp = np.broadcast_to(
        codes if is_across else codes[:, None], (height * scale, width * scale)
    ).copy()
    out = made(kind, ramp, ramp, guide)
    moved = np.median(ramp.astype(int) - out, axis=0 if is_across else 1)
    assert moved[side - 200] == 8
    assert moved[side - 10] == 0
    assert np.flatnonzero(moved > 4)[-1] + 1 == pytest.approx(4 * scale * edge, abs=1)


def test_parts_leave_no_seams(kind: Kind) -> None:
    # Larger than one part, with motion and softness that change from place to place.
    height, width = 400, 700
    first, second = at(0, width=width, height=height), at(1, width=width, height=height)
    rng = np.random.default_rng(3)
    rough = rng.normal(0, 8, (height // 4, width // 4, 4)).astype(np.float32)
    smooth = np.asarray(cv2.GaussianBlur(rough, (0, 0), 3), dtype=np.float32)
    still = np.zeros((height // 4, width // 4), np.float32)
    soft = np.clip(smooth[..., 0], 0, 1).astype(np.float32)
    guide = Guide(np.ascontiguousarray(smooth.transpose(2, 0, 1)), still + 0.5, still, soft)
    whole = made(kind, first, second, guide, is_enlarged=True)
    # The same by one look-up of everything.
    flow = [cv2.resize(4 * part, (width, height)) for part in guide.flow]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    ends = [
        cv2.remap(
            picture,
            x + flow[2 * n],
            y + flow[2 * n + 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        for n, picture in enumerate((first, second))
    ]
    sharp = cv2.addWeighted(ends[0], 0.5, ends[1], 0.5, 0)
    blurred = cv2.GaussianBlur(
        sharp, (BLUR_SIZE, BLUR_SIZE), BLUR_SIGMA, borderType=cv2.BORDER_REPLICATE
    )
    share = cv2.resize(soft, (width, height))
    wanted = cv2.blendLinear(blurred, sharp, share, 1 - share)
    assert np.abs(whole.astype(int) - wanted).max() <= 1


def test_a_warper_takes_guides_of_several_sizes_one_after_another(kind: Kind) -> None:
    first, second = at(0), at(1)
    warper = kind(HEIGHT, WIDTH, is_enlarged=False, is_luma=True)
    out = np.empty((HEIGHT, WIDTH), np.uint8)
    for part in (4, 2, 3, 4):
        size = (-(-HEIGHT // part), -(-WIDTH // part))
        flow = MOVED / np.float32(2 * part)
        guide = even_guide(-flow, flow, share=0.5, size=size)
        warper.make(guide, (first, second, out))
        assert np.array_equal(out, made(kind, first, second, guide))


@pytest.mark.parametrize("scale", [1.5, 2.25])
def test_a_scale_that_is_no_whole_number_moves_as_far(kind: Kind, scale: float) -> None:
    height, width = int(HEIGHT * scale), int(WIDTH * scale)
    flow = QUARTER / np.float32(scale)
    guide = even_guide(-flow, flow, share=0.5, size=QUARTER_SIZE)
    first, second = at(0, width=width, height=height), at(1, width=width, height=height)
    assert psnr(made(kind, first, second, guide), at(0.5, width=width, height=height)) > 35


def finished(kind: Kind, *, residual: Floats, softness: Floats) -> Plane:
    still = even_guide(NOWHERE, NOWHERE, share=1.0, size=QUARTER_SIZE)
    return made(kind, at(0), at(0), replace(still, residual=residual, softness=softness))


def test_a_residual_is_added_in_code_values_and_stays_among_them(kind: Kind) -> None:
    residual = np.full(QUARTER_SIZE, 10 / 255, np.float32)
    residual[:, WIDTH // 8 :] = -1.0
    out = finished(kind, residual=residual, softness=np.zeros_like(residual))
    middle = WIDTH // 2
    assert np.array_equal(out[:, : middle - 8], at(0)[:, : middle - 8] + np.uint8(10))
    assert not out[:, middle + 8 :].any()


def test_a_made_picture_is_blurred_where_it_is_a_guess_and_only_there(kind: Kind) -> None:
    softness = np.zeros(QUARTER_SIZE, np.float32)
    softness[:, WIDTH // 8 :] = 1.0
    out, middle = finished(kind, residual=np.zeros_like(softness), softness=softness), WIDTH // 2
    soft = cv2.GaussianBlur(
        at(0), (BLUR_SIZE, BLUR_SIZE), BLUR_SIGMA, borderType=cv2.BORDER_REPLICATE
    )
    assert np.array_equal(out[:, : middle - 8], at(0)[:, : middle - 8])
    # OpenCV rounds its weights to 1/256.
    assert np.abs(out[:, middle + 8 :].astype(int) - soft[:, middle + 8 :]).max() <= 1
    assert np.abs(soft.astype(int) - at(0)).max() > 20


def test_chroma_is_neither_softened_nor_given_the_residual(kind: Kind) -> None:
    guide = even_guide(NOWHERE, NOWHERE, share=1.0, size=QUARTER_SIZE)
    guide.softness[:], guide.residual[:] = 1.0, 0.1
    out = [np.empty((HEIGHT, WIDTH), np.uint8) for _ in range(2)]
    warper = kind(HEIGHT, WIDTH, is_enlarged=False, is_luma=False)
    warper.make(guide, (at(0), at(1), out[0]), (at(2), at(1), out[1]))
    assert np.array_equal(out[0], at(0))
    assert np.array_equal(out[1], at(2))


@pytest.mark.parametrize(("width", "height"), [(854, 480), (427, 243), (640, 360)])
@pytest.mark.parametrize("is_enlarged", [False, True])
@pytest.mark.parametrize("is_luma", [False, True])
def test_both_ways_make_the_same_picture(
    width: int, height: int, *, is_enlarged: bool, is_luma: bool
) -> None:
    # Cells of six pixels; the last ones reach beyond the picture.
    rows, columns = -(-height // 6), -(-width // 6)
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32) / np.float32(3)
    waves = np.asarray(0.5 + 0.5 * np.sin(2 * x) * np.cos(2 * y), np.float32)
    guide = Guide(
        np.stack((np.sin(x), np.cos(y), -np.cos(x + y), np.sin(x - y))).astype(np.float32),
        waves,
        (waves - np.float32(0.5)) / np.float32(10),
        np.float32(1) - waves,
        (height / 6, width / 6),
    )
    # Rows lie apart, as decoders give them.
    first, second, third = (
        np.pad(at(n, width=width, height=height), ((0, 0), (3, 5)))[:, 3:-5] for n in range(3)
    )
    ends = [(first, second)] if is_luma else [(first, second), (second, third), (third, first)]
    theirs, ours = np.zeros((2, len(ends), height, width), np.uint8)
    for kind, outs in ((TileWarper, theirs), (Warper, ours)):
        warper = kind(height, width, is_enlarged=is_enlarged, is_luma=is_luma)
        warper.make(
            guide, *((one, other, out) for (one, other), out in zip(ends, outs, strict=True))
        )
    apart = np.abs(ours.astype(int) - theirs)
    # OpenCV looks at places in 1/32 of a pixel, and rounds the blur, the mix and the sum.
    assert apart.max() <= 3
    assert apart.mean() < 0.35
    assert all(np.abs(ours[n].astype(int) - ends[n][0]).max() > 20 for n in range(len(ends)))
