"""What counts as standing still: by age, by detail, and by what motion cannot explain."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from kernels.native import native
from streamer.frame import Plane, Planes
from streamer.ops.motion import Floats
from streamer.ops.motion_still import StillAreas
from streamer.ops.still_limits import NEEDED
from tests.streamer.pictures import noise, texture

WIDTH, HEIGHT = 96, 64
BOX = (slice(24, 40), slice(32, 64))
"""Where strokes stand."""

ELSEWHERE = (slice(0, 18), slice(0, WIDTH))


def at(time: float, *, trembling: int = 0) -> Plane:
    """A texture that moves behind strokes two pixels wide that stand, or tremble."""
    luma = texture(width=WIDTH, height=HEIGHT, moved=(5.0 * time, 2.0 * time))
    tremor = np.random.default_rng(int(time)).integers(-trembling, trembling + 1)
    for left in range(BOX[1].start, BOX[1].stop, 6):
        luma[BOX[0], left : left + 2] = 20 + trembling + tremor
        luma[BOX[0], left + 2 : left + 4] = 220 - trembling + tremor
    return luma


def evidence(*, for_still: bool) -> Floats:
    """Pictures of which those brought along differ, or those that stayed."""
    pictures = np.zeros((6, HEIGHT // 2, WIDTH // 2), np.float32)
    pictures[[1, 3] if for_still else [5]] = 0.3
    return pictures


def copied(areas: StillAreas, *, scale: int = 1) -> tuple[Plane, ...]:
    """Where black planes of a picture ``scale`` times as large were filled with white."""

    def planes(code: int) -> Planes:
        luma = np.full((HEIGHT * scale, WIDTH * scale), code, np.uint8)
        return luma, luma[::2, ::2].copy(), luma[::2, ::2].copy()

    out = planes(0)
    areas.copy(planes(255), out)
    return out


After = Callable[..., StillAreas]


@pytest.fixture(params=[True, False], ids=["compiled", "opencv"])
def after(request: pytest.FixtureRequest) -> After:
    """What both ways know after lumas."""
    if request.param and native() is None:
        pytest.skip("nothing is compiled for this processor: no C++ compiler was there")

    def of(lumas: list[Plane], *, for_still: bool = True) -> StillAreas:
        areas = StillAreas(is_compiled=request.param)
        for luma in lumas:
            areas.see(luma)
            areas.weigh(evidence(for_still=for_still))
        return areas

    return of


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("trembling", [0, 12])
def test_strokes_that_stand_are_copied_and_what_moves_is_not(
    after: After, scale: int, trembling: int
) -> None:
    areas = after([at(n, trembling=trembling) for n in range(10)])
    luma, u, v = copied(areas, scale=scale)
    for plane, step in ((luma, scale), (u, scale / 2), (v, scale / 2)):
        box, elsewhere = (
            tuple(slice(int(side.start * step), int(side.stop * step)) for side in part)
            for part in (BOX, ELSEWHERE)
        )
        assert np.mean(plane[box]) > 240
        assert not plane[elsewhere].any()


def test_what_only_just_stands_is_not_yet_copied(after: After) -> None:
    assert not copied(after([at(n) for n in range(NEEDED)]))[0].any()


def test_what_is_gone_is_no_longer_copied(after: After) -> None:
    lumas = [at(n) for n in range(10)]
    assert copied(after(lumas))[0].any()
    gone = texture(width=WIDTH, height=HEIGHT, moved=(50, 20))
    assert np.mean(copied(after([*lumas, gone]))[0][BOX] > 0) < 0.05


def test_what_motion_explains_as_well_is_not_copied(after: After) -> None:
    # A camera that stands sees detail that stands, too.
    assert not copied(after([at(n) for n in range(10)], for_still=False))[0].any()


def test_a_slow_drift_is_motion(after: After) -> None:
    # From picture to picture it is within the tolerance, over four of them it is not.
    def stripes(n: int) -> Plane:
        row = 126 + 80 * np.sin((np.arange(WIDTH) - 0.4 * n) * 2 * np.pi / 12)
        return np.broadcast_to(np.rint(row).astype(np.uint8), (HEIGHT, WIDTH)).copy()

    assert np.abs(stripes(1).astype(int) - stripes(0)).max() < 18
    assert copied(after([stripes(0)] * 16))[0].any()
    assert not copied(after([stripes(n) for n in range(16)]))[0].any()


def test_flat_areas_are_not_copied(after: After) -> None:
    flat = np.full((HEIGHT, WIDTH), 120, np.uint8)
    assert not copied(after([flat] * 10))[0].any()


def test_a_reset_and_another_size_begin_anew(after: After) -> None:
    lumas = [at(n) for n in range(10)]
    areas = after(lumas)
    areas.reset()
    assert not copied(areas)[0].any()
    areas.see(lumas[-1])
    areas.weigh(evidence(for_still=True))
    assert not copied(areas)[0].any()
    areas = after(lumas)
    areas.see(lumas[0][:32, :32].copy())
    areas.weigh(evidence(for_still=True))
    assert not copied(areas)[0].any()


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_both_ways_copy_the_same_pixels(after: After, scale: int) -> None:
    lumas = [at(n, trembling=6) for n in range(12)]
    areas, other = after(lumas), StillAreas(is_compiled=False)
    for luma in lumas:
        other.see(luma)
        other.weigh(evidence(for_still=True))
    planes = noise(width=WIDTH * scale, height=HEIGHT * scale, padding=5)
    outs = [noise(width=WIDTH * scale, height=HEIGHT * scale, seed=2, padding=3) for _ in range(2)]
    areas.copy(planes, outs[0])
    other.copy(planes, outs[1])
    for one, two in zip(*outs, strict=True):
        np.testing.assert_array_equal(one, two)
    for shape in ((HEIGHT, WIDTH), (2 * HEIGHT, 2 * WIDTH), (HEIGHT // 2, WIDTH // 2)):
        np.testing.assert_array_equal(np.asarray(areas.mask(shape)), np.asarray(other.mask(shape)))


def test_lumas_of_odd_sizes_are_watched_as_well(after: After) -> None:
    lumas = [at(n)[:-1, :-3] for n in range(10)]
    areas = after([])
    for luma in lumas:
        areas.see(luma)
        areas.weigh(evidence(for_still=True))
    mask = areas.mask((HEIGHT - 1, WIDTH - 3))
    assert mask is not None
    assert mask[BOX].mean() > 240
