"""Small quantised networks as ONNX files: stacks of convolutions as shipped ones are, and what is not."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from streamer.model import MODELS, ModelManifest, read_manifest

CHANNELS = 8


class Drawn:
    """A graph under way; what makes a tensor gives its name."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self._numbers = np.random.default_rng(5)

    def node(self, operator: str, *inputs: str, to: str = "", **attributes: Any) -> str:
        name = to or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def constant(self, values: Any, dtype: type[np.generic]) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def conv(self, taken: str, ins: int = CHANNELS, outs: int = CHANNELS, **changes: Any) -> str:
        attributes = {"pads": [1] * 4, "kernel_shape": [3, 3], **changes}
        shape = (outs, ins, *attributes["kernel_shape"])
        whole = self.constant(self._numbers.integers(-127, 128, shape), np.int8)
        steps = self.constant(self._numbers.uniform(1.5e-3, 3e-3, outs), np.float32)
        zeros = self.constant(np.zeros(outs), np.int8)
        weights = self.node("DequantizeLinear", whole, steps, zeros, axis=0)
        bias = self.constant(self._numbers.uniform(-0.1, 0.1, outs), np.float32)
        return self.node("Conv", taken, weights, bias, **attributes)

    def rounded(
        self, made: str, step: float = 1 / 128, zero: int = 0, dtype: Any = np.uint8, to: str = ""
    ) -> str:
        steps = self.constant(step, np.float32), self.constant(zero, dtype)
        return self.node("QuantizeLinear", made, *steps, to=to)

    def real(
        self, rounded: str, step: float = 1 / 128, zero: int = 0, dtype: Any = np.uint8
    ) -> str:
        steps = self.constant(step, np.float32), self.constant(zero, dtype)
        return self.node("DequantizeLinear", rounded, *steps)

    def layer(self, taken: str, **changes: Any) -> str:
        return self.real(self.rounded(self.conv(taken, **changes)))

    def end(self, taken: str, **changes: Any) -> None:
        self.rounded(self.conv(taken, outs=24, **changes), 1 / 32, 128, to="residual")

    def write(self, folder: Path, *, phases: int = 6) -> ModelManifest:
        """Beside a manifest that says it is a network of two times in int8."""
        tensors = [
            helper.make_tensor_value_info("packed", TensorProto.FLOAT, [1, phases, "h", "w"]),
            helper.make_tensor_value_info("residual", TensorProto.UINT8, [1, 24, "h", "w"]),
        ]
        graph = helper.make_graph(self.nodes, "drawn", tensors[:1], tensors[1:], self.constants)
        opsets = [helper.make_opsetid("", 19)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        return manifest_of(folder, model.SerializeToString())


def manifest_of(folder: Path, blob: bytes) -> ModelManifest:
    (folder / "drawn.onnx").write_bytes(blob)
    shipped = read_manifest(MODELS / "sr-lite-x2-live-int8.json")
    sha256 = hashlib.sha256(blob).hexdigest()
    return replace(shipped, file="drawn.onnx", folder=folder, sha256=sha256)


def stack(drawn: Drawn, *, layers: int = 3, skip_behind: Sequence[int] = ()) -> None:
    """One that can be run, where a skip goes over all layers between the first and the last or none."""
    made = first = drawn.layer("packed", ins=6)
    for n in range(2, layers):
        made = drawn.layer(made)
        if n in skip_behind:
            made = drawn.real(drawn.rounded(drawn.node("Add", made, first), 1 / 64), 1 / 64)
    drawn.end(made)
