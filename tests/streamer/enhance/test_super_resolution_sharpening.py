"""Where pictures are sharpened on the way to more lines: at the very end, whatever was done before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from streamer.clock import ManualClock
from streamer.enhance.denoise import Denoising
from streamer.enhance.steady import Steady
from streamer.enhance.super_resolution import SuperResolution
from streamer.frame import Frame, Planes
from streamer.infer.ort import OrtCpuEngine
from streamer.infer.reference import PLAIN, ReferenceEngine
from streamer.media import Color
from streamer.metrics import Metrics
from streamer.ops.sharpen import sharpen
from tests.streamer.denoising_network import opened
from tests.streamer.models import tiny
from tests.streamer.noisy_pictures import drawn, noisy
from tests.streamer.pictures import frame_of, same

WIDTH, HEIGHT = 96, 64
STRENGTH = 0.5
Range = Literal["limited", "full"]
CAME = [noisy(drawn(width=WIDTH, height=HEIGHT), 5, seed=seed) for seed in range(4)]


def frames(pictures: Sequence[Planes] = CAME, *, range_: Range = "limited") -> list[Frame]:
    made = [frame_of(planes) for planes in pictures]
    return [replace(one, color=replace(one.color, range=range_)) for one in made]


def stages(folder: Path, **fields: Any) -> tuple[SuperResolution, SuperResolution]:
    """The same without and with sharpening."""

    def stage(sharpness: float) -> SuperResolution:
        engines = (OrtCpuEngine(tiny(folder), threads=1),)
        given = {name: make() for name, make in fields.items()}
        return SuperResolution(engines, sharpness=sharpness, **given)

    return stage(0.0), stage(STRENGTH)


def sharp(planes: Planes, range_: Range = "limited") -> Planes:
    luma = np.empty_like(planes[0])
    sharpen(planes[0], luma, strength=STRENGTH, color=Color(matrix="bt709", range=range_))
    assert not np.array_equal(luma, planes[0])
    return luma, planes[1], planes[2]


def part(frame: Frame, *, is_lower: bool) -> Planes:
    assert frame.comparison is not None
    y, u, v = (
        plane[len(plane) // 2 :] if is_lower else plane[: len(plane) // 2]
        for plane in frame.comparison
    )
    return y, u, v


@pytest.mark.parametrize("range_", ["limited", "full"])
@pytest.mark.parametrize("with_comparison", [False, True])
@pytest.mark.parametrize("tier", ["tiny", PLAIN])
def test_the_luma_of_every_tier_is_sharpened_and_nothing_else(
    tmp_path: Path, tier: str, range_: Range, *, with_comparison: bool
) -> None:
    soft, sharpening = stages(tmp_path)
    for frame in frames(range_=range_):
        before = soft.process(frame, tier=tier, with_comparison=with_comparison)
        after = sharpening.process(frame, tier=tier, with_comparison=with_comparison)
        assert same(after.planes, sharp(before.planes, range_))
        assert after.tier == before.tier == tier
        if with_comparison:
            assert same(part(after, is_lower=False), after.planes)
            assert same(part(after, is_lower=True), part(before, is_lower=True))


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_every_scale_is_sharpened(scale: int) -> None:
    soft, sharpening = (
        SuperResolution((ReferenceEngine(scale),), sharpness=each) for each in (0.0, STRENGTH)
    )
    for frame in frames():
        before = soft.process(frame, tier=PLAIN, with_comparison=False)
        after = sharpening.process(frame, tier=PLAIN, with_comparison=False)
        assert same(after.planes, sharp(before.planes))


@pytest.mark.parametrize("with_comparison", [False, True])
@pytest.mark.parametrize("size", [(48, 32), (80, 88), (2 * WIDTH, 2 * HEIGHT), (256, 256)])
def test_what_was_fitted_is_sharpened_after_that(
    tmp_path: Path, size: tuple[int, int], *, with_comparison: bool
) -> None:
    """Larger than before, smaller and of another shape, as a camera sends it that changed its size."""
    soft, sharpening = stages(tmp_path)
    other = noisy(drawn(width=size[0], height=size[1]), 5, seed=1)
    for frame in frames([CAME[0], other, CAME[1], other]):
        before = soft.process(frame, tier="tiny", with_comparison=with_comparison)
        after = sharpening.process(frame, tier="tiny", with_comparison=with_comparison)
        assert same(after.planes, sharp(before.planes))
        if with_comparison:
            assert same(part(after, is_lower=False), after.planes)
            assert same(part(after, is_lower=True), part(before, is_lower=True))


def test_what_is_remembered_is_not_sharpened(tmp_path: Path) -> None:
    """Of what is steadied, of noise taken away: over pictures in a row, each follows soft ones."""
    kinds = {
        "steady": lambda: Steady(opened("steady-lite")),
        "denoising": lambda: Denoising(opened(), ManualClock(), Metrics()),
    }
    for fields in ({name: kinds[name]} for name in kinds):
        soft, sharpening = stages(tmp_path, **fields)
        for frame in frames():
            before = soft.process(frame, tier="tiny", with_comparison=False)
            after = sharpening.process(frame, tier="tiny", with_comparison=False)
            assert same(after.planes, sharp(before.planes))
        soft.close()
        sharpening.close()


def test_pictures_that_are_kept_are_not_written_over(tmp_path: Path) -> None:
    _, sharpening = stages(tmp_path)
    kept = [sharpening.process(one, tier="tiny", with_comparison=False) for one in frames()]
    _, again = stages(tmp_path)
    for one, frame in zip(kept, frames(), strict=True):
        seen = again.process(frame, tier="tiny", with_comparison=False)
        assert same(seen.planes, one.planes)
        assert not any(
            np.shares_memory(one.planes[0], other.planes[0]) for other in kept if other is not one
        )
