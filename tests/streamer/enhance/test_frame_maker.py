"""Made frames of scenes that are known at every instant, by the engine without a network."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import cv2
import numpy as np
import pytest

from streamer.enhance.frame_maker import FrameMaker
from streamer.frame import Plane, Planes
from streamer.infer.reference_motion import ReferenceMotionEngine
from streamer.ops.motion import half
from streamer.ops.motion_ahead import gain_db
from tests.streamer.motion import psnr
from tests.streamer.pictures import texture

WIDTH, HEIGHT = 192, 128
MOVED = 3.0
"""Pixels to the right in an interval."""


def at(time: float, *, width: int = WIDTH, height: int = HEIGHT, scale: int = 1) -> Planes:
    """A pan; twice as large it moves twice as far."""
    moved = (MOVED * time * scale, 0.0)
    luma = texture(width=width * scale, height=height * scale, moved=moved)
    half_moved = (moved[0] / 2, 0.0)
    u, v = (
        texture(width=width * scale // 2, height=height * scale // 2, moved=half_moved, seed=seed)
        for seed in (2, 3)
    )
    return luma, u, v


def empty_like(planes: Planes) -> Planes:
    return np.zeros_like(planes[0]), np.zeros_like(planes[1]), np.zeros_like(planes[2])


Maker = Callable[[], FrameMaker]


def made_by(*, in_full: bool) -> FrameMaker:
    return FrameMaker(ReferenceMotionEngine(), in_full=in_full)


@pytest.fixture(params=[False, True], ids=["half", "full"])
def maker(request: pytest.FixtureRequest) -> Maker:
    """Whichever size motion is found at."""
    return partial(made_by, in_full=request.param)


@pytest.mark.parametrize("time", [1 / 3, 0.5, 0.75])
def test_a_frame_between_two_shows_what_was_there_then(maker: Maker, time: float) -> None:
    made = maker().between(at(0), at(1), time)
    for plane, wanted, other in zip(made, at(time), at(0), strict=True):
        assert psnr(plane, wanted) > 36
        assert psnr(plane, wanted) > psnr(other, wanted) + 8


@pytest.mark.parametrize("step", [0.5, 1.0])
def test_a_frame_ahead_shows_what_comes(maker: Maker, step: float) -> None:
    made = maker().ahead(at(0), at(1), step)
    for plane, wanted, last in zip(made, at(1 + step), at(1), strict=True):
        assert psnr(plane, wanted) > 34
        assert psnr(plane, wanted) > psnr(last, wanted) + 6


def test_farther_ahead_things_are_taken_to_slow_down(maker: Maker) -> None:
    made = maker().ahead(at(0), at(1), 3.0)[0]
    errors = {reach: psnr(made, at(1 + reach)[0]) for reach in (2.0, 2.57, 3.0)}
    assert max(errors, key=lambda reach: errors[reach]) == 2.57


@pytest.mark.parametrize("scale", [1, 2])
def test_the_frame_is_written_where_the_caller_says(maker: Maker, scale: int) -> None:
    first, second, out = at(0, scale=scale), at(1, scale=scale), empty_like(at(0, scale=scale))
    parts = maker()
    parts.look(at(0)[0], at(1)[0])
    parts.make(first, second, parts.guide(0.5), out)
    for plane, wanted in zip(out, at(0.5, scale=scale), strict=True):
        assert psnr(plane, wanted, edge=20 * scale) > 36


def test_many_times_of_one_pair_and_pairs_of_other_sizes_do_not_disturb_each_other(
    maker: Maker,
) -> None:
    parts, out = maker(), empty_like(at(0))
    for time in (0.25, 0.5, 0.75):
        parts.look(at(0)[0], at(1)[0])
        parts.make(at(0), at(1), parts.guide(time), out)
        assert all(
            np.array_equal(plane, alone)
            for plane, alone in zip(out, maker().between(at(0), at(1), time), strict=True)
        )
        small = at(0, width=96, height=96), at(1, width=96, height=96)
        assert psnr(parts.between(*small, 0.5)[0], at(0.5, width=96, height=96)[0]) > 34


def test_a_frame_takes_no_new_storage_once_its_size_is_known(maker: Maker) -> None:
    # As large as super-resolved frames, of which one plane must not be made anew each time.
    first, second, out = at(0, scale=4), at(1, scale=4), empty_like(at(0, scale=4))
    parts = maker()
    parts.look(at(0)[0], at(1)[0])
    parts.make(first, second, parts.guide(0.5), out)
    guide = parts.guide(0.5)
    tracemalloc.start()
    parts.make(first, second, guide, out)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Two tiles at a time keep small parts of the guide.
    assert peak < out[0].nbytes / 4


def test_a_pair_that_goes_on_from_the_last_one_is_not_made_small_again() -> None:
    parts = made_by(in_full=False)
    lumas = [at(time)[0] for time in range(3)]
    parts.look(lumas[0], lumas[1])
    assert np.array_equal(parts.seen, half(lumas[1]))
    # What happens to the second picture in between goes unseen.
    lumas[1][:] = 0
    parts.look(lumas[1], lumas[2])
    foreseen = parts.foreseen().copy()
    assert gain_db(foreseen, last=half(lumas[2]), actual=half(at(3)[0])) > 6
    # But a copy of it is another picture.
    parts.look(lumas[1].copy(), lumas[2])
    assert not np.array_equal(parts.foreseen(), foreseen)


def test_what_is_foreseen_tells_beforehand_whether_predicting_pays(maker: Maker) -> None:
    parts = maker()
    parts.look(at(0)[0], at(1)[0])
    foreseen, last = parts.foreseen(), parts.seen
    parts.look(at(1)[0], at(2)[0])
    assert gain_db(foreseen, last=last, actual=parts.seen) > 6
    # The camera stops: now it shows the wrong thing.
    assert gain_db(foreseen, last=last, actual=last) < -6


def test_after_a_reset_there_is_nothing_to_make_a_frame_of(maker: Maker) -> None:
    parts = maker()
    parts.look(at(0)[0], at(1)[0])
    parts.guide(0.5)
    parts.reset()
    with pytest.raises(AssertionError, match="look at a pair first"):
        parts.guide(0.5)


def street(time: float, *, width: int, height: int, offset: int) -> Plane:
    """A post that moves before a wall that stands, 40 pixels and more from the right edge."""
    wall = texture(width=width, height=height, seed=5)
    post = texture(width=width, height=height, moved=(6.0 * time, 0), seed=6)
    left = width - 120 - offset + 6.0 * time
    columns = np.arange(width, dtype=np.float32)
    covered = np.clip(columns - left, 0, 1) * np.clip(left + 48 - columns, 0, 1)
    mixed: Plane = np.rint(wall + covered * (post.astype(np.float32) - wall)).astype(np.uint8)
    return mixed


def test_a_picture_too_long_for_the_search_is_looked_at_on_half() -> None:
    parts = made_by(in_full=True)
    first, second = (at(time, width=8256, height=48)[0] for time in (0, 1))
    parts.look(first, second)
    assert parts.seen.shape == (24, 4128)
    assert parts.guide(0.5).extent == (12, 2064)


def discs(time: float) -> Plane:
    """Eighteen pixels wide, 1.5 to 4.5 pixels an interval to the right of what lies behind."""
    height, width = 256, 384
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    luma = texture(width=width, height=height, moved=(-2 * time, 0), seed=7).astype(np.float32)
    for n in range(24):
        moved = (1.5 * (1 + n % 3) * time, 2.0 * (n % 2) * time)
        there = np.hypot(
            columns - 60 * (n % 6) - 30 - moved[0], rows - 62 * (n // 6) - 30 - moved[1]
        )
        disc = texture(width=width, height=height, moved=moved, seed=20 + n % 4)
        luma += np.clip(9.5 - there, 0, 1) * (disc - luma)
    drawn: Plane = np.rint(luma).astype(np.uint8)
    return drawn


def test_small_things_that_move_alone_are_made_better_where_motion_is_found_in_full() -> None:
    chroma = np.full((128, 192), 128, np.uint8)
    first, second = ((discs(time), chroma, chroma) for time in (0, 1))
    on_half, whole = (
        psnr(made_by(in_full=in_full).between(first, second, 0.5)[0], discs(0.5))
        for in_full in (False, True)
    )
    assert whole > on_half + 2


OFFSETS = range(0, 24, 3)
"""Where the post meets the squares that are searched makes 1.8 dB; over all of their places it cancels."""


@pytest.mark.parametrize(("width", "height"), [(854, 144), (426, 242), (638, 142)])
def test_odd_halves_are_made_as_well_at_the_far_edges_as_at_the_near_ones(
    maker: Maker, width: int, height: int
) -> None:
    chroma = np.full((height // 2, width // 2), 128, np.uint8)
    inner = (slice(20, -20), slice(width - 160, width - 20))
    parts = maker()

    def made(first: Plane, second: Plane) -> Plane:
        return parts.between((first, chroma, chroma), (second, chroma, chroma), 0.5)[0]

    def found(offset: int) -> tuple[float, float, float]:
        before, wanted, after = (
            street(time, width=width, height=height, offset=offset) for time in (0, 0.5, 1)
        )
        mirrored = [np.ascontiguousarray(luma[:, ::-1]) for luma in (before, after)]
        sides = made(before, after), made(*mirrored)[:, ::-1], before
        right, left, repeated = (psnr(side[inner], wanted[inner], edge=1) for side in sides)
        return right, left, repeated

    right, left, repeated = np.mean([found(offset) for offset in OFFSETS], axis=0)
    assert right > repeated + 6
    assert right == pytest.approx(left, abs=0.5)
    cell = height / parts.guide(0.5).extent[0]
    assert parts.guide(0.5).extent == (height / cell, width / cell)
    assert cell in (2, 4)


def titled(time: float) -> Planes:
    """Letters two to four pixels wide that stand before a texture that moves."""
    luma = texture(width=320, height=180, moved=(7.0 * time, 1.5 * time), seed=4)
    cv2.putText(luma, "Still 12:45", (30, 140), cv2.FONT_HERSHEY_SIMPLEX, 1.1, 235, 3)
    chroma = np.full((90, 160), 128, np.uint8)
    return luma, chroma, chroma


def letters() -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    drawn = np.zeros((180, 320), np.uint8)
    cv2.putText(drawn, "Still 12:45", (30, 140), cv2.FONT_HERSHEY_SIMPLEX, 1.1, 235, 3)
    found = drawn > 0
    return np.asarray(found)


def error_db(seen: Plane, wanted: Plane) -> float:
    error = (seen.astype(np.float64) - wanted)[letters()]
    return 10 * math.log10(255**2 / max(1e-2, float(np.mean(error**2))))


@pytest.mark.parametrize("time", [0.5, 2.0])
def test_letters_that_stand_before_a_moving_scene_stay_as_they_are(
    maker: Maker, time: float
) -> None:
    parts, out = maker(), empty_like(titled(0))
    planes = [titled(n) for n in range(16)]
    errors = []
    for first, second in pairwise(planes):
        parts.look(first[0], second[0])
        parts.make(first, second, parts.guide(time), out)
        errors.append(error_db(out[0], second[0]))
    # Before their age is known they are dragged along.
    assert errors[0] < 25
    assert min(errors[-3:]) > 36
    parts.reset()
    parts.look(planes[-2][0], planes[-1][0])
    parts.make(planes[-2], planes[-1], parts.guide(time), out)
    assert error_db(out[0], planes[-1][0]) < 25
