"""Pictures packed for the networks: the kernel on the host, its twin, and what the streamer packs."""

from __future__ import annotations

import numpy as np
import pytest

from kernels import launch, reference
from kernels.arguments import Layout, Precision
from streamer.ops import host
from tests.kernels.host_build import HostKernels
from tests.kernels.pictures import (
    FLOATS,
    Guarded,
    HostPicture,
    noise,
    random_samples,
    tensor,
)
from tests.kernels.runners import Runner

# Width, height, samples between rows, samples before the first one.
SHAPES = [
    *((1, 1, 0, 0), (2, 2, 5, 3), (3, 5, 0, 0), (10, 4, 0, 0)),
    *((16, 8, 32, 0), (37, 21, 5, 3), (70, 34, 0, 0)),
]


@pytest.mark.parametrize("precision", list(FLOATS))
@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize(("width", "height", "padding", "offset"), SHAPES)
def test_packing_is_its_twin_in_every_bit(
    runner: Runner,
    layout: Layout,
    precision: Precision,
    width: int,
    height: int,
    padding: int,
    offset: int,
) -> None:
    planes = noise(layout, width=width, height=height)
    picture = HostPicture(planes, layout, padding=padding, offset=offset)
    shape = (6, (height + 1) // 2 + 3, (width + 1) // 2 + offset)
    out = Guarded(np.zeros(shape, FLOATS[precision]), offset=offset)
    check(runner, picture, out, precision)


@pytest.mark.parametrize("precision", list(FLOATS))
@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize(("width", "height"), [(64, 7), (54, 12), (43, 4)])
def test_rows_laid_as_a_device_has_them_take_wide_accesses_and_end_anywhere(
    runner: Runner, layout: Layout, precision: Precision, width: int, height: int
) -> None:
    picture = HostPicture(noise(layout, width=width, height=height), layout, pitch=32)
    out = Guarded(np.zeros((6, (height + 1) // 2, -(-width // 16) * 8), FLOATS[precision]))
    check(runner, picture, out, precision)


@pytest.mark.parametrize("layout", [Layout.NV12, Layout.P010])
def test_every_code_is_packed_as_a_division_gives_it(runner: Runner, layout: Layout) -> None:
    """The kernel multiplies by the reciprocal and corrects that."""
    step = 64 if layout is Layout.P010 else 1
    every = np.arange(2**layout.bits)[None].repeat(2, 0) * step
    luma = every.astype(random_samples((1, 1), layout.bits, np.random.default_rng(0)).dtype)
    pairs = luma.reshape(2, -1, 2)[:1]
    other = pairs[..., ::-1].copy()
    for chroma in (pairs, other):
        picture = HostPicture([luma, chroma], layout, pitch=32)
        out = Guarded(np.zeros((6, 1, luma.shape[1] // 2), np.float32))
        check(runner, picture, out, Precision.FLOAT32)


def check(runner: Runner, picture: HostPicture, out: Guarded, precision: Precision) -> None:
    runner.run(launch.pack(picture.picture(), tensor(out, precision)))
    rows, columns = out.array.shape[1:]
    twin = reference.pack(picture.planes, rows=rows, columns=columns, dtype=FLOATS[precision])
    np.testing.assert_array_equal(out.array, twin)
    assert out.is_intact()


def test_the_twin_is_what_the_streamer_packs_on_the_host() -> None:
    y, u, v = noise(Layout.YUV420P, width=46, height=18)
    theirs = np.empty((1, 6, 9, 23), np.float32)
    host.pack((y, u, v), theirs)
    ours = reference.pack([y, u, v], rows=9, columns=23, dtype=np.float32)
    np.testing.assert_array_equal(ours, theirs[0])


def test_one_picture_in_every_layout_gives_one_input() -> None:
    y, u, v = noise(Layout.YUV420P, width=12, height=10)
    layouts = {
        Layout.YUV420P: [y, u, v],
        Layout.NV12: [y, np.stack((u, v), -1)],
        Layout.P010: [plane.astype(np.uint16) << 8 for plane in (y, np.stack((u, v), -1))],
    }
    inputs = [
        reference.pack(planes, rows=5, columns=6, dtype=np.float32) for planes in layouts.values()
    ]
    for packed in inputs[1:]:
        np.testing.assert_allclose(packed, inputs[0], rtol=0, atol=1e-6)


def test_padding_repeats_the_edge_of_the_picture() -> None:
    luma = np.array([[16, 235, 16]], np.uint8)
    chroma = np.array([[128, 240]], np.uint8)
    packed = reference.pack([luma, chroma, chroma], rows=2, columns=3, dtype=np.float32)
    np.testing.assert_array_equal(packed[0], [[0, 0, 0]] * 2)
    np.testing.assert_array_equal(packed[1], [[1, 0, 0]] * 2)
    np.testing.assert_array_equal(packed[4], [[0, 0.5, 0.5]] * 2)


@pytest.mark.parametrize(("blocks", "threads"), [((1, 1), (32, 8)), ((2, 3), (4, 2))])
def test_any_grid_of_threads_covers_the_picture(
    host_kernels: HostKernels, blocks: tuple[int, int], threads: tuple[int, int]
) -> None:
    planes = noise(Layout.NV12, width=300, height=46)
    picture = HostPicture(planes, Layout.NV12)
    out = Guarded(np.full((6, 24, 152), np.nan, np.float16))
    call = launch.pack(picture.picture(), tensor(out, Precision.FLOAT16))
    host_kernels.run(call, blocks=blocks, threads=threads)
    twin = reference.pack(planes, rows=24, columns=152, dtype=np.float16)
    np.testing.assert_array_equal(out.array, twin)
