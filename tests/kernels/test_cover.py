"""What stands still laid over what was made: the kernel on the host, its twin, and the streamer's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from kernels import launch, reference
from kernels.errors import KernelError
from tests.kernels.pictures import Guarded, random_samples
from tests.kernels.runners import Runner


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("channels", [(), (2,)])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (7, 3), (64, 5), (130, 9)])
@pytest.mark.parametrize(("padding", "offset"), [(0, 0), (5, 3)])
def test_covering_is_its_twin_in_every_bit(
    runner: Runner,
    bits: int,
    channels: tuple[int, ...],
    width: int,
    height: int,
    padding: int,
    offset: int,
) -> None:
    numbers = np.random.default_rng([width, height, bits])
    over, under = (
        Guarded(
            random_samples((height, width, *channels), bits, numbers),
            # Pixels of two samples stand where both of them would.
            padding=padding * (1 + len(channels)),
            offset=offset * (1 + len(channels)),
        )
        for _ in range(2)
    )
    mask = Guarded(numbers.choice(np.array([0, 0, 1, 255], np.uint8), (height, width)), padding=1)
    expected = reference.cover(under.array, over.array, mask.array)
    runner.run(launch.cover(over.plane(), under.plane(), mask=mask.plane()))
    np.testing.assert_array_equal(under.array, expected)
    assert over.is_intact()
    assert under.is_intact()


def test_the_twin_covers_as_the_streamer_does() -> None:
    numbers = np.random.default_rng(3)
    over, under = (random_samples((12, 20), 8, numbers) for _ in range(2))
    mask = numbers.choice(np.array([0, 255], np.uint8), over.shape)
    expected = under.copy()
    cv2.copyTo(over, mask, expected)
    np.testing.assert_array_equal(reference.cover(under, over, mask), expected)


def test_a_mask_of_another_size_is_refused() -> None:
    planes = [Guarded(np.zeros((4, width), np.uint8)).plane() for width in (8, 8, 7)]
    with pytest.raises(KernelError, match="the mask is 7x4 of 8 bits, the plane 8x4"):
        launch.cover(planes[0], planes[1], mask=planes[2])
