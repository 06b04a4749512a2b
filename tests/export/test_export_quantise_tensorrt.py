"""int8 for TensorRT: symmetric throughout, and float16 at both ends."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper

from export.networks import build_network
from export.operators import check_operators, find_faults
from export.quantise import ALLOWED_LOSS_DB, quantise
from export.quantise_tensorrt import SYMMETRIC, Precision
from export.to_onnx import write_model
from streamer.errors import ConfigError
from streamer.infer.backends import BACKENDS
from streamer.model import MODELS, ModelManifest, read_manifest
from tests.export.tiny import tiny_recipe

NETWORKS: dict[str, dict[str, bool]] = {
    "plain": {},
    "with a skip": {"long_skip": True, "sees_contrast": True},
}


class Made:
    """Networks and their variants, each made once."""

    def __init__(self, folder: Path, data_folder: Path) -> None:
        self._folder = folder
        self._data_folder = data_folder

    @cache  # noqa: B019, as long as the module's tests
    def exported(self, network: str) -> ModelManifest:
        torch.manual_seed(0)
        recipe = tiny_recipe(depth=2, **NETWORKS[network])
        built = build_network(recipe)
        for parameter in built.parameters():
            if parameter.ndim == 1:  # biases, which are left out of the graph as long as they are 0
                torch.nn.init.normal_(parameter, std=0.1)
        folder = self._folder / network
        folder.mkdir()
        return write_model(built, recipe, folder=folder, weights=folder)

    @cache  # noqa: B019
    def variant(self, network: str, precision: Precision) -> ModelManifest:
        manifest = self.exported(network)
        path = quantise(manifest, self._data_folder, report=lambda line: None, precision=precision)
        return read_manifest(path)


@pytest.fixture(scope="module")
def made(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("made"), data_folder)


def opened(manifest: ModelManifest) -> Any:
    return onnx.load_from_string(manifest.verified_bytes())


@pytest.mark.parametrize("network", NETWORKS)
def test_all_that_is_quantised_is_int8_around_zero_and_before_convolutions(
    made: Made, network: str
) -> None:
    variant = made.variant(network, SYMMETRIC)
    model = opened(variant)
    check_operators(model, file=variant.file)
    graph = model.graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    between = [n for n in graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert between
    for node in between:
        step, zero = (stored[name] for name in node.input[1:])
        assert zero.dtype == np.int8
        assert not zero.any()
        assert (step > 0).all()
    first, *others = [node for node in graph.node if node.op_type == "Conv"]
    assert stored[first.input[1]].dtype == np.float32
    assert len(others) == 3
    for node in others:
        picture, weights = (makers[name] for name in node.input[:2])
        assert makers[picture.input[0]].op_type == "QuantizeLinear"
        # What TensorRT makes one kernel of with the convolution before it.
        assert makers[makers[picture.input[0]].input[0]].op_type in ("Relu", "Add")
        assert stored[weights.input[0]].dtype == np.int8
        assert stored[weights.input[1]].shape == stored[weights.input[0]].shape[:1]
        assert stored[node.input[2]].dtype == np.float32
    assert len([n for n in between if n.op_type == "QuantizeLinear"]) == len(others)


def test_it_takes_and_gives_float16_as_a_device_packs(made: Made) -> None:
    variant = made.variant("plain", SYMMETRIC)
    assert (variant.name, variant.precision) == (f"{tiny_recipe().name}-{SYMMETRIC}", SYMMETRIC)
    assert {spec.dtype for spec in (*variant.inputs, *variant.outputs)} == {"float16"}
    graph = opened(variant).graph
    kinds = {value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)}
    assert kinds == {TensorProto.FLOAT16}
    assert [n.op_type for n in graph.node if n.op_type == "Cast"] == ["Cast", "Cast"]
    assert max(variant.quality["lost_against_fp32_db"].values()) <= ALLOWED_LOSS_DB


def test_the_one_for_processors_is_not_for_tensorrt_nor_the_other_way_round(made: Made) -> None:
    for_processors = made.variant("plain", "int8")
    assert any("QuantizeLinear" in fault for fault in find_faults(opened(for_processors)))
    symmetric = made.variant("plain", SYMMETRIC)
    for name in ("ort-cpu", "openvino"):
        assert BACKENDS[name].runnable([for_processors, symmetric]) == [for_processors]


def test_networks_for_motion_are_not_made_in_it(data_folder: Path) -> None:
    manifest = read_manifest(MODELS / "prediction-lite.json")
    with pytest.raises(ConfigError, match="is for prediction; only networks for super_resolution"):
        quantise(manifest, data_folder, report=lambda line: None, precision=SYMMETRIC)
