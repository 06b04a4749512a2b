"""What a shipped graph may hold: operators that TensorRT's ONNX parser takes, as it takes them.

Source: onnx/onnx-tensorrt, docs/operators.md, "TensorRT 10.15 supports operators in the inclusive
range of opset 9 to opset 24", rows marked Y, and of these the ones that opset 18 has. Left out are
control flow, sequences, recurrent cells and random numbers, which no network here needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import TensorProto, numpy_helper, shape_inference

from streamer.errors import ConfigError

OPSET = 18
"""From opset 20 on TensorRT's parser takes bilinear warps for nearest; all models stay at 18."""

_SUPPORTED = """
Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast
CastLike Ceil Celu Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum
DepthToSpace DequantizeLinear Div Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather
GatherElements GatherND Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual
GridSample HardSigmoid HardSwish Hardmax Identity InstanceNormalization IsInf IsNaN
LRN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization LpPool MatMul
Max MaxPool Mean MeanVarianceNormalization Min Mish Mod Mul Neg NonZero Not OneHot Or PRelu Pad
Pow QuantizeLinear Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax
ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize ReverseSequence
RoiAlign Round ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice
Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile
TopK Transpose Trilu Unsqueeze Where Xor
"""
SUPPORTED = frozenset(_SUPPORTED.split())

RESIZE = {
    "mode": ("nearest", "linear"),
    "coordinate_transformation_mode": (
        "half_pixel",
        "pytorch_half_pixel",
        "tf_half_pixel_for_nn",
        "asymmetric",
        "align_corners",
    ),
    "nearest_mode": ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"),
    "keep_aspect_ratio_policy": ("stretch",),
    "antialias": (0,),
}
"""Allowed values of Resize's attributes."""

WARP_MODES = ("bilinear", "nearest", "bicubic")
"""GridSample's names up to opset 19; "linear" of opset 20 is what the parser does not know."""

# Inputs that must be known when an engine is built, by position.
CONSTANT_INPUTS = {"Squeeze": 1, "Unsqueeze": 1, "CumSum": 1}


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph with what is known of its values."""

    nodes: tuple[Any, ...]
    constants: Mapping[str, Any]
    types: Mapping[str, Any]
    """Element type and shape of every value that inference reached."""
    is_for_cpu: bool

    def rank(self, name: str) -> int | None:
        """Number of dimensions, ``None`` where nothing is known."""
        known = self.types.get(name)
        return None if known is None or not known.HasField("shape") else len(known.shape.dim)


def check_operators(model: Any, *, file: str, is_for_cpu: bool = False) -> None:
    """Raises ``ConfigError`` naming ``file`` unless the graph may be shipped.

    Models ``is_for_cpu`` may have zero points other than 0: unsigned activations are what ONNX
    Runtime runs fastest on x86, and TensorRT never sees them.
    """
    faults = find_faults(model, is_for_cpu=is_for_cpu)
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise ConfigError(f"{file}: {faults[0]}{more}; change the network or its export")


def find_faults(model: Any, *, is_for_cpu: bool = False) -> list[str]:
    """What TensorRT would refuse or read wrongly, and what should have been folded."""
    faults = [
        f"it uses opset {entry.version}, allowed is {OPSET}"
        for entry in model.opset_import
        if entry.domain in {"", "ai.onnx"} and entry.version != OPSET
    ]
    try:
        graph = _known(model, is_for_cpu=is_for_cpu)
    except shape_inference.InferenceError as error:
        return [*faults, f"its shapes do not fit ({str(error).splitlines()[0][:160]})"]
    faults += [
        f"the constant {name} is of type DOUBLE"
        for name, tensor in graph.constants.items()
        if tensor.data_type == TensorProto.DOUBLE
    ]
    for node in graph.nodes:
        faults += [f"{node.op_type} {node.name!r} {fault}" for fault in _faults_of(node, graph)]
    return faults


def _known(model: Any, *, is_for_cpu: bool) -> Graph:
    inferred = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    values = (*inferred.value_info, *inferred.input, *inferred.output)
    return Graph(
        nodes=tuple(inferred.node),
        constants={tensor.name: tensor for tensor in inferred.initializer},
        types={value.name: value.type.tensor_type for value in values},
        is_for_cpu=is_for_cpu,
    )


def _faults_of(node: Any, graph: Graph) -> list[str]:
    if node.domain not in {"", "ai.onnx"} or node.op_type not in SUPPORTED:
        return ["is no operator that TensorRT's parser takes"]
    faults = []
    inputs = [name for name in node.input if name]
    # Quantised weights are stored small and enlarged by the runtime; that is their point.
    may_compute_constants = node.op_type == "DequantizeLinear"
    if inputs and not may_compute_constants and all(name in graph.constants for name in inputs):
        faults.append("computes a constant, which the export should have folded")
    position = CONSTANT_INPUTS.get(node.op_type, 1 if node.op_type.startswith("Reduce") else 0)
    if position and len(node.input) > position and node.input[position] not in graph.constants:
        faults.append("takes axes that are not constant")
    check = CHECKS.get(node.op_type)
    return faults + (check(node, graph) if check else [])


def _check_warp(node: Any, graph: Graph) -> list[str]:
    faults = []
    mode = _attributes(node).get("mode", "bilinear")
    if mode not in WARP_MODES:
        faults.append(f"has the mode {mode!r}, allowed are {', '.join(WARP_MODES)}")
    rank = graph.rank(node.input[0])
    if rank != 4:
        faults.append(f"takes a picture of {rank or 'unknown'} dimensions, allowed are 4")
    coordinates = graph.types.get(node.input[1])
    if coordinates is None or coordinates.elem_type != TensorProto.FLOAT:
        # Above 2048 pixels float16 cannot tell neighbouring columns apart.
        faults.append("takes coordinates that are not float32")
    return faults


def _check_resize(node: Any, graph: Graph) -> list[str]:
    given = _attributes(node)
    faults = [
        f"has {name}={given[name]!r}, allowed: {', '.join(map(str, allowed))}"
        for name, allowed in RESIZE.items()
        if name in given and given[name] not in allowed
    ]
    return [*faults, "has axes of its own"] if "axes" in given else faults


def _check_quantised(node: Any, graph: Graph) -> list[str]:
    if graph.is_for_cpu or len(node.input) < 3 or not node.input[2]:
        return []
    zero = graph.constants.get(node.input[2])
    if zero is None or numpy_helper.to_array(zero).any():
        return ["has a zero point other than 0"]
    return [] if zero.data_type == TensorProto.INT8 else ["quantises to other numbers than int8"]


def _check_scatter(node: Any, graph: Graph) -> list[str]:
    reduction = _attributes(node).get("reduction", "none")
    return [] if reduction == "none" else [f"has reduction={reduction!r}, allowed is 'none'"]


def _check_pool(node: Any, graph: Graph) -> list[str]:
    is_spread = any(step != 1 for step in _attributes(node).get("dilations", ()))
    return ["has dilations"] if is_spread else []


def _attributes(node: Any) -> dict[str, Any]:
    values = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
    return {name: v.decode() if isinstance(v, bytes) else v for name, v in values.items()}


CHECKS: Mapping[str, Callable[[Any, Graph], list[str]]] = {
    "GridSample": _check_warp,
    "Resize": _check_resize,
    "QuantizeLinear": _check_quantised,
    "DequantizeLinear": _check_quantised,
    "ScatterND": _check_scatter,
    "AveragePool": _check_pool,
    "MaxPool": _check_pool,
    "LpPool": _check_pool,
}
"""Restrictions beyond the operator's name."""
