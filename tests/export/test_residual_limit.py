"""A bounded network changes no code value by more than its recipe says, in any precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from export.data.planes import Plane, Planes
from export.half import make_half
from export.networks import build_network
from export.networks.super_resolution import SuperResolution
from export.quantise import quantise
from export.runner import model_residual
from export.to_onnx import write_model
from export.upscalers import residual_upscaler
from streamer.model import MODELS, ModelManifest, read_manifest
from tests.export.tiny import tiny_recipe

SHIPPED = [read_manifest(path) for path in sorted(MODELS.glob("sr-lite-x1-live*.json"))]


def noise(*, seed: int) -> Planes:
    """Every code value anywhere."""
    rng = np.random.default_rng(seed)
    sizes = ((96, 128), (48, 64), (48, 64))
    return Planes(*(rng.integers(0, 256, size, dtype=np.uint8) for size in sizes))


def hard(plane: Plane) -> Plane:
    """Nothing but 0 and 255: single pixels on the left, squares of eight on the right."""
    plain = np.where(plane > 127, np.uint8(255), np.uint8(0))
    half = plane.shape[1] // 2
    plain[:, half:] = np.kron(plain[::8, half::8], np.ones((8, 8), np.uint8))
    return plain


PICTURES = [noise(seed=0), noise(seed=1).map(hard)]


def largest_changes(manifest: ModelManifest) -> tuple[int, int]:
    """How far down and up any code value of the pictures goes."""
    enhance = residual_upscaler(model_residual(manifest), scale=1)
    changes = [
        after.astype(np.int16) - before
        for picture in PICTURES
        for enhanced in [enhance(picture)]
        for after, before in zip(
            (enhanced.y, enhanced.u, enhanced.v), (picture.y, picture.u, picture.v), strict=True
        )
    ]
    return int(min(change.min() for change in changes)), int(max(c.max() for c in changes))


def test_every_precision_of_the_network_at_x1_is_looked_at() -> None:
    assert {manifest.precision for manifest in SHIPPED} >= {"fp32", "fp16", "int8"}


@pytest.mark.parametrize("manifest", SHIPPED, ids=lambda manifest: manifest.name)
def test_a_shipped_network_uses_its_whole_limit_and_not_a_code_more(
    manifest: ModelManifest,
) -> None:
    assert largest_changes(manifest) == (-3, 3)


@pytest.fixture(scope="module", params=[0.0, 3.0])
def limited(
    request: pytest.FixtureRequest, data_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[float, list[ModelManifest]]:
    """A limit, 0 for none, and a network with it that would leave it: fp32, fp16 and int8."""
    limit, folder = float(request.param), tmp_path_factory.mktemp("limited")
    recipe = tiny_recipe(scale=1, residual_limit=limit)
    torch.manual_seed(0)
    network = build_network(recipe)
    assert isinstance(network, SuperResolution)
    with torch.no_grad():
        network.tail.bias[:2] = 30 / 219
        network.tail.bias[2:4] = -30 / 219
    manifest = write_model(network, recipe, folder=folder, weights=folder)
    return limit, [
        manifest,
        read_manifest(make_half(manifest, folder, report=lambda line: None)),
        read_manifest(quantise(manifest, data_folder, report=lambda line: None)),
    ]


def test_int8_and_fp16_keep_the_bound_of_the_network_they_are_made_from(
    limited: tuple[float, list[ModelManifest]],
) -> None:
    limit, variants = limited
    for variant in variants:
        lowest, highest = largest_changes(variant)
        assert (lowest, highest) == (-3, 3) if limit else lowest < -20 and highest > 20


@pytest.mark.parametrize("limited", [3.0], indirect=True)
def test_the_convolution_of_a_bounded_int8_network_gives_whole_code_values(
    limited: tuple[float, list[ModelManifest]],
) -> None:
    variant = limited[1][-1]
    assert variant.precision == "int8"
    graph = onnx.load_from_string(variant.verified_bytes()).graph
    # ONNX Runtime makes one step of a convolution and what rounds it, if nothing is between.
    assert [node.op_type for node in graph.node][-3:] == ["Conv", "QuantizeLinear", "Clip"]
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    assert [stored[name].item() for name in graph.node[-2].input[1:]] == [1, 128]
    assert [stored[name].item() for name in graph.node[-1].input[1:]] == [125, 131]
