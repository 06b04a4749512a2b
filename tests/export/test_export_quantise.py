"""int8 ships only where it costs next to nothing."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto

from export.networks import build_network
from export.networks.rep_conv import RepConv
from export.networks.super_resolution import SuperResolution
from export.quantise import ALLOWED_LOSS_DB, quantise
from export.to_onnx import write_model
from streamer.errors import ConfigError, EngineError
from streamer.model import ModelManifest, find_models, read_manifest
from tests.export.tiny import tiny_recipe


def cancelling_network() -> SuperResolution:
    """Gives nothing, as a difference of two large things: luma times three, and three times luma.

    In float32 they cancel. In int8 each is rounded to another grid, so noise remains.
    """
    network = build_network(tiny_recipe())
    assert isinstance(network, SuperResolution)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        # The middle layer has an identity branch and passes everything on.
        assert isinstance(network.body[0], RepConv)
        assert network.body[0].has_identity
        assert isinstance(network.head, RepConv)
        network.head.wide[0, 0, 1, 1] = 3.0
        network.head.wide[1, 0, 1, 1] = 1.0
        network.tail.wide[:, 0, 1, 1] = 4.0
        network.tail.wide[:, 1, 1, 1] = -12.0
    return network


def test_the_int8_variant_computes_nearly_the_same_and_ships_beside_the_fp32_model(
    manifest: ModelManifest, data_folder: Path, tmp_path: Path
) -> None:
    path = quantise(manifest, data_folder, report=lambda line: None)
    variant = read_manifest(path)
    assert (variant.name, variant.precision) == (f"{manifest.name}-int8", "int8")
    model = onnx.load_from_string(variant.verified_bytes())
    operators = {node.op_type for node in model.graph.node}
    assert {"QuantizeLinear", "DequantizeLinear", "Conv"} <= operators
    assert [entry.domain for entry in model.opset_import] == [""]
    assert max(variant.quality["lost_against_fp32_db"].values()) <= ALLOWED_LOSS_DB
    models = find_models(tmp_path, task="super_resolution", scale=2)
    assert {model.precision for model in models} == {"fp32", "int8"}
    with pytest.raises(ConfigError, match="is int8"):
        quantise(variant, data_folder, report=lambda line: None)


@pytest.mark.parametrize("is_there", [False, True])
def test_a_missing_or_damaged_model_is_refused_before_anything_is_counted(
    manifest: ModelManifest, data_folder: Path, *, is_there: bool
) -> None:
    manifest.path.unlink()
    if is_there:
        manifest.path.write_bytes(b"another")
    said: list[str] = []
    with pytest.raises(EngineError, match=manifest.file):
        quantise(manifest, data_folder, report=said.append)
    assert not said


@pytest.mark.parametrize("sees_contrast", [False, True])
def test_the_first_convolution_stays_float_and_all_others_do_not(
    data_folder: Path, tmp_path: Path, *, sees_contrast: bool
) -> None:
    torch.manual_seed(0)
    recipe = tiny_recipe(depth=2, long_skip=True, sees_contrast=sees_contrast)
    manifest = write_model(build_network(recipe), recipe, folder=tmp_path, weights=tmp_path)
    variant = read_manifest(quantise(manifest, data_folder, report=lambda line: None))
    graph = onnx.load_from_string(variant.verified_bytes()).graph
    makers = {name: node.op_type for node in graph.node for name in node.output}
    stored = {tensor.name: tensor.data_type for tensor in graph.initializer}
    first, *others = [node for node in graph.node if node.op_type == "Conv"]
    assert first.input[0] == "packed" or makers[first.input[0]] == "Pad"
    assert ("Pad" in makers.values()) == sees_contrast
    assert stored[first.input[1]] == TensorProto.FLOAT
    assert len(others) == 3
    for node in others:
        assert [makers.get(name) for name in node.input[:2]] == ["DequantizeLinear"] * 2
    assert "Add" in makers.values()


def test_an_int8_variant_that_loses_much_is_refused_and_not_written(
    data_folder: Path, tmp_path: Path
) -> None:
    manifest = write_model(cancelling_network(), tiny_recipe(), folder=tmp_path, weights=tmp_path)
    spoken: list[str] = []
    with pytest.raises(ConfigError) as refusal:
        quantise(manifest, data_folder, report=spoken.append)
    assert str(refusal.value).startswith(f"{manifest.name}-int8.onnx loses ")
    assert "allowed are 0.15" in str(refusal.value)
    assert any("dB lost against fp32" in line for line in spoken)
    assert not list(tmp_path.glob("*int8*"))
