"""Graphs that TensorRT would refuse or misread do not ship."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from export.operators import OPSET, SUPPORTED, check_operators, find_faults
from export.to_onnx import Exportable, to_onnx_bytes
from streamer.errors import ConfigError
from streamer.model import MODELS, ModelManifest, TensorSpec, read_manifest

PICTURE = ("x", TensorProto.FLOAT, (1, 2, 8, 8))
GRID = ("grid", TensorProto.FLOAT, (1, 8, 8, 2))

SHIPPED = [read_manifest(path) for path in sorted(MODELS.glob("*.json"))]


def graph(
    node: Any,
    *inputs: tuple[str, int, tuple[int, ...]],
    opset: int = OPSET,
    output: int = TensorProto.FLOAT,
    **constants: Any,
) -> Any:
    """A model of one node between these inputs and an output of any shape."""
    return helper.make_model(
        helper.make_graph(
            [node],
            "one",
            [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs],
            [helper.make_tensor_value_info(node.output[0], output, None)],
            [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
        ),
        opset_imports=[helper.make_opsetid(node.domain, opset), helper.make_opsetid("", opset)],
        ir_version=10,
    )


def warp(**attributes: Any) -> Any:
    return helper.make_node("GridSample", ["x", "grid"], ["y"], name="warp", **attributes)


def resize(**attributes: Any) -> Any:
    return helper.make_node("Resize", ["x", "", "scales"], ["y"], name="resize", **attributes)


SCALES = np.array([1, 1, 2, 2], np.float32)


def quantise_node(zero: Any) -> Any:
    node = helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["y"], name="q")
    kind = TensorProto.INT8 if zero.dtype == np.int8 else TensorProto.UINT8
    return graph(node, PICTURE, output=kind, step=np.float32(0.1), zero=zero)


ALLOWED = {
    "a bilinear warp": graph(warp(mode="bilinear"), PICTURE, GRID),
    "a linear resize": graph(resize(mode="linear"), PICTURE, scales=SCALES),
    "a zero point of 0": quantise_node(np.int8(0)),
    "an activation": graph(helper.make_node("Relu", ["x"], ["y"]), PICTURE),
}

REFUSED = {
    "unknown operator": (
        graph(helper.make_node("Det", ["x"], ["y"], name="det"), PICTURE),
        "Det 'det' is no operator",
    ),
    "foreign domain": (
        graph(helper.make_node("Relu", ["x"], ["y"], name="own", domain="com.example"), PICTURE),
        "Relu 'own' is no operator",
    ),
    "warp of a volume": (
        graph(
            warp(mode="bilinear"),
            ("x", TensorProto.FLOAT, (1, 2, 8, 8, 8)),
            ("grid", TensorProto.FLOAT, (1, 8, 8, 8, 3)),
        ),
        "takes a picture of 5 dimensions",
    ),
    "warp by the name of opset 20": (
        graph(warp(mode="linear"), PICTURE, GRID),
        "has the mode 'linear', allowed are bilinear",
    ),
    "warp by half coordinates": (
        graph(warp(), PICTURE, ("grid", TensorProto.FLOAT16, (1, 8, 8, 2))),
        "takes coordinates that are not float32",
    ),
    "antialiased resize": (
        graph(resize(mode="linear", antialias=1), PICTURE, scales=SCALES),
        "has antialias=1, allowed: 0",
    ),
    "cubic resize": (
        graph(resize(mode="cubic"), PICTURE, scales=SCALES),
        "has mode='cubic', allowed: nearest, linear",
    ),
    "zero point": (quantise_node(np.int8(3)), "has a zero point other than 0"),
    "unsigned activations": (quantise_node(np.uint8(0)), "other numbers than int8"),
    "adding scatter": (
        graph(
            helper.make_node("ScatterND", ["x", "i", "u"], ["y"], name="s", reduction="add"),
            ("x", TensorProto.FLOAT, (4,)),
            ("i", TensorProto.INT64, (1, 1)),
            ("u", TensorProto.FLOAT, (1,)),
        ),
        "has reduction='add'",
    ),
    "pool with holes": (
        graph(
            helper.make_node(
                "MaxPool", ["x"], ["y"], name="p", kernel_shape=[2, 2], dilations=[2, 2]
            ),
            PICTURE,
        ),
        "has dilations",
    ),
    "axes that come in": (
        graph(
            helper.make_node("ReduceMean", ["x", "axes"], ["y"], name="mean"),
            PICTURE,
            ("axes", TensorProto.INT64, (1,)),
        ),
        "takes axes that are not constant",
    ),
    "arithmetic of constants": (
        graph(
            helper.make_node("Add", ["a", "b"], ["y"], name="sum"), a=np.float32(1), b=np.float32(2)
        ),
        "computes a constant",
    ),
    "double precision": (
        graph(
            helper.make_node("Add", ["x", "c"], ["y"]),
            ("x", TensorProto.DOUBLE, (2,)),
            output=TensorProto.DOUBLE,
            c=np.float64(2),
        ),
        "constant c is of type DOUBLE",
    ),
    "shapes that do not fit": (
        graph(
            helper.make_node("Add", ["x", "grid"], ["y"]),
            ("x", TensorProto.FLOAT, (3,)),
            ("grid", TensorProto.FLOAT, (4,)),
        ),
        "its shapes do not fit",
    ),
    "later opset": (
        graph(helper.make_node("Relu", ["x"], ["y"]), PICTURE, opset=20),
        "it uses opset 20, allowed is 18",
    ),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_what_the_parser_takes_has_no_faults(name: str) -> None:
    assert find_faults(ALLOWED[name]) == []


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_parser_refuses_is_refused_with_the_file_and_the_place(name: str) -> None:
    model, message = REFUSED[name]
    with pytest.raises(ConfigError) as refusal:
        check_operators(model, file="some.onnx")
    assert str(refusal.value).startswith("some.onnx: ")
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_models_for_processors_may_have_unsigned_activations() -> None:
    model = quantise_node(np.uint8(128))
    assert find_faults(model)
    assert find_faults(model, is_for_cpu=True) == []
    unknown, _ = REFUSED["unknown operator"]
    assert find_faults(unknown, is_for_cpu=True)


def test_the_table_names_operators_that_opset_18_has() -> None:
    known = {
        schema.name
        for schema in onnx.defs.get_all_schemas_with_history()
        if schema.domain == "" and schema.since_version <= OPSET
    }
    assert known >= SUPPORTED


@pytest.mark.parametrize("manifest", SHIPPED, ids=lambda manifest: str(manifest.name))
def test_every_shipped_graph_holds_only_what_tensorrt_takes(manifest: ModelManifest) -> None:
    model = onnx.load_from_string(manifest.verified_bytes())
    check_operators(model, file=manifest.file, is_for_cpu=manifest.precision == "int8")


class Patterned(nn.Module):
    """Adds a fixed pattern whose making is arithmetic of constants only."""

    def forward(self, x: Tensor) -> Tensor:
        rows = torch.linspace(-1, 1, 4)[:, None]
        pattern = torch.cat([rows * 2, rows.flip(0)], dim=1).reshape(1, 8, 1, 1).cumsum(1)
        return nn.functional.pixel_shuffle(nn.functional.pixel_unshuffle(x, 2) + pattern, 2)


def exportable(network: nn.Module) -> Exportable:
    return Exportable(
        network=network.eval(),
        inputs=(TensorSpec(name="x", shape=(1, 2, 32, 48)),),
        outputs=(TensorSpec(name="y", shape=(1, 2, 32, 48)),),
    )


def test_constant_arithmetic_is_folded_at_export() -> None:
    model = onnx.load_from_string(to_onnx_bytes(exportable(Patterned()), file="pattern.onnx"))
    operators = [node.op_type for node in model.graph.node]
    assert operators.count("Add") == 1
    assert {"CumSum", "Range", "Concat", "Shape", "Mul"}.isdisjoint(operators)


class Determined(nn.Module):
    """Uses an operator that no TensorRT parser has."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.det(x[:, :, :2, :2])[:, :, None, None]


def test_a_network_with_a_foreign_operator_is_refused_at_export() -> None:
    with pytest.raises(ConfigError, match=r"^det\.onnx: Det .* is no operator"):
        to_onnx_bytes(exportable(Determined()), file="det.onnx")
