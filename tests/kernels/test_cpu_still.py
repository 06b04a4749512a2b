"""What is compiled about standing still, at every level: as OpenCV finds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.errors import KernelError
from kernels.native import Native
from kernels.native_still import StillCalls, copy_still
from streamer.ops.motion_still_opencv import OpenCvStill
from streamer.ops.still_limits import LIMITS
from tests.kernels.cpu_stills import SIZES, lumas, pictures
from tests.kernels.host_build import sanitized
from tests.kernels.pictures import Guarded

sizes = pytest.mark.parametrize(("width", "height"), SIZES)


@sizes
def test_every_level_finds_what_opencv_finds(levels: list[Native], width: int, height: int) -> None:
    ways = [StillCalls(native, LIMITS, (height, width)) for native in levels]
    theirs = OpenCvStill((height, width))
    found = 0
    for n, luma in enumerate(lumas(width, height, count=12)):
        seen = pictures(width, height, seed=n)
        theirs.see(luma)
        expected = theirs.weigh(seen)
        for ours in ways:
            ours.see(Guarded(luma, padding=5, offset=3).array)
            mask = ours.weigh(seen)
            np.testing.assert_array_equal(ours.age, theirs.age)
            np.testing.assert_array_equal(ours.anchor, theirs.anchor)
            np.testing.assert_allclose(ours.evidence, theirs.evidence, rtol=0, atol=1e-6)
            np.testing.assert_array_equal(ours.evidence, ways[0].evidence)
            assert (mask is None) == (expected is None)
            if mask is not None and expected is not None:
                np.testing.assert_array_equal(mask, expected)
                found += int(mask.any())
    assert found


@pytest.mark.parametrize("factor", [1, 2])
@sizes
def test_marked_pixels_are_copied_and_no_others(
    levels: list[Native], width: int, height: int, factor: int
) -> None:
    numbers = np.random.default_rng([width, height])
    mask = (numbers.random((height, width)) < 0.3).astype(np.uint8) * np.uint8(255)
    mask[:, 64:128] = 0
    shape = factor * height, factor * width
    plane, under = numbers.integers(0, 256, (2, *shape), np.uint8)
    marked = mask.repeat(factor, axis=0).repeat(factor, axis=1) > 0
    for native in levels:
        out = Guarded(under, padding=3, offset=1)
        copy_still(native, mask, Guarded(plane, padding=1).array, out.array)
        np.testing.assert_array_equal(out.array, np.where(marked, plane, under))
        assert out.is_intact()


def test_what_the_kernels_cannot_take_is_refused(levels: list[Native]) -> None:
    for shape in ((15, 16), (14, 16), (16, 2**14 + 2)):
        with pytest.raises(KernelError, match="a luma is"):
            StillCalls(levels[0], LIMITS, shape)
    calls = StillCalls(levels[0], LIMITS, (16, 18))
    good = np.zeros((16, 18), np.uint8)
    bad_lumas: list[NDArray[Any]] = [good[1:], good.astype(np.int8), np.repeat(good, 2, 1)[:, ::2]]
    for luma in bad_lumas:
        with pytest.raises(KernelError, match="a plane is"):
            calls.see(luma)
    seen = pictures(18, 16)
    bad_pictures: list[NDArray[Any]] = [seen[:5], seen[:, :7], seen[:, :, :8], seen.astype("f8")]
    for given in bad_pictures:
        with pytest.raises(KernelError, match="pictures are"):
            calls.weigh(given)
    locked = good.copy()
    locked.flags.writeable = False
    for plane, out, word in (
        (good, good, "storage of its own"),
        (good, locked, "storage of its own"),
        (good[:8], good.copy(), "a plane is"),
    ):
        with pytest.raises(KernelError, match=word):
            copy_still(levels[0], good, plane, out)


def test_no_step_is_undefined(levels: list[Native], tmp_path: Path) -> None:
    checked = sanitized(tmp_path, "still.cpp")
    for width, height in SIZES:
        ways = [StillCalls(native, LIMITS, (height, width)) for native in (checked, levels[0])]
        seen = pictures(width, height)
        for luma in lumas(width, height, count=8):
            for calls in ways:
                calls.see(luma)
            one, other = (calls.weigh(seen) for calls in ways)
            np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
        out = np.zeros((2 * height, 2 * width), np.uint8)
        mask = np.full((height, width), 255, np.uint8)
        copy_still(checked, mask, out + np.uint8(9), out)
        assert (out == 9).all()
