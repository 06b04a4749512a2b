"""Picture arithmetic, against twins that are written as ``ModelManifest`` describes them."""

from __future__ import annotations

from types import ModuleType

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.native import native
from streamer.frame import Planes
from streamer.ops import host, host_opencv
from tests.streamer.pictures import empty, noise

Tensor = NDArray[np.float32]


@pytest.fixture(params=[host, host_opencv], ids=["compiled", "opencv"])
def ops(request: pytest.FixtureRequest) -> ModuleType:
    """What is compiled, where it is, and what stands in for it."""
    ways: ModuleType = request.param
    if ways is host and native() is None:
        pytest.skip("nothing is compiled for this processor: no C++ compiler was there")
    return ways


def packed_twin(planes: Planes) -> Tensor:
    """Pixel by pixel, in exact arithmetic."""
    y, u, v = (plane.astype(np.float64) for plane in planes)
    rows, columns = u.shape
    out = np.zeros((1, 6, rows, columns))
    for row in range(rows):
        for column in range(columns):
            for phase, (i, j) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
                out[0, phase, row, column] = (y[2 * row + i, 2 * column + j] - 16) / 219
            out[0, 4, row, column] = (u[row, column] - 128) / 224
            out[0, 5, row, column] = (v[row, column] - 128) / 224
    return out.astype(np.float32)


def added_twin(base: Planes, residual: Tensor, *, scale: int) -> list[NDArray[np.float64]]:
    """The sums before rounding and clipping."""
    sums = [plane.astype(np.float64) for plane in base]
    rows, columns = residual.shape[2:]
    luma = 2 * scale
    for row in range(rows):
        for column in range(columns):
            at = residual[0, :, row, column]
            for i in range(luma):
                for j in range(luma):
                    sums[0][luma * row + i, luma * column + j] += at[luma * i + j]
            for number in (0, 1):
                of_plane = at[(4 + number) * scale**2 : (5 + number) * scale**2]
                for i in range(scale):
                    for j in range(scale):
                        sums[1 + number][scale * row + i, scale * column + j] += of_plane[
                            scale * i + j
                        ]
    return sums


