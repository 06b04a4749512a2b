from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streamer.enhance.super_resolution import AFTER_NS, SuperResolution
from streamer.frame import Planes
from streamer.infer.engine import Deadline, Tensors
from streamer.infer.ort import OrtCpuEngine
from streamer.infer.reference import PLAIN, ReferenceEngine
from streamer.model import read_manifest
from streamer.ops import host, host_opencv
from tests.streamer.models import tiny, write_model
from tests.streamer.pictures import frame_of, noise, plain, same


def half(tall: Planes, *, upper: bool) -> Planes:
    y, u, v = (plane[: len(plane) // 2] if upper else plane[len(plane) // 2 :] for plane in tall)
    return y, u, v


@pytest.fixture
def network(tmp_path: Path) -> SuperResolution:
    return SuperResolution((OrtCpuEngine(tiny(tmp_path), threads=1),))


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_without_a_network_the_picture_is_the_plain_upscale_bit_for_bit(scale: int) -> None:
    stage = SuperResolution((ReferenceEngine(scale),))
    planes = noise(width=32, height=18, padding=6)
    assert stage.tiers == ("plain",)
    enhanced = stage.process(frame_of(planes), tier="plain", with_comparison=False)
    assert same(enhanced.planes, plain(planes, scale))
    assert enhanced.comparison is None


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_a_residual_of_zero_leaves_the_plain_upscale(scale: int) -> None:
    engine = ReferenceEngine(scale)
    # Under another name than the plain tier's, so that its residual is packed, run and added.
    engine.manifest = replace(engine.manifest, variant="zero")
    stage = SuperResolution((engine,))
    planes = noise(width=32, height=18)
    enhanced = stage.process(frame_of(planes), tier="zero", with_comparison=False)
    assert same(enhanced.planes, plain(planes, scale))


def test_a_networks_residual_is_added_to_the_plain_upscale(network: SuperResolution) -> None:
    planes = noise(width=32, height=18)
    packed = np.empty((1, 6, 9, 16), np.float32)
    residual = np.empty((1, 24, 9, 16), np.float32)
    host.pack(planes, packed)
    network.engines["tiny"].run({"packed": packed}, {"residual": residual})
    expected = plain(planes, 2)
    host_opencv.add_residual(expected, residual, expected)
    assert network.tiers == ("tiny", "plain")
    enhanced = network.process(frame_of(planes), tier="tiny", with_comparison=False)
    assert same(enhanced.planes, expected)
    assert not same(enhanced.planes, plain(planes, 2))


def test_only_the_picture_and_its_tier_change(network: SuperResolution) -> None:
    before = frame_of(noise(width=32, height=18), pts=41).stamped("decoded", 6)
    after = network.process(before, tier="tiny", with_comparison=False)
    assert after.tier == "tiny"
    assert replace(after, planes=before.planes, tier="") == replace(before, planes=before.planes)


@pytest.mark.parametrize("tier", ["tiny", "plain"])
def test_the_comparison_is_the_picture_above_its_plain_upscale(
    tier: str, network: SuperResolution
) -> None:
    planes = noise(width=32, height=18)
    enhanced = network.process(frame_of(planes), tier=tier, with_comparison=True)
    alone = network.process(frame_of(planes), tier=tier, with_comparison=False)
    assert enhanced.comparison is not None
    upper = tuple(plane[: len(plane) // 2] for plane in enhanced.comparison)
    lower = tuple(plane[len(plane) // 2 :] for plane in enhanced.comparison)
    assert enhanced.comparison[0].shape == (72, 64)
    assert same(upper, alone.planes)  # type: ignore[arg-type]
    assert same(lower, plain(planes, 2))  # type: ignore[arg-type]
    assert same(enhanced.planes, alone.planes)
    # One picture in memory, not two.
    assert all(np.shares_memory(a, b) for a, b in zip(enhanced.planes, upper, strict=True))


def test_a_picture_that_is_kept_is_not_written_over(network: SuperResolution) -> None:
    first = network.process(
        frame_of(noise(width=32, height=18)), tier="tiny", with_comparison=False
    )
    copies = [plane.copy() for plane in first.planes]
    for seed in range(2, 8):
        picture = frame_of(noise(width=32, height=18, seed=seed))
        network.process(picture, tier="tiny", with_comparison=False)
    assert same(first.planes, (copies[0], copies[1], copies[2]))


def test_warming_up_changes_no_picture(network: SuperResolution) -> None:
    planes = noise(width=32, height=18)
    cold = network.process(frame_of(planes), tier="tiny", with_comparison=False)
    network.warm_up(32, 18)
    warm = network.process(frame_of(planes), tier="tiny", with_comparison=False)
    assert same(cold.planes, warm.planes)


def test_each_tier_is_its_own_network(tmp_path: Path) -> None:
    good = OrtCpuEngine(read_manifest(write_model(tmp_path, stem="a", variant="lite")))
    weak = read_manifest(write_model(tmp_path, stem="b", variant="nano", error=-0.5))
    stage = SuperResolution((good, OrtCpuEngine(weak)))
    assert stage.tiers == ("lite", "nano", PLAIN)
    frame = frame_of(noise(width=32, height=16))
    bare, nano, lite = (
        stage.process(frame, tier=tier, with_comparison=False).planes[0].astype(int)
        for tier in (PLAIN, "nano", "lite")
    )
    assert np.abs(lite - bare).mean() > np.abs(nano - bare).mean() > 0


def test_the_output_keeps_its_first_size_when_the_camera_changes_its_own(
    network: SuperResolution,
) -> None:
    network.process(
        frame_of(noise(width=32, height=18)), tier=network.tiers[0], with_comparison=False
    )
    for width, height in ((24, 14), (40, 22), (18, 32), (32, 18)):
        enhanced = network.process(
            frame_of(noise(width=width, height=height)),
            tier=network.tiers[0],
            with_comparison=True,
        )
        assert (enhanced.width, enhanced.height) == (64, 36)
        assert enhanced.tier == network.tiers[0]
        assert enhanced.comparison is not None
        assert enhanced.comparison[0].shape == (72, 64)
        # The upper half is the enhanced picture, the lower half was not touched by the network.
        assert same(enhanced.planes, half(enhanced.comparison, upper=True))
        assert not same(enhanced.planes, half(enhanced.comparison, upper=False))


def test_a_picture_as_large_as_the_output_is_only_made_smaller(network: SuperResolution) -> None:
    network.process(
        frame_of(noise(width=32, height=18)), tier=network.tiers[0], with_comparison=False
    )
    large = noise(width=128, height=72)
    enhanced = network.process(frame_of(large), tier=network.tiers[0], with_comparison=False)
    assert enhanced.tier == PLAIN
    blocks = large[0].reshape(36, 2, 64, 2).mean(axis=(1, 3))
    assert np.abs(enhanced.planes[0] - blocks).max() <= 1


def test_an_engine_knows_the_deadline_of_the_picture_it_runs(tmp_path: Path) -> None:
    deadline, seen = Deadline(), []

    class Asking(OrtCpuEngine):
        def run(self, inputs: Tensors, outputs: Tensors) -> None:
            seen.append(deadline.ns)
            super().run(inputs, outputs)

    stage = SuperResolution((Asking(tiny(tmp_path), threads=1),), deadline=deadline)
    frame = frame_of(noise(width=32, height=18))
    stage.process(frame, tier="tiny", with_comparison=False, deadline_ns=80_000_000)
    stage.process(frame, tier="tiny", with_comparison=False)
    # What follows the network needs its time too.
    assert seen == [80_000_000 - AFTER_NS, None]
