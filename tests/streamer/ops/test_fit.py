from __future__ import annotations

import numpy as np
import pytest

from streamer.frame import Planes
from streamer.ops import host
from tests.streamer.pictures import empty, noise


def even(code: int, *, width: int, height: int) -> Planes:
    y, u, v = noise(width=width, height=height)
    return np.full_like(y, code), np.full_like(u, code), np.full_like(v, code)


def test_a_picture_of_the_same_shape_fills_the_whole_space() -> None:
    out = empty(width=64, height=36)
    host.fit(even(77, width=32, height=18), out, black=16)
    assert all((plane == 77).all() for plane in out)


@pytest.mark.parametrize("black", [0, 16])
def test_an_upright_picture_stands_between_black_bars(black: int) -> None:
    out = empty(width=64, height=36)
    planes = even(200, width=18, height=36)
    host.fit(planes, out, black=black)
    luma, u, _ = out
    shown = (luma == 200).all(axis=0)
    assert shown.sum() == 18
    left = int(np.argmax(shown))
    assert left % 2 == 0
    assert abs(left - (64 - 18) / 2) <= 1
    assert (luma[:, ~shown] == black).all()
    assert (u[:, : left // 2] == 128).all()
    assert (u[:, left // 2 : left // 2 + 9] == 200).all()


def test_a_wide_picture_stands_between_bars_above_and_below() -> None:
    out = empty(width=64, height=36)
    planes = even(200, width=128, height=32)
    host.fit(planes, out, black=16)
    shown = (out[0] == 200).all(axis=1)
    assert shown.sum() == 16
    assert (out[0][~shown] == 16).all()


@pytest.mark.parametrize(("width", "height"), [(1280, 2), (8192, 2), (2, 1280)])
def test_a_strip_too_thin_to_be_seen_leaves_a_line(width: int, height: int) -> None:
    out = empty(width=64, height=36)
    host.fit(even(200, width=width, height=height), out, black=16)
    assert (out[0] == 200).sum() == 2 * (64 if width > height else 36)
    assert (out[0] == 16).sum() == out[0].size - (out[0] == 200).sum()
