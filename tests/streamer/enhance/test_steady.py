"""Pictures that are made with the help of the one before, by the network that ships for it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from streamer.clock import MonotonicClock
from streamer.enhance.steady import Steady
from streamer.frame import Plane, Planes
from streamer.infer.engine import Tensors
from streamer.infer.guarded import Guarded
from streamer.metrics import Metrics
from tests.streamer.denoising_network import manifest, opened
from tests.streamer.pictures import empty, same

HEIGHT, WIDTH = 96, 128


@pytest.fixture
def steady() -> Iterator[Steady]:
    it = Steady(opened("steady-lite"))
    yield it
    it.close()


def scene(*, seed: int = 1, height: int = HEIGHT, width: int = WIDTH) -> Plane:
    """Soft blobs over the whole range, as an enlarged luma has them."""
    rough = np.random.default_rng(seed).integers(16, 236, (height // 8, width // 8), np.uint8)
    return np.asarray(cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def picture(luma: Plane) -> Planes:
    grey = np.full((luma.shape[0] // 2, luma.shape[1] // 2), 128, np.uint8)
    return luma, grey, grey.copy()


def flickering(luma: Plane, *, seed: int) -> Plane:
    noise = np.random.default_rng(seed).normal(0.0, 2.0, luma.shape)
    return (luma + noise).round().clip(0, 255).astype(np.uint8)


def made(steady: Steady, planes: Planes) -> Planes:
    out = empty(width=planes[0].shape[1], height=planes[0].shape[0])
    steady.steady(planes, out)
    return out


def gap(first: Plane, second: Plane) -> NDArray[np.float64]:
    return np.abs(first.astype(np.float64) - second)


def test_flicker_over_a_still_picture_is_calmed(steady: Steady) -> None:
    true = scene()
    came = [flickering(true, seed=seed) for seed in range(8)]
    left = [made(steady, picture(luma))[0] for luma in came]
    before = np.mean([gap(*pair).mean() for pair in pairwise(came[3:])])
    after = np.mean([gap(*pair).mean() for pair in pairwise(left[3:])])
    assert after < 0.6 * before
    assert gap(left[-1], true).mean() < 0.8 * gap(came[-1], true).mean()


def test_flicker_over_a_pan_is_calmed_too(steady: Steady) -> None:
    wide = scene(height=HEIGHT, width=2 * WIDTH)
    errors = []
    for n in range(8):
        true = np.ascontiguousarray(wide[:, 2 * n : 2 * n + WIDTH])
        came = flickering(true, seed=n)
        result = made(steady, picture(came))[0]
        inner = np.s_[16:-16, 16:-32]
        errors.append((gap(came, true)[inner].mean(), gap(result, true)[inner].mean()))
    came_mean, left_mean = np.mean(errors[3:], axis=0)
    assert left_mean < 0.8 * came_mean


def test_a_picture_that_does_not_change_hardly_does(steady: Steady) -> None:
    came = picture(scene())
    for _ in range(3):
        result = made(steady, came)
        assert gap(result[0], came[0]).mean() < 0.5
        assert gap(result[1], came[1]).mean() < 0.1


def test_nothing_of_the_old_scene_is_left_after_a_cut(steady: Steady) -> None:
    first, second = scene(seed=3), 255 - scene(seed=4) // 2
    alone = made(steady, picture(second))
    steady.reset()
    made(steady, picture(first))
    assert same(made(steady, picture(second)), alone)


def test_after_a_reset_nothing_is_followed(steady: Steady) -> None:
    came = picture(flickering(scene(), seed=2))
    alone = made(steady, came)
    steady.reset()
    made(steady, picture(flickering(scene(), seed=1)))
    assert not same(made(steady, came), alone)
    steady.reset()
    assert same(made(steady, came), alone)


def test_another_size_begins_anew(steady: Steady) -> None:
    for seed, (height, width) in enumerate([(96, 128), (128, 96), (48, 48), (16, 16)]):
        luma = scene(height=height, width=width)
        came = picture(flickering(luma, seed=seed))
        first = made(steady, came)
        again = made(steady, picture(flickering(luma, seed=seed + 10)))
        steady.reset()
        assert same(made(steady, came), first)
        assert not same(again, first)


def test_warming_up_leaves_nothing_behind(steady: Steady) -> None:
    came = picture(flickering(scene(), seed=2))
    alone = made(steady, came)
    steady.warm_up(WIDTH, HEIGHT)
    assert same(made(steady, came), alone)


class Broken:
    """Gives what is no number."""

    backend = "broken"
    manifest = manifest("steady-lite")

    def run(self, inputs: Tensors, outputs: Tensors) -> None:
        outputs["change"].fill(np.nan)

    def close(self) -> None: ...


def test_where_the_network_fails_pictures_stay_as_they_came() -> None:
    steady = Steady(Guarded(Broken(), MonotonicClock(), Metrics()))
    for seed in range(3):
        came = picture(flickering(scene(), seed=seed))
        assert same(made(steady, came), came)
