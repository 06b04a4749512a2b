"""What counts as standing still: by age, by detail, and by what motion cannot explain."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.frame import Plane, Planes
from streamer.ops.motion import Floats
from streamer.ops.motion_still import NEEDED, StillAreas
from tests.streamer.pictures import texture

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


def after(lumas: list[Plane], *, for_still: bool = True) -> StillAreas:
    areas = StillAreas()
    for luma in lumas:
        areas.see(luma)
        areas.weigh(evidence(for_still=for_still))
    return areas


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("trembling", [0, 12])
def test_strokes_that_stand_are_copied_and_what_moves_is_not(scale: int, trembling: int) -> None:
    areas = after([at(n, trembling=trembling) for n in range(10)])
    luma, u, v = copied(areas, scale=scale)
    for plane, step in ((luma, scale), (u, scale / 2), (v, scale / 2)):
        box, elsewhere = (
            tuple(slice(int(side.start * step), int(side.stop * step)) for side in part)
            for part in (BOX, ELSEWHERE)
        )
        assert np.mean(plane[box]) > 240
        assert not plane[elsewhere].any()


def test_what_only_just_stands_is_not_yet_copied() -> None:
    assert not copied(after([at(n) for n in range(NEEDED)]))[0].any()


def test_what_is_gone_is_no_longer_copied() -> None:
    lumas = [at(n) for n in range(10)]
    assert copied(after(lumas))[0].any()
    gone = texture(width=WIDTH, height=HEIGHT, moved=(50, 20))
    assert np.mean(copied(after([*lumas, gone]))[0][BOX] > 0) < 0.05


def test_what_motion_explains_as_well_is_not_copied() -> None:
    # A camera that stands sees detail that stands, too.
    assert not copied(after([at(n) for n in range(10)], for_still=False))[0].any()


def test_a_slow_drift_is_motion() -> None:
    # From picture to picture it is within the tolerance, over four of them it is not.
    def stripes(n: int) -> Plane:
        row = 126 + 80 * np.sin((np.arange(WIDTH) - 0.4 * n) * 2 * np.pi / 12)
        return np.broadcast_to(np.rint(row).astype(np.uint8), (HEIGHT, WIDTH)).copy()

    assert np.abs(stripes(1).astype(int) - stripes(0)).max() < 18
    assert copied(after([stripes(0)] * 16))[0].any()
    assert not copied(after([stripes(n) for n in range(16)]))[0].any()


def test_flat_areas_are_not_copied() -> None:
    flat = np.full((HEIGHT, WIDTH), 120, np.uint8)
    assert not copied(after([flat] * 10))[0].any()


def test_a_reset_and_another_size_begin_anew() -> None:
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
