"""A decoder's pictures as planes, and planes as an encoder takes them: kernels, twins, and libav."""

from __future__ import annotations

import av
import numpy as np
import pytest

from kernels import launch, reference
from kernels.arguments import Layout
from kernels.errors import KernelError
from tests.kernels.pictures import HostPicture, noise
from tests.kernels.runners import Runner


@pytest.mark.parametrize("layout", [Layout.NV12, Layout.P010])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (7, 3), (64, 6), (130, 9)])
@pytest.mark.parametrize(("padding", "offset"), [(0, 0), (6, 2), (5, 3)])
def test_splitting_is_its_twin_in_every_bit(
    runner: Runner, layout: Layout, width: int, height: int, padding: int, offset: int
) -> None:
    planes = noise(layout, width=width, height=height)
    empty = [np.zeros_like(p) for p in noise(Layout.YUV420P, width=width, height=height)]
    picture = HostPicture(planes, layout, padding=padding, offset=offset)
    out = HostPicture(empty, Layout.YUV420P, padding=padding, offset=offset)
    runner.run(launch.planar(picture.picture(), out.picture()))
    for seen, expected in zip(out.planes, reference.planar(planes), strict=True):
        np.testing.assert_array_equal(seen, expected)
    assert out.is_intact()


def test_the_twin_splits_as_libav_does() -> None:
    luma, pairs = noise(Layout.NV12, width=64, height=16)
    frame = av.VideoFrame.from_ndarray(np.vstack((luma, pairs.reshape(8, 64))), format="nv12")
    whole = frame.reformat(format="yuv420p").to_ndarray()
    y, u, v = reference.planar([luma, pairs])
    np.testing.assert_array_equal(whole[:16], y)
    np.testing.assert_array_equal(whole[16:].reshape(-1), np.concatenate((u, v)).reshape(-1))


def test_pictures_that_do_not_fit_are_refused() -> None:
    nv12 = HostPicture(noise(Layout.NV12, width=8, height=4), Layout.NV12).picture()
    planar = HostPicture(noise(Layout.YUV420P, width=8, height=4), Layout.YUV420P).picture()
    for picture, out in ((nv12, nv12), (planar, planar)):
        with pytest.raises(KernelError, match="cannot become 8x4"):
            launch.planar(picture, out)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (7, 3), (64, 6), (130, 9), (256, 4)])
@pytest.mark.parametrize(("padding", "offset"), [(0, 0), (6, 2), (5, 3)])
def test_joining_is_its_twin_in_every_bit(
    runner: Runner, width: int, height: int, padding: int, offset: int
) -> None:
    planes = noise(Layout.YUV420P, width=width, height=height)
    empty = [np.zeros_like(p) for p in noise(Layout.NV12, width=width, height=height)]
    picture = HostPicture(planes, Layout.YUV420P, padding=padding, offset=offset)
    out = HostPicture(empty, Layout.NV12, padding=padding, offset=offset)
    runner.run(launch.interleave(picture.picture(), out.picture()))
    for seen, expected in zip(out.planes, reference.interleave(planes), strict=True):
        np.testing.assert_array_equal(seen, expected)
    assert out.is_intact()


def test_the_twin_joins_as_libav_does_and_splitting_undoes_it() -> None:
    y, u, v = noise(Layout.YUV420P, width=64, height=16)
    flat = np.concatenate((y.reshape(-1), u.reshape(-1), v.reshape(-1))).reshape(24, 64)
    whole = av.VideoFrame.from_ndarray(flat, format="yuv420p").reformat(format="nv12")
    luma, pairs = reference.interleave([y, u, v])
    np.testing.assert_array_equal(whole.to_ndarray()[:16], luma)
    np.testing.assert_array_equal(whole.to_ndarray()[16:].reshape(-1), pairs.reshape(-1))
    for seen, expected in zip(reference.planar([luma, pairs]), (y, u, v), strict=True):
        np.testing.assert_array_equal(seen, expected)


def test_planes_that_do_not_fit_are_not_joined() -> None:
    small = HostPicture(noise(Layout.NV12, width=8, height=4), Layout.NV12).picture()
    planes = HostPicture(noise(Layout.YUV420P, width=8, height=6), Layout.YUV420P).picture()
    for picture, out in ((planes, small), (small, planes)):
        with pytest.raises(KernelError, match="cannot become 8x"):
            launch.interleave(picture, out)
