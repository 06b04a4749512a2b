"""Where noise is taken away on the way to more lines: before anything is made of the picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streamer.clock import ManualClock
from streamer.enhance.denoise import Denoising
from streamer.enhance.super_resolution import SuperResolution
from streamer.infer.engine import Engine, Tensors
from streamer.infer.ort import OrtCpuEngine
from streamer.infer.reference import PLAIN, ReferenceEngine
from streamer.infer.sizes import sizes_for, sizes_of
from streamer.metrics import Metrics
from streamer.ops import host
from tests.streamer.denoising_network import cleaned, denoise, manifest, opened
from tests.streamer.models import tiny
from tests.streamer.noisy_pictures import drawn, noisy, psnr
from tests.streamer.pictures import empty, frame_of, plain, same

WIDTH, HEIGHT = 96, 64
LATER_NS = 10**9
CAME = [noisy(drawn(width=WIDTH, height=HEIGHT), 5, seed=seed) for seed in range(6)]


@pytest.fixture
def engine() -> Iterator[Engine]:
    with closing(opened()) as it:
        yield it


def denoising(engine: Engine) -> Denoising:
    return Denoising(engine, ManualClock(), Metrics())


def adds_nothing(scale: int) -> ReferenceEngine:
    engine = ReferenceEngine(scale)
    # Under another name than the plain tier's, so that it is given the picture and run.
    engine.manifest = replace(engine.manifest, variant="zero")
    return engine


@pytest.mark.parametrize("scale", [1, 2])
def test_what_is_enlarged_is_cleaned_and_what_it_is_compared_with_is_what_came(
    scale: int, engine: Engine
) -> None:
    stage = SuperResolution((adds_nothing(scale),), denoising=denoising(engine))
    alone = denoise(engine)
    for number, came in enumerate(CAME):
        with_comparison = number % 3 > 0
        enhanced = stage.process(frame_of(came), tier="zero", with_comparison=with_comparison)
        assert same(enhanced.planes, plain(cleaned(alone, came), scale))
        assert enhanced.tier == "zero"
        if with_comparison:
            assert enhanced.comparison is not None
            y, u, v = (plane[len(plane) // 2 :] for plane in enhanced.comparison)
            assert same((y, u, v), plain(came, scale))
    assert not same(enhanced.planes, plain(CAME[-1], scale))


def test_the_network_is_given_the_cleaned_picture(engine: Engine, tmp_path: Path) -> None:
    given = []

    class Asking(OrtCpuEngine):
        def run(self, inputs: Tensors, outputs: Tensors) -> None:
            given.append(inputs["packed"].copy())
            super().run(inputs, outputs)

    stage = SuperResolution((Asking(tiny(tmp_path), threads=1),), denoising=denoising(engine))
    alone = denoise(engine)
    for came in CAME:
        stage.process(frame_of(came), tier="tiny", with_comparison=False)
        packed = np.empty((1, 6, HEIGHT // 2, WIDTH // 2), np.float32)
        host.pack(cleaned(alone, came), packed)
        np.testing.assert_array_equal(given[-1], packed)


@pytest.mark.parametrize("with_comparison", [False, True])
@pytest.mark.parametrize("deadline_ns", [None, LATER_NS])
def test_the_plain_tier_is_cleaned_where_there_is_time(
    deadline_ns: int | None, engine: Engine, *, with_comparison: bool
) -> None:
    stage = SuperResolution((adds_nothing(2),), denoising=denoising(engine))
    alone = denoise(engine)
    for came in CAME:
        enhanced = stage.process(
            frame_of(came), tier=PLAIN, with_comparison=with_comparison, deadline_ns=deadline_ns
        )
        assert same(enhanced.planes, plain(cleaned(alone, came), 2))
        assert enhanced.tier == PLAIN
        if with_comparison:
            assert enhanced.comparison is not None
            y, u, v = (plane[len(plane) // 2 :] for plane in enhanced.comparison)
            assert same((y, u, v), plain(came, 2))


@pytest.mark.parametrize("scale", [1, 2])
def test_the_plain_tier_is_left_as_it_comes_where_there_is_none(scale: int, engine: Engine) -> None:
    stage = SuperResolution((adds_nothing(scale),), denoising=denoising(engine))
    for came in CAME:
        enhanced = stage.process(frame_of(came), tier=PLAIN, with_comparison=False, deadline_ns=0)
        assert same(enhanced.planes, plain(came, scale))


def test_a_picture_that_is_large_enough_is_only_made_smaller(engine: Engine) -> None:
    stage = SuperResolution((adds_nothing(1),), denoising=denoising(engine))
    stage.process(frame_of(CAME[0]), tier="zero", with_comparison=False)
    came = drawn(width=2 * WIDTH, height=2 * HEIGHT)
    enhanced = stage.process(frame_of(came), tier=PLAIN, with_comparison=True)
    assert same(came, drawn(width=2 * WIDTH, height=2 * HEIGHT))
    expected = empty(width=WIDTH, height=HEIGHT)
    host.fit(came, expected, black=16)
    assert same(enhanced.planes, expected)


def test_after_pictures_that_were_left_as_they_came_nothing_is_followed(engine: Engine) -> None:
    stage = SuperResolution((adds_nothing(1),), denoising=denoising(engine))
    for came in CAME:
        stage.process(frame_of(came), tier="zero", with_comparison=False)
    other = drawn(width=WIDTH, height=HEIGHT, seed=31)
    for seed in range(3):
        came = noisy(other, 5, seed=20 + seed)
        stage.process(frame_of(came), tier=PLAIN, with_comparison=False, deadline_ns=0)
    came = noisy(other, 5, seed=40)
    enhanced = stage.process(frame_of(came), tier="zero", with_comparison=False)
    assert same(enhanced.planes, cleaned(denoise(engine), came))
    assert psnr(enhanced.planes[0], other[0]) > psnr(came[0], other[0]) - 0.5


def test_pictures_of_another_size_are_cleaned_too(engine: Engine) -> None:
    stage = SuperResolution((adds_nothing(2),), denoising=denoising(engine))
    stage.process(frame_of(CAME[0]), tier="zero", with_comparison=False)
    small = [noisy(drawn(width=64, height=48), 5, seed=seed) for seed in range(4)]
    alone = denoise(engine)
    for came in small:
        enhanced = stage.process(frame_of(came), tier="zero", with_comparison=True)
        expected, untouched = (empty(width=2 * WIDTH, height=2 * HEIGHT) for _ in range(2))
        host.fit(plain(cleaned(alone, came), 2), expected, black=16)
        host.fit(plain(came, 2), untouched, black=16)
        assert same(enhanced.planes, expected)
        assert enhanced.comparison is not None
        y, u, v = (plane[len(plane) // 2 :] for plane in enhanced.comparison)
        assert same((y, u, v), untouched)


class Noted(OrtCpuEngine):
    """Notes the sizes it is asked for, and whether it was closed."""

    def __init__(self) -> None:
        super().__init__(manifest("denoise-lite"), threads=1)
        self.sizes: list[dict[str, int]] = []
        self.is_closed = False

    def run(self, inputs: Tensors, outputs: Tensors) -> None:
        self.sizes.append(sizes_of(self.manifest, inputs))
        super().run(inputs, outputs)

    def close(self) -> None:
        self.is_closed = True
        super().close()


def test_warming_up_and_closing_reach_the_network_for_denoising() -> None:
    engine = Noted()
    stage = SuperResolution((adds_nothing(2),), denoising=denoising(engine))
    stage.warm_up(426, 240)
    assert engine.sizes == [sizes_for(engine.manifest, width=426, height=240)]
    stage.close()
    assert engine.is_closed


def test_warming_up_changes_no_picture(engine: Engine) -> None:
    cold, warm = (
        SuperResolution((adds_nothing(1),), denoising=denoising(engine)) for _ in range(2)
    )
    warm.warm_up(WIDTH, HEIGHT)
    for came in CAME:
        seen, expected = (
            stage.process(frame_of(came), tier="zero", with_comparison=False)
            for stage in (warm, cold)
        )
        assert same(seen.planes, expected.planes)
