"""The small picture of a stream: its size, its shape and its colours."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest

from streamer.frame import Frame
from streamer.media import Color
from streamer.server.still import WIDTH, still


def frame_of(
    levels: tuple[int, int, int], *, size: tuple[int, int] = (1280, 720), **fields: object
) -> Frame:
    width, height = size
    shapes = ((height, width), (height // 2, width // 2), (height // 2, width // 2))
    y, u, v = (np.full(shape, level, np.uint8) for shape, level in zip(shapes, levels, strict=True))
    values = {"color": Color(matrix="bt709"), "pts": 0, "time_base": Fraction(1, 90_000), **fields}
    return Frame(planes=(y, u, v), arrived_ns=0, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("color", "levels"),
    [
        (Color(matrix="bt709"), (63, 102, 240)),
        (Color(matrix="bt601"), (81, 90, 240)),
        (Color(matrix="bt601", range="full"), (76, 85, 255)),
        (Color(matrix="bt2020nc"), (74, 97, 240)),
    ],
)
def test_red_is_red_in_every_matrix_and_range(color: Color, levels: tuple[int, int, int]) -> None:
    picture = cv2.imdecode(np.frombuffer(still(frame_of(levels, color=color)), np.uint8), 1)
    assert picture is not None
    blue, green, red = picture.reshape(-1, 3).mean(axis=0)
    assert red > 248
    assert max(blue, green) < 8


@pytest.mark.parametrize(
    ("size", "aspect", "expected"),
    [
        ((1280, 720), Fraction(1), (WIDTH, 270)),
        ((160, 96), Fraction(1), (160, 96)),
        ((720, 576), Fraction(64, 45), (WIDTH, 270)),
        ((2, 720), Fraction(1), (2, 720)),
        ((320, 180), Fraction(1, 2), (320, 360)),
        ((320, 180), Fraction(1, 65_535), (1, 1080)),
        ((320, 180), Fraction(65_535), (320, 1)),
    ],
)
def test_it_is_small_and_in_the_shape_in_which_it_is_shown(
    size: tuple[int, int], aspect: Fraction, expected: tuple[int, int]
) -> None:
    data = still(frame_of((120, 128, 128), size=size, sample_aspect=aspect))
    assert data.startswith(b"\xff\xd8")
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), 1)
    assert picture is not None
    assert (picture.shape[1], picture.shape[0]) == expected
