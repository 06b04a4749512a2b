"""Where enlarged pictures are steadied: behind the network, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from streamer.clock import MonotonicClock
from streamer.enhance.steady import Steady
from streamer.enhance.super_resolution import SuperResolution
from streamer.frame import Planes
from streamer.infer.engine import Tensors
from streamer.infer.guarded import Guarded
from streamer.infer.reference import PLAIN, ReferenceEngine
from streamer.metrics import Metrics
from streamer.ops import host
from tests.streamer.denoising_network import opened
from tests.streamer.noisy_pictures import drawn, noisy
from tests.streamer.pictures import empty, frame_of, plain, same

WIDTH, HEIGHT, SCALE = 96, 64, 2
CAME = [noisy(drawn(width=WIDTH, height=HEIGHT), 3, seed=seed) for seed in range(6)]


class Zero(ReferenceEngine):
    """Adds nothing, under another name than the plain tier's, so that it is given the picture and run."""

    def __init__(self) -> None:
        super().__init__(SCALE)
        self.manifest = replace(self.manifest, variant="zero")


class Broken(Zero):
    def run(self, inputs: Tensors, outputs: Tensors) -> None:
        outputs["residual"].fill(float("nan"))


def steadied(run: list[Planes]) -> list[Planes]:
    """What the network makes of pictures in a row, by itself."""
    made = []
    with closing(Steady(opened("steady-lite"))) as steady:
        for planes in run:
            made.append(empty(width=planes[0].shape[1], height=planes[0].shape[0]))
            steady.steady(planes, made[-1])
    return made


@pytest.fixture
def stage() -> Iterator[SuperResolution]:
    engines = (Zero(), ReferenceEngine(SCALE))
    it = SuperResolution(engines, steady=Steady(opened("steady-lite")))
    it.warm_up(WIDTH, HEIGHT)
    yield it
    it.close()


def processed(
    stage: SuperResolution, planes: Planes, tier: str, *, with_comparison: bool = False
) -> Planes:
    frame = stage.process(frame_of(planes), tier=tier, with_comparison=with_comparison)
    if with_comparison:
        assert frame.comparison is not None
        assert same(host.part(frame.comparison, 0, of=2), frame.planes)
        assert same(host.part(frame.comparison, 1, of=2), plain(planes))
    return frame.planes


@pytest.mark.parametrize("with_comparison", [False, True])
def test_what_a_network_makes_is_steadied_and_what_it_is_compared_with_is_not(
    stage: SuperResolution, *, with_comparison: bool
) -> None:
    wanted = steadied([plain(planes) for planes in CAME])
    for planes, expected in zip(CAME, wanted, strict=True):
        assert same(processed(stage, planes, "zero", with_comparison=with_comparison), expected)


def test_a_plain_picture_stays_plain_and_nothing_follows_it(stage: SuperResolution) -> None:
    first = processed(stage, CAME[0], "zero")
    processed(stage, CAME[1], "zero")
    assert same(processed(stage, CAME[2], PLAIN), plain(CAME[2]))
    assert same(processed(stage, CAME[0], "zero"), first)


def test_where_the_network_fails_the_picture_is_plain_and_nothing_follows_it() -> None:
    broken = Guarded(Broken(), MonotonicClock(), Metrics())
    steady = Steady(opened("steady-lite"))
    stage = SuperResolution((broken, ReferenceEngine(SCALE)), steady=steady)
    frame = stage.process(frame_of(CAME[0]), tier="zero", with_comparison=False)
    assert frame.tier == PLAIN
    assert same(frame.planes, plain(CAME[0]))
    stage.close()


def test_a_fitted_picture_is_steadied_before_it_is_fitted(stage: SuperResolution) -> None:
    processed(stage, CAME[0], "zero")
    small = drawn(width=64, height=48)
    frame = stage.process(frame_of(small), tier="zero", with_comparison=False)
    wanted = empty(width=WIDTH * SCALE, height=HEIGHT * SCALE)
    host.fit(steadied([plain(small)])[0], wanted, black=16)
    assert same(frame.planes, wanted)
