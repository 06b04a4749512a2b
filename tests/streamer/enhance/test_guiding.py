"""Two ways to one guide: compiled, and by packed pictures and an engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from kernels.native import native
from streamer.enhance.guiding import NetworkGuiding, guiding_by
from streamer.frame import Plane
from streamer.infer.reference_motion import ReferenceMotionEngine
from streamer.ops.motion import Floats, FlowEstimator, Guide, pack_motion
from streamer.ops.motion_guides import CompiledGuiding, EngineGuiding, Guiding, NetworkInputs
from tests.streamer.enhance.shifting import Shifting
from tests.streamer.pictures import texture

SIZES = [(160, 96), (213, 121), (16, 16), (17, 40)]


Pairs = Callable[[int, int], tuple[Plane, Plane]]


class Other(ReferenceMotionEngine):
    """Another engine, whatever it says."""


def ways() -> list[Guiding]:
    """Whatever this machine has."""
    best = native()
    by_engine = EngineGuiding(ReferenceMotionEngine())
    return [by_engine] if best is None else [by_engine, CompiledGuiding(best)]


@pytest.fixture
def compiled() -> Guiding:
    best = native()
    if best is None:
        pytest.skip("nothing is compiled for this processor: no C++ compiler was there")
    return CompiledGuiding(best)


def moving(width: int, height: int) -> tuple[Plane, Plane]:
    return (
        texture(width=width, height=height),
        texture(width=width, height=height, moved=(2.5, -1.25)),
    )


def occluding(width: int, height: int) -> tuple[Plane, Plane]:
    """Something goes one way before what goes the other, and a part of it changes by chance."""
    numbers = np.random.default_rng(2)
    pair = moving(width, height)
    for n, luma in enumerate(pair):
        left = width // 3 - 3 * n
        luma[height // 4 : height // 2, left : left + width // 3] = texture(
            width=width // 3, height=height // 2 - height // 4, seed=7
        )
        luma[-(height // 4) :, : width // 4] = numbers.integers(
            0, 256, (height // 4, width // 4), np.uint8
        )
    return pair


def cut(width: int, height: int) -> tuple[Plane, Plane]:
    return texture(width=width, height=height), texture(width=width, height=height, seed=5)


def parts(guide: Guide) -> Floats:
    return np.concatenate(
        [guide.flow, guide.mask[None], guide.residual[None], guide.softness[None]]
    )


@pytest.mark.parametrize("time", [0.0, 0.3, 0.5, 1.0, 1.5])
@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("pairs", [moving, occluding, cut])
def test_the_compiled_guide_is_that_of_the_reference(
    compiled: Guiding, pairs: Pairs, width: int, height: int, time: float
) -> None:
    small = pairs(width, height)
    flows = FlowEstimator().between(*small)
    defined = EngineGuiding(ReferenceMotionEngine())
    wanted = parts(defined.guide(small, flows, time, with_pictures=True))
    found = parts(compiled.guide(small, flows, time, with_pictures=True))
    assert found.shape == wanted.shape
    # OpenCV looks pictures up at whole 32nds of a pixel, which is a code value or two where
    # neighbours differ by 60, and the choice between motions triples with 1.5.
    off = np.abs(found - wanted).reshape(len(wanted), -1)
    assert (np.mean(off, axis=1) < 0.04).all()
    assert (np.quantile(off, 0.95, axis=1) < 0.15).all()
    assert np.mean(np.abs(compiled.pictures - defined.pictures)) < 1 / 255


def test_guides_of_one_size_after_another_do_not_disturb_each_other(compiled: Guiding) -> None:
    best = native()
    assert best is not None
    for width, height in [*SIZES, *SIZES]:
        small = occluding(width, height)
        flows = FlowEstimator().between(*small)
        again = parts(compiled.guide(small, flows, 0.5, with_pictures=False))
        alone = parts(CompiledGuiding(best).guide(small, flows, 0.5, with_pictures=True))
        assert np.array_equal(again, alone)


def test_only_the_reference_itself_is_replaced() -> None:
    is_compiled = native() is not None
    assert isinstance(guiding_by(ReferenceMotionEngine()), CompiledGuiding) == is_compiled
    assert isinstance(guiding_by(Other()), EngineGuiding)
    assert isinstance(guiding_by(Shifting()), NetworkGuiding)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_network_changes_the_guide_that_arithmetic_makes(width: int, height: int) -> None:
    small = occluding(width, height)
    flows = FlowEstimator().between(*small)
    plain = guiding_by(ReferenceMotionEngine()).guide(small, flows, 0.3, with_pictures=True)
    expected = parts(plain).copy()
    expected[[0, 2]] += 1
    expected[6] = 0.5 * (1 + expected[6])
    engine = Shifting()
    for _ in range(2):
        found = parts(guiding_by(engine).guide(small, flows, 0.3, with_pictures=True))
        assert np.allclose(found, expected, atol=1e-6)
    assert all(side % 4 == 0 for side in engine.seen["guide"].shape[2:])


@pytest.mark.parametrize("time", [0.5, 1.0, 2.0, 3.5])
def test_a_network_is_asked_for_what_it_was_trained_on(time: float) -> None:
    small = moving(160, 96)
    flows = FlowEstimator().between(*small)
    plain = guiding_by(ReferenceMotionEngine()).guide(small, flows, time, with_pictures=True)
    expected = parts(plain).copy()
    for task, is_asked in (("interpolation", time < 1), ("prediction", 1 <= time < 3)):
        engine = Shifting()
        engine.manifest = replace(engine.manifest, task=task)
        found = parts(guiding_by(engine).guide(small, flows, time, with_pictures=True))
        assert bool(engine.seen) == is_asked
        assert np.allclose(found, expected, atol=1e-6) == (not is_asked)


@pytest.mark.parametrize("way", ways())
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_network_sees_what_it_was_trained_on(way: Guiding, width: int, height: int) -> None:
    small = occluding(width, height)
    flows = FlowEstimator().between(*small)
    packed = NetworkInputs(way, 8)
    packed.fill(small, flows, 0.3)
    rows, columns = -(-height // 8) * 4, -(-width // 8) * 4
    assert {name: array.shape for name, array in packed.arrays.items()} == {
        "pictures": (1, 6, 2 * rows, 2 * columns),
        "motion": (1, 5, rows, columns),
        "guide": (1, 6, rows, columns),
    }
    pictures = np.empty((6, 2 * rows, 2 * columns), np.float32)
    motion = np.empty((5, rows, columns), np.float32)
    pack_motion(*small, flows, 0.3, pictures=pictures, motion=motion)
    # Twice the size after half of it, and the other way round: no storage is left over.
    other = moving(64, 48)
    for _ in range(2):
        # OpenCV looks motions up at whole 32nds of a cell; across an edge they differ by some cells.
        off = np.abs(packed.arrays["motion"][0] - motion)
        assert np.mean(off) < 0.002
        assert np.quantile(off, 0.99) < 0.02
        assert np.mean(np.abs(packed.arrays["pictures"][0] - pictures)) < 1 / 255
        packed.fill(other, FlowEstimator().between(*other), 0.5)
        packed.fill(small, flows, 0.3)


@pytest.mark.parametrize("way", ways())
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_what_a_network_changes_is_the_guide_without_one(
    way: Guiding, width: int, height: int
) -> None:
    small = occluding(width, height)
    flows = FlowEstimator().between(*small)
    packed = NetworkInputs(way, 8)
    filled = parts(packed.fill(small, flows, 1.5))
    alone = parts(way.guide(small, flows, 1.5, with_pictures=True))
    assert np.array_equal(filled, alone)
    guide, seen = packed.arrays["guide"][0], packed.arrays["pictures"][0]
    for layers, whole in ((alone[[0, 1, 2, 3, 4, 6]], guide), (way.pictures, seen)):
        rows, columns = layers.shape[1:]
        beyond = ((0, 0), (0, whole.shape[1] - rows), (0, whole.shape[2] - columns))
        assert np.array_equal(whole, np.pad(layers, beyond, mode="edge"))


def test_the_pictures_are_those_of_the_last_guide_with_or_without_the_network() -> None:
    guides = guiding_by(Shifting("prediction"))
    for width, height in SIZES:
        for pair in (moving(width, height), cut(width, height)):
            flows = FlowEstimator().between(*pair)
            # Standing still is what the last two layers show.
            for way in (guides.guide, guides.plain):
                way(pair, flows, 1.5, with_pictures=True)
                seen = guides.pictures[4:, :height, :width]
                assert np.allclose(seen, np.stack(pair) / 255, atol=1e-6)
