"""A quantised network as a stack of convolutions in whole numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from kernels.conv_weights import (
    GAIN,
    PHASES,
    TOP_BYTE,
    TOP_WEIGHT,
    ConvLayer,
    ConvModel,
    top_taken,
)
from kernels.native_conv import MOST_LAYERS
from streamer.errors import EngineError
from streamer.infer.onnx_graph import Constant, Graph, Node, read_graph
from streamer.model import ModelManifest

Floats = NDArray[np.float64]

CODES = np.array([219.0] * 4 + [224.0] * 2)[:, None, None]
"""Code values for each 1 of what is packed: luma, then chroma."""

TOP_SUM = 0.99 * 2**31 / GAIN
"""Of the first layer, with its bias: within 32 bits also where all weights are rounded up."""

CONVOLUTION = {
    "strides": (1, 1),
    "dilations": (1, 1),
    "group": 1,
    "kernel_shape": (3, 3),
    "auto_pad": b"NOTSET",
    "pads": (0, 0, 0, 0),
}
"""Attributes of one that needs no rows around, as where they are left out."""


def read_conv_model(manifest: ModelManifest) -> ConvModel:
    """The network of a manifest of precision ``int8``.

    Its first layer is taken from the real weights, to code values, which are whole numbers already:
    finer than the graph's own eight bits. All others are the graph's, step by step. Raises
    ``EngineError`` where the graph is another kind of network, or damaged.
    """
    graph = read_graph(manifest.verified_bytes(), manifest.file)
    try:
        if len(manifest.inputs) != 1 or len(manifest.outputs) != 1:
            raise ValueError(f"{len(manifest.inputs)} inputs, {len(manifest.outputs)} outputs")
        takes, gives = manifest.inputs[0].name, manifest.outputs[0].name
        return _Reader(graph, takes=takes, gives=gives).model()
    except ValueError as error:
        raise EngineError(
            f"{manifest.file} is no stack of 3x3 convolutions with one skip at most ({error}); use "
            "another --backend"
        ) from error


@dataclass(frozen=True, slots=True)
class _Steps:
    """What a graph rounds to: ``step`` for each 1, ``zero`` for nothing, within two bounds."""

    step: float
    zero: int
    low: int = 0
    high: int = TOP_BYTE


class _Reader:
    """Follows a graph from what is packed to the residual, or to what else it gives.

    What it passes on the way has no other inputs than those it looks at, so that branches it leaves
    aside can have no part in the residual.
    """

    def __init__(self, graph: Graph, *, takes: str, gives: str) -> None:
        self._packed, self._given = takes, gives
        self._constants = graph.constants
        self._maker = {name: node for node in graph.nodes for name in node.outputs}
        self._takers: dict[str, list[Node]] = {}
        for node in graph.nodes:
            # Further inputs are weights, bounds and steps.
            for name in node.inputs if node.operator == "Add" else node.inputs[:1]:
                self._takers.setdefault(name, []).append(node)

    def model(self) -> ConvModel:
        """Raises ``ValueError`` where that is no stack of convolutions."""
        node, repeats_edge = self._begin()
        layers: list[ConvLayer] = []
        first: tuple[str, float] | None = None
        taken: _Steps | None = None
        skip: tuple[float, float] | None = None
        while len(layers) < MOST_LAYERS:
            made, given = self._rounded(node.outputs[0])
            self._check(node, is_wide=taken is None and repeats_edge)
            layers.append(self._layer(node, taken, given))
            if made == self._given:
                return ConvModel(layers, skip, repeats_edge)
            if skip is not None:
                raise ValueError(f"{made!r} comes behind a skip")
            made = self._rectified(made, given)
            first = first or (made, given.step)
            if self._taker(made, "Conv") is None:
                added = self._follow(made, "Add")
                if set(added.inputs) != {made, first[0]}:
                    raise ValueError(f"{added.outputs[0]!r} adds what is not the first layer")
                made, sums = self._rounded(added.outputs[0])
                skip = (given.step / sums.step, first[1] / sums.step)
                made, given = self._rectified(made, sums), sums
            taken = given
            node = self._follow(made, "Conv")
        raise ValueError(f"more than {MOST_LAYERS} layers")

    def _begin(self) -> tuple[Node, bool]:
        """The first convolution, and whether the picture goes on beyond its edges."""
        pad = self._taker(self._packed, "Pad")
        if pad is not None:
            widths = self._constant(pad.inputs[1]).ravel().tolist() if len(pad.inputs) == 2 else []
            if widths != [0, 0, 1, 1, 0, 0, 1, 1] or pad.attributes.get("mode") != b"edge":
                raise ValueError(f"{pad.outputs[0]!r} is another kind of edge")
            return self._follow(pad.outputs[0], "Conv"), True
        rounded = self._taker(self._packed, "QuantizeLinear")
        if rounded is not None:
            real = self._real_again(rounded.outputs[0], self._steps(rounded))
            return self._follow(real, "Conv"), False
        return self._follow(self._packed, "Conv"), False

    def _taker(self, name: str, operator: str) -> Node | None:
        """The node that takes ``name`` and is such an operation, if there is one."""
        return next((n for n in self._takers.get(name, ()) if n.operator == operator), None)

    def _follow(self, name: str, operator: str) -> Node:
        node = self._taker(name, operator)
        if node is None:
            raise ValueError(f"no {operator} follows {name!r}")
        return node

    def _constant(self, name: str) -> Constant:
        if name not in self._constants:
            raise ValueError(f"{name!r} is no constant")
        return self._constants[name]

    def _rounded(self, name: str) -> tuple[str, _Steps]:
        """Where what a layer makes has been rounded, and to what."""
        relu = self._taker(name, "Relu")
        node = self._follow(name if relu is None else relu.outputs[0], "QuantizeLinear")
        steps, made = self._steps(node), node.outputs[0]
        if relu is not None:
            steps = replace(steps, low=steps.zero)
        clip = self._taker(made, "Clip")
        if clip is None:
            return made, steps
        bounds = [self._constant(bound) for bound in clip.inputs[1:]]
        if len(bounds) != 2 or any(b.dtype != np.uint8 or b.size != 1 for b in bounds):
            raise ValueError(f"{clip.outputs[0]!r} has another kind of bounds")
        low, high = (int(bound.item()) for bound in bounds)
        return clip.outputs[0], replace(steps, low=max(low, steps.low), high=high)

    def _rectified(self, name: str, steps: _Steps) -> str:
        """As ``_real_again``; of what is nothing below zero, and all of it there."""
        if steps != _Steps(steps.step, 0):
            raise ValueError(f"{name!r} is not rectified")
        return self._real_again(name, steps)

    def _real_again(self, name: str, steps: _Steps) -> str:
        """What further layers take of what was rounded."""
        node = self._follow(name, "DequantizeLinear")
        same = self._steps(node)
        if (same.step, same.zero) != (steps.step, steps.zero):
            raise ValueError(f"{node.outputs[0]!r} has other steps than {name!r}")
        return node.outputs[0]

    def _steps(self, node: Node) -> _Steps:
        step, zero = self._steps_of(node)
        if step.size != 1 or zero.size != 1 or zero.dtype != np.uint8:
            raise ValueError(f"{node.outputs[0]!r} is not rounded to bytes, all in the same steps")
        return _Steps(float(step.item()), int(zero.item()))

    def _steps_of(self, node: Node) -> tuple[Floats, Constant]:
        """Steps and zeros of a node that rounds, or makes real again."""
        if len(node.inputs) != 3:
            raise ValueError(f"{node.outputs[0]!r} has {len(node.inputs)} inputs")
        step = self._constant(node.inputs[1]).astype(np.float64)
        if not np.all((step > 0) & np.isfinite(step)):
            raise ValueError(f"{node.inputs[1]!r} is no step")
        return step, self._constant(node.inputs[2])

    def _check(self, node: Node, *, is_wide: bool) -> None:
        """``is_wide``: whether what it takes has had its edges repeated."""
        wanted = CONVOLUTION if is_wide else {**CONVOLUTION, "pads": (1, 1, 1, 1)}
        if {**CONVOLUTION, **node.attributes} != wanted or len(node.inputs) not in (2, 3):
            raise ValueError(f"{node.outputs[0]!r} is another kind of convolution")

    def _layer(self, node: Node, taken: _Steps | None, given: _Steps) -> ConvLayer:
        bias = self._real(node.inputs[2]) if len(node.inputs) == 3 else np.zeros(1)
        top = TOP_BYTE
        if taken is None:
            weights, scale = _taking_codes(self._real(node.inputs[1]), bias)
            top = top_taken(weights.shape[1])
        else:
            weights, scale = self._weights(node.inputs[1])
            scale = scale * taken.step
        return ConvLayer(
            weights=weights,
            scale=scale / given.step,
            bias=np.broadcast_to(bias, scale.shape) / scale,
            top=top,
            bottom=-top if taken is None else 0,
            low=given.low - given.zero,
            high=given.high - given.zero,
            zero=given.zero,
        )

    def _weights(self, name: str) -> tuple[NDArray[np.int64], Floats]:
        """Whole numbers, and what 1 stands for in each out."""
        whole, steps = self._whole(name)
        return whole, np.broadcast_to(steps.ravel(), whole.shape[:1])

    def _real(self, name: str) -> Floats:
        """A constant, or one that is there in steps; by outs first."""
        if name in self._constants:
            real = self._constants[name].astype(np.float64)
        else:
            whole, steps = self._whole(name)
            real = whole * steps.reshape(-1, *[1] * (whole.ndim - 1))
        if not np.isfinite(real).all():
            raise ValueError(f"{name!r} is not finite")
        return real

    def _whole(self, name: str) -> tuple[NDArray[np.int64], Floats]:
        """A constant that is there in steps, around zero, and these: one, or one for each out."""
        node = self._maker.get(name)
        if node is None or node.operator != "DequantizeLinear":
            raise ValueError(f"{name!r} is no constant")
        steps, zeros = self._steps_of(node)
        if np.any(zeros) or (steps.size > 1 and node.attributes.get("axis") != 0):
            raise ValueError(f"{name!r} has zeros of its own, or steps that are not by outs")
        return self._constant(node.inputs[0]).astype(np.int64), steps


def _taking_codes(real: Floats, bias: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Weights for code values in whole numbers, and what 1 stands for in each out."""
    if real.ndim != 4 or real.shape[1] not in (PHASES, 2 * PHASES):
        raise ValueError(f"the first layer has weights {real.shape}")
    pictures = real.shape[1] // PHASES
    weights = real / np.concatenate([CODES] * pictures)
    heaviest, sums = (reduced(np.abs(weights), (1, 2, 3)) for reduced in (np.max, np.sum))
    # Where an out is hardly anything but its bias, that is what must fit.
    step = np.maximum(
        heaviest / TOP_WEIGHT, (top_taken(real.shape[1]) * sums + np.abs(bias)) / TOP_SUM
    )
    step = np.where(step > 0, step, 1.0)
    return _nearest(weights / step[:, None, None, None]), step


def _nearest(weights: Floats) -> NDArray[np.int64]:
    """Whole numbers whose sums over luma, U and V of each picture are as near as they can be.

    Each by itself, errors would add up where a picture is bright and flat, which networks that look
    for edges are blind to.
    """
    whole = np.floor(weights)
    for begin, end in pairwise(np.cumsum([0, *[4, 1, 1] * (weights.shape[1] // PHASES)])):
        channels = slice(begin, end)
        left = (weights - whole)[:, channels].reshape(len(weights), -1)
        # Those with the largest fraction go up, as many as the sum asks for.
        ups = np.rint(left.sum(1)).astype(int)
        order = np.argsort(np.argsort(-left, 1, kind="stable"), 1)
        whole[:, channels] += (order < ups[:, None]).reshape(whole[:, channels].shape)
    return whole.astype(np.int64)
