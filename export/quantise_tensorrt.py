"""What is other in an int8 model for TensorRT: symmetric activations, and float16 at both ends.

TensorRT takes QuantizeLinear and DequantizeLinear as they stand in the graph, with numbers of type
int8 and a zero point of 0, and biases in float. Its fusions want them before convolutions and
nowhere else: convolution, ReLU and the next QuantizeLinear become one kernel from int8 to int8.
Source: NVIDIA, "Working with Quantized Types", Q/DQ layer-placement recommendations;
onnx/onnx-tensorrt, docs/operators.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import onnx
from onnx import TensorProto, helper

SYMMETRIC: Final = "int8-symmetric"
"""The precision in manifests. After a ReLU half of the 256 steps is unused, which costs hundredths of
a dB; a processor gains nothing by it and has ``int8``."""

Precision = Literal["int8", "int8-symmetric"]
"""What a network is quantised to."""

TENSORRT: Mapping[str, Any] = {
    "ActivationSymmetric": True,
    "QuantizeBias": False,
    "OpTypesToExcludeOutputQuantization": ["Conv"],
}
"""Extra options of ``onnxruntime.quantization.quantize_static``."""


def with_float16_ends(model: Any) -> bytes:
    """The model with a cast behind each input and before each output, which become float16.

    Device memory holds pictures packed as float16, as fp16 models take them. Inside it stays
    float32: up to opset 18 QuantizeLinear takes nothing else.
    """
    graph = model.graph
    taken, given = ([value.name for value in values] for values in (graph.input, graph.output))
    inner = {name: f"{name}_float32" for name in (*taken, *given)}
    for node in graph.node:
        node.input[:] = [inner.get(name, name) for name in node.input]
        node.output[:] = [inner.get(name, name) for name in node.output]
    nodes = [
        *(_cast(name, inner[name], to=TensorProto.FLOAT) for name in taken),
        *graph.node,
        *(_cast(inner[name], name, to=TensorProto.FLOAT16) for name in given),
    ]
    del graph.node[:]
    graph.node.extend(nodes)
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.checker.check_model(model)
    blob: bytes = model.SerializeToString()
    return blob


def _cast(taken: str, given: str, *, to: int) -> Any:
    return helper.make_node("Cast", [taken], [given], name=f"{given}_cast", to=to)
