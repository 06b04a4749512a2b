"""Sharpening as streams call it: the same with and without what is compiled."""

from __future__ import annotations

import numpy as np
import pytest

from kernels import reference_sharpen
from kernels.native import native
from streamer.frame import Plane
from streamer.media import Color
from streamer.ops import sharpen as ops
from streamer.ops.sharpen import ROWS, sharpen
from tests.streamer.pictures import noise, texture

LIMITED = Color(matrix="bt709")
FULL = Color(matrix="bt709", range="full")
HEIGHTS = (1, 2, 3, ROWS, 2 * ROWS + 1, 5 * ROWS + 3)


@pytest.fixture(params=["compiled", "in NumPy"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    if name == "in NumPy":
        monkeypatch.setattr(ops, "native", lambda: None)
    elif native() is None:
        pytest.skip("nothing is compiled for processors; run: python -m kernels.native_build")
    return name


def gradient(plane: Plane) -> float:
    codes = plane.astype(float)
    return float(np.abs(np.diff(codes, axis=0)).mean() + np.abs(np.diff(codes, axis=1)).mean())


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("color", [LIMITED, FULL])
@pytest.mark.parametrize("height", HEIGHTS)
def test_both_halves_are_what_the_definition_says(height: int, color: Color) -> None:
    black, white = color.black, color.white
    # Enlarged, most of it is softer than noise; rows of the planes lie apart.
    for luma in (texture(width=75, height=height), noise(width=75, height=height, padding=9)[0]):
        expected, out = np.zeros_like(luma), np.zeros((height, 80), np.uint8)[:, :75]
        rows = range(height)
        reference_sharpen.sharpen(luma, expected, rows, strength=0.6, black=black, white=white)
        sharpen(luma, out, strength=0.6, color=color)
        np.testing.assert_array_equal(out, expected)


@pytest.mark.usefixtures("way")
def test_a_picture_gets_sharper_with_strength() -> None:
    luma = texture(width=160, height=90)
    out, seen = np.zeros_like(luma), []
    for strength in (0.0, 0.25, 0.5, 0.75, 1.0):
        sharpen(luma, out, strength=strength, color=LIMITED)
        seen.append(gradient(out))
    assert seen[0] == gradient(luma)
    assert seen == sorted(set(seen))


@pytest.mark.usefixtures("way")
def test_what_is_black_or_white_is_told_by_the_range() -> None:
    luma = np.full((9, 9), 14, np.uint8)
    luma[4, 4] = 10
    out = np.zeros_like(luma)
    sharpen(luma, out, strength=1.0, color=LIMITED)
    np.testing.assert_array_equal(out, luma)
    sharpen(luma, out, strength=1.0, color=FULL)
    assert out[4, 4] < 10
