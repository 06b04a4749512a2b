"""Tables tell how wrong a made picture would be without making it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from export.motion_tables import (
    CELL,
    STANDING_SECOND,
    TABLES,
    _softened,
    error_tables,
    expected_error,
)
from export.networks.motion import Choices
from streamer.frame import Plane
from streamer.ops.motion import Floats
from tests.streamer.pictures import texture

SIZE = (64, 96)
STEP = (8.0, -4.0)
"""Luma pixels from the first picture to the second."""

INNER = (slice(2, -2), slice(2, -2))
"""Cells that nothing moves into from outside."""


def picture(time: float) -> Plane:
    height, width = SIZE
    return texture(width=width, height=height, moved=(time * STEP[0], time * STEP[1]))


def told(forward: tuple[float, float], backward: tuple[float, float]) -> Floats:
    grid = SIZE[0] // 4, SIZE[1] // 4
    values = np.array([*forward, *backward], np.float32) / 4
    return np.ascontiguousarray(np.broadcast_to(values[:, None, None], (4, *grid)), np.float32)


def choices(*, ahead: float, moves: float, share: float, softness: float) -> Choices:
    grid = SIZE[0] // 4, SIZE[1] // 4
    return Choices(*(torch.full((1, 1, *grid), v) for v in (ahead, moves, share, softness)))


def made(tables: Floats, chosen: Choices) -> Floats:
    """Expected squared error of the inner cells."""
    error = expected_error(chosen, torch.from_numpy(tables[None]))
    assert error.shape == (1, 1, SIZE[0] // CELL, SIZE[1] // CELL)
    inner: Floats = error[0, 0].numpy()[INNER]
    return inner


def tables_at(
    time: float, *, forward: tuple[float, float], backward: tuple[float, float]
) -> Floats:
    motions = told(forward, backward)
    ahead = np.ones(motions.shape[1:], np.float32)
    tables = error_tables(
        picture(0.0), picture(1.0), picture(time), motions, ahead=ahead, time=time
    )
    assert tables.shape == (TABLES, SIZE[0] // CELL, SIZE[1] // CELL)
    return tables


@pytest.mark.parametrize("time", [0.25, 0.5, 2.0])
def test_the_right_motion_errs_least_and_only_where_it_is_chosen(time: float) -> None:
    tables = tables_at(time, forward=STEP, backward=(-20.0, 3.0))
    right, wrong, standing = (
        made(tables, choices(ahead=ahead, moves=moves, share=0.0, softness=0.0)).mean()
        for ahead, moves in ((1.0, 1.0), (0.0, 1.0), (0.0, 0.0))
    )
    assert right < 3
    assert 20 < standing < wrong


def test_half_of_the_way_counts_when_half_of_the_motion_is_chosen() -> None:
    tables = tables_at(0.5, forward=(2 * STEP[0], 2 * STEP[1]), backward=(0.0, 0.0))
    half, all_of_it = (
        made(tables, choices(ahead=1.0, moves=moves, share=0.0, softness=0.0)).mean()
        for moves in (0.5, 1.0)
    )
    assert half < 3 < all_of_it


@pytest.mark.parametrize(("share", "softness"), [(0.0, 0.0), (0.3, 0.0), (0.5, 0.4), (1.0, 1.0)])
def test_a_mixture_of_one_motion_errs_as_the_picture_it_makes(
    share: float, softness: float
) -> None:
    first, second, wanted = picture(0.0), picture(1.0), picture(0.5)
    tables = tables_at(0.5, forward=STEP, backward=STEP)
    expected = made(tables, choices(ahead=0.0, moves=0.0, share=share, softness=softness))
    mixed = [
        share * one.astype(np.float32) + (1 - share) * other
        for one, other in ((first, second), (_softened(first), _softened(second)))
    ]
    error = (1 - softness) * mixed[0] + softness * mixed[1] - wanted
    cells = cv2.resize(
        error * error, (SIZE[1] // CELL, SIZE[0] // CELL), interpolation=cv2.INTER_AREA
    )
    assert np.allclose(expected, cells[INNER], rtol=1e-3, atol=1e-2)


def test_one_table_is_the_error_of_showing_the_second_picture_again() -> None:
    tables = tables_at(2.0, forward=STEP, backward=STEP)
    again = made(tables, choices(ahead=0.5, moves=0.0, share=0.0, softness=0.0))
    assert np.allclose(again, tables[STANDING_SECOND][INNER])
    assert again.mean() > 10