@pytest.mark.parametrize("padding", [0, 5, 32])
@pytest.mark.parametrize(("width", "height"), [(2, 2), (22, 14), (46, 18)])
def test_packing_is_its_twin(ops: ModuleType, width: int, height: int, padding: int) -> None:
    planes = noise(width=width, height=height, padding=padding)
    out = np.full((1, 6, height // 2, width // 2), np.nan, np.float32)
    ops.pack(planes, out)
    np.testing.assert_allclose(out, packed_twin(planes), rtol=0, atol=1e-6)


def test_packing_parts_is_packing_the_whole(ops: ModuleType) -> None:
    y, u, v = noise(width=46, height=18, padding=3)
    whole, apart = np.full((2, 1, 6, 9, 23), np.nan, np.float32)
    ops.pack((y, u, v), whole)
    for begin, end in ((0, 4), (4, 9)):
        rows = slice(begin, end)
        ops.pack((y[2 * begin : 2 * end], u[rows], v[rows]), apart[:, :, rows])
    np.testing.assert_array_equal(apart, whole)


def test_every_code_is_packed_as_opencv_packs_it() -> None:
    planes = tuple(np.arange(n, dtype=np.uint8).reshape(-1, 16) for n in (1024, 256, 256))
    y, u, v = planes[0].reshape(32, 32), planes[1], planes[2][::-1]
    seen, expected = np.full((2, 1, 6, 16, 16), np.nan, np.float32)
    host.pack((y, u, v), seen)
    host_opencv.pack((y, u, v), expected)
    np.testing.assert_array_equal(seen, expected)


@pytest.mark.parametrize("padding", [0, 7])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_enhancing_is_its_twin(ops: ModuleType, scale: int, padding: int) -> None:
    planes = noise(width=10, height=6, padding=padding)
    numbers = np.random.default_rng(scale)
    residual = numbers.normal(0, 60, (1, 6 * scale**2, 3, 5)).astype(np.float32)
    plain, out = (empty(width=10 * scale, height=6 * scale) for _ in range(2))
    ops.upscale(planes, plain)
    ops.enhance(planes, residual, out)
    for plane, exact in zip(out, added_twin(plain, residual, scale=scale), strict=True):
        clipped = np.clip(exact, 0, 255)
        assert np.abs(plane - clipped).max() <= 0.5 + 1e-4
    assert any((plane == 255).any() and (plane == 0).any() for plane in out)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_a_residual_in_whole_code_values_around_128_is_the_same_sum(
    ops: ModuleType, scale: int
) -> None:
    planes = noise(width=12, height=8)
    codes = np.random.default_rng(scale).integers(0, 256, (1, 6 * scale**2, 4, 6), np.uint8)
    expected, seen = (empty(width=12 * scale, height=8 * scale) for _ in range(2))
    ops.enhance(planes, codes.astype(np.float32) - 128, expected)
    ops.enhance(planes, codes, seen)
    for plane, same in zip(seen, expected, strict=True):
        np.testing.assert_array_equal(plane, same)
    assert any((plane == 255).any() and (plane == 0).any() for plane in seen)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_a_residual_of_zero_is_the_plain_upscale(ops: ModuleType, scale: int) -> None:
    planes = noise(width=12, height=8)
    plain, out = (empty(width=12 * scale, height=8 * scale) for _ in range(2))
    ops.upscale(planes, plain)
    ops.enhance(planes, np.zeros((1, 6 * scale**2, 4, 6), np.float32), out)
    assert all(np.array_equal(a, b) for a, b in zip(plain, out, strict=True))


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize(("width", "height"), [(2, 2), (46, 34), (324, 34)])
def test_enhancing_is_the_sum_of_the_upscale_and_the_residual(
    ops: ModuleType, width: int, height: int, scale: int
) -> None:
    planes = noise(width=width, height=height, padding=5)
    numbers = np.random.default_rng(scale)
    codes = numbers.integers(0, 256, (1, 6 * scale**2, height // 2, width // 2), np.uint8)
    # No sum is a half, which is rounded in one step or in two.
    floats = (codes.astype(np.float32) - 128) / 3 + np.float32(0.01)
    for residual in (codes, floats):
        expected, seen = (empty(width=width * scale, height=height * scale) for _ in range(2))
        host_opencv.upscale(planes, expected)
        host_opencv.add_residual(expected, residual, expected)
        ops.enhance(planes, residual, seen)
        for plane, same in zip(seen, expected, strict=True):
            np.testing.assert_array_equal(plane, same)


def test_the_compiled_upscale_is_that_of_opencv() -> None:
    # Letters and stripes: between equal rows every 256th sum is a half, which both make even.
    stripes = np.repeat(np.random.default_rng(1).integers(0, 256, (1, 640), np.uint8), 32, axis=0)
    for planes in (noise(width=640, height=32), (stripes, stripes[:16, :320], stripes[:16, 320:])):
        seen, expected = empty(width=1280, height=64), empty(width=1280, height=64)
        host.upscale(planes, seen)
        host_opencv.upscale(planes, expected)
        for plane, same in zip(seen, expected, strict=True):
            np.testing.assert_array_equal(plane, same)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_plain_upscale_is_bicubic_for_each_plane_by_itself(ops: ModuleType, scale: int) -> None:
    planes = noise(width=22, height=14, padding=10)
    out = empty(width=22 * scale, height=14 * scale)
    ops.upscale(planes, out)
    for plane, target in zip(planes, out, strict=True):
        size = (plane.shape[1] * scale, plane.shape[0] * scale)
        theirs = cv2.resize(plane.copy(), size, interpolation=cv2.INTER_CUBIC)
        assert np.array_equal(target, theirs)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_plain_upscale_keeps_a_slope_where_it_is(ops: ModuleType, scale: int) -> None:
    slope = np.arange(0, 240, 4, dtype=np.uint8)
    planes = tuple(np.tile(slope[: 60 // n], (20 // n, 1)) for n in (1, 2, 2))
    out = empty(width=60 * scale, height=20 * scale)
    ops.upscale(planes, out)
    inner = np.arange(4 * scale, 56 * scale)
    # The centre of output pixel x lies at (x + 0.5) / scale - 0.5 of the input.
    expected = 4 * ((inner + 0.5) / scale - 0.5)
    assert np.abs(out[0][10 * scale][inner] - expected).max() <= 0.75


def test_at_the_same_size_the_plain_upscale_is_a_copy(ops: ModuleType) -> None:
    planes = noise(width=22, height=14, padding=3)
    out = empty(width=22, height=14)
    ops.upscale(planes, out)
    assert all(np.array_equal(a, b) for a, b in zip(planes, out, strict=True))
    host.copy(empty(width=22, height=14), out)
    assert np.array_equal(out[0], empty(width=22, height=14)[0])
