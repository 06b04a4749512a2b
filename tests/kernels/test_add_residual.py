"""Residuals on top of the plain upscale: the kernel on the host, its twin, and the streamer's host."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels import launch, reference
from kernels.arguments import Layout, Precision
from kernels.units import SCALES
from streamer.frame import Planes
from streamer.ops import host
from tests.kernels.pictures import FLOATS, Guarded, HostPicture, noise, tensor
from tests.kernels.runners import Runner

# Width, height, samples between rows, samples before the first one, cells beyond the picture.
SHAPES = [
    *((1, 1, 0, 0, 0), (2, 2, 5, 3, 1), (3, 5, 0, 0, 4)),
    *((16, 8, 32, 0, 0), (37, 21, 5, 3, 1), (38, 22, 0, 0, 0)),
]


def wild(scale: int, rows: int, columns: int, precision: Precision) -> NDArray[Any]:
    """A residual with everything that a broken network gives among what a sound one does."""
    numbers = np.random.default_rng([scale, rows, columns])
    values = numbers.normal(0, 40, (6 * scale**2, rows, columns)).astype(FLOATS[precision])
    chance = numbers.random(values.shape)
    for share, odd in enumerate((np.nan, np.inf, -np.inf, 60000, -60000, 0.5, -0.5, 0)):
        values[(chance >= share / 20) & (chance < (share + 1) / 20)] = odd
    return values


def blank(planes: list[NDArray[Any]], scale: int, layout: Layout) -> list[NDArray[Any]]:
    height, width = (scale * side for side in planes[0].shape)
    return [np.zeros_like(plane) for plane in noise(layout, width=width, height=height)]


@pytest.mark.parametrize("precision", list(Precision))
@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("width", "height", "padding", "offset", "beyond"), SHAPES)
def test_adding_a_residual_is_its_twin_in_every_bit(
    runner: Runner,
    scale: int,
    layout: Layout,
    precision: Precision,
    width: int,
    height: int,
    padding: int,
    offset: int,
    beyond: int,
) -> None:
    planes = noise(layout, width=width, height=height)
    rows, columns = (height + 1) // 2 + beyond, (width + 1) // 2 + beyond
    residual = Guarded(wild(scale, rows, columns, precision), offset=offset)
    picture = HostPicture(planes, layout, padding=padding, offset=offset)
    out = HostPicture(blank(planes, scale, layout), layout, padding=padding, offset=offset)
    check(runner, picture, residual, out, precision, scale=scale)


@pytest.mark.parametrize("precision", list(Precision))
@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("width", "height"), [(64, 7), (42, 12), (41, 4)])
def test_rows_laid_as_a_device_has_them_take_wide_accesses_and_end_anywhere(
    runner: Runner, scale: int, layout: Layout, precision: Precision, width: int, height: int
) -> None:
    planes = noise(layout, width=width, height=height)
    residual = Guarded(wild(scale, (height + 1) // 2, -(-width // 8) * 4, precision))
    picture = HostPicture(planes, layout, pitch=32)
    out = HostPicture(blank(planes, scale, layout), layout, pitch=32)
    check(runner, picture, residual, out, precision, scale=scale)


def check(
    runner: Runner,
    picture: HostPicture,
    residual: Guarded,
    out: HostPicture,
    precision: Precision,
    *,
    scale: int,
) -> None:
    runner.run(
        launch.add_residual(
            picture.picture(), tensor(residual, precision), out.picture(), scale=scale
        )
    )
    twin = reference.add_residual(picture.planes, residual.array, scale=scale)
    for seen, expected in zip(out.planes, twin, strict=True):
        np.testing.assert_array_equal(seen, expected)
    assert out.is_intact()


@pytest.mark.parametrize("scale", SCALES)
def test_the_twin_is_the_streamers_sum_but_for_the_rounding_of_weights(scale: int) -> None:
    y, u, v = noise(Layout.YUV420P, width=96, height=64)
    residual = np.random.default_rng(3).normal(0, 25, (6 * scale**2, 32, 48)).astype(np.float32)
    theirs: Planes = tuple(  # type: ignore[assignment]
        np.zeros([scale * side for side in plane.shape], np.uint8) for plane in (y, u, v)
    )
    host.enhance((y, u, v), residual[None], theirs)
    for seen, expected in zip(
        reference.add_residual([y, u, v], residual, scale=scale), theirs, strict=True
    ):
        apart = np.abs(seen.astype(int) - expected)
        assert apart.max() <= 1
        # 8-bit weights of 1/2048 and a sum that rounds its halves up; noise is the worst of inputs.
        assert (apart > 0).mean() < 0.01


def test_a_residual_of_nothing_is_the_plain_upscale() -> None:
    planes = noise(Layout.P010, width=10, height=6)
    residual = np.zeros((24, 3, 5), np.float16)
    luma, chroma = reference.add_residual(planes, residual, scale=2)
    np.testing.assert_array_equal(luma, reference.upscale(planes[0], scale=2, height=12, width=20))
    assert chroma.shape == (6, 10, 2)
    broken = reference.add_residual(planes, np.full_like(residual, np.nan), scale=2)
    np.testing.assert_array_equal(luma, broken[0])


def test_whole_codes_are_the_same_residual_as_floats() -> None:
    planes = noise(Layout.YUV420P, width=18, height=10)
    codes = np.random.default_rng(4).integers(0, 256, (24, 5, 9), np.uint8)
    floats = codes.astype(np.float32) - 128
    for one, other in zip(
        reference.add_residual(planes, codes, scale=2),
        reference.add_residual(planes, floats, scale=2),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    theirs: Planes = tuple(  # type: ignore[assignment]
        np.zeros([2 * side for side in plane.shape], np.uint8) for plane in planes
    )
    host.enhance((planes[0], planes[1], planes[2]), codes[None], theirs)
    # At x2 the upscale of the host is that of the twin.
    for seen, expected in zip(theirs, reference.add_residual(planes, codes, scale=2), strict=True):
        np.testing.assert_array_equal(seen, expected)


def test_a_code_value_of_residual_is_four_in_ten_bits() -> None:
    planes = [np.full(shape, 512 << 6, np.uint16) for shape in ((2, 2), (1, 1, 2))]
    luma, chroma = reference.add_residual(planes, np.ones((6, 1, 1), np.float32), scale=1)
    assert set((luma >> 6).ravel().tolist()) == {516}
    assert (chroma >> 6).tolist() == [[[516, 516]]]


def test_what_lies_beyond_the_picture_is_not_read(runner: Runner) -> None:
    planes = noise(Layout.NV12, width=9, height=7)
    residual = Guarded(np.zeros((24, 9, 12), np.float16))
    outputs = []
    for beyond in (0.0, 100.0):
        residual.array[:, 4:] = residual.array[:, :, 5:] = beyond
        out = HostPicture(blank(planes, 2, Layout.NV12), Layout.NV12)
        picture = HostPicture(planes, Layout.NV12, padding=int(beyond) // 10)
        call = launch.add_residual(
            picture.picture(), tensor(residual, Precision.FLOAT16), out.picture(), scale=2
        )
        runner.run(call)
        outputs.append(out.planes)
    for one, other in zip(*outputs, strict=True):
        np.testing.assert_array_equal(one, other)
