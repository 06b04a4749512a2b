"""Which graphs are taken for stacks of convolutions, and what is said of all others."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from kernels import reference
from kernels.conv_weights import ConvLayer
from streamer.errors import EngineError
from streamer.infer.conv_model import CODES, TOP_SUM, read_conv_model
from streamer.infer.self_test import drawn_inputs
from streamer.model import ModelManifest
from tests.streamer.infer.conv_graphs import CHANNELS, Drawn, manifest_of, stack

Draw = Callable[[Drawn], None]


def skip_over_all(it: Drawn) -> None:
    stack(it, layers=5, skip_behind=[4])


def edge(it: Drawn) -> None:
    widths = it.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64)
    it.end(it.layer(it.node("Pad", "packed", widths, mode="edge"), ins=6, pads=[0] * 4))


def rounded_picture(it: Drawn) -> None:
    steps = it.constant(1 / 219, np.float32), it.constant(30, np.uint8)
    whole = it.node("QuantizeLinear", "packed", *steps)
    it.end(it.layer(it.node("DequantizeLinear", whole, *steps), ins=6))


def rectified_and_cut(it: Drawn) -> None:
    rounded = it.rounded(it.node("Relu", it.conv("packed", ins=6)))
    last = it.rounded(it.conv(it.real(rounded), outs=24), 1 / 32, 128)
    bounds = it.constant(120, np.uint8), it.constant(140, np.uint8)
    it.node("Clip", last, *bounds, to="residual")


def rectified_at_the_end(it: Drawn) -> None:
    made = it.conv(it.layer("packed", ins=6), outs=24)
    it.rounded(it.node("Relu", made), 1 / 32, 128, to="residual")


def branches_that_lead_nowhere(it: Drawn) -> None:
    made = it.layer("packed", ins=6)
    it.node("Concat", "packed", made, axis=1)
    it.layer(it.node("MaxPool", made, kernel_shape=[2, 2]))
    it.end(made)


@pytest.mark.parametrize(
    "draw",
    [
        stack,
        skip_over_all,
        edge,
        rounded_picture,
        rectified_and_cut,
        rectified_at_the_end,
        branches_that_lead_nowhere,
    ],
)
def test_what_it_makes_is_what_the_graph_says(draw: Draw, tmp_path: Path) -> None:
    """But for the first layer, whose weights are in other steps: of 255 by one or two, here and there."""
    drawn = Drawn()
    draw(drawn)
    manifest = drawn.write(tmp_path)
    packed = drawn_inputs(manifest, {"h": 24, "w": 32})["packed"]
    (made,) = ReferenceEvaluator(onnx.load(manifest.path)).run(["residual"], {"packed": packed})
    expected = np.asarray(made)[0]
    seen = reference.convolve(packed[0], read_conv_model(manifest))
    error = np.abs(seen.astype(int) - expected.astype(int))
    assert len(np.unique(expected)) > 15
    assert error.max() <= 2
    assert error.mean() < 0.25


def test_a_first_layer_that_is_hardly_more_than_its_bias_keeps_it(tmp_path: Path) -> None:
    """A channel that training gave up: its weights are next to nothing, or nothing."""
    it = Drawn()
    weights = np.zeros((CHANNELS, 6, 3, 3))
    weights[0], weights[1] = 1e-12, 0.05
    bias = np.array([0.5, 0.5, 0.25, *[0.0] * (CHANNELS - 3)])
    inputs = "packed", it.constant(weights, np.float32), it.constant(bias, np.float32)
    made = it.node("Conv", *inputs, pads=[1] * 4)
    it.end(it.real(it.rounded(made)))
    layer = read_conv_model(it.write(tmp_path)).layers[0]
    layer.check()
    np.testing.assert_allclose(layer.scale * layer.bias, 128 * bias, rtol=1e-6)
    assert np.abs(layer.bias).max() == pytest.approx(TOP_SUM)
    assert layer.weights[1].max() == 227
    assert not layer.weights[2:].any()


@pytest.mark.parametrize("repeats_edge", [False, True])
def test_a_first_layer_may_take_two_pictures(tmp_path: Path, *, repeats_edge: bool) -> None:
    """A cleaned one beside a new one: twelve planes, of which six reach further than codes do."""
    it, taken, pads = Drawn(), "packed", [1] * 4
    if repeats_edge:
        widths = it.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64)
        taken, pads = it.node("Pad", "packed", widths, mode="edge"), [0] * 4
    it.end(it.layer(taken, ins=12, pads=pads))
    manifest = it.write(tmp_path, phases=12)
    numbers = np.random.default_rng(12)
    whole = np.concatenate(
        [numbers.integers(-16, 240, (6, 24, 32)), numbers.integers(-255, 256, (6, 24, 32))]
    )
    whole[6:, :12] //= 30
    packed = (whole / np.concatenate([CODES, CODES])).astype(np.float32)
    graph = ReferenceEvaluator(onnx.load(manifest.path))
    (made,) = graph.run(["residual"], {"packed": packed[None]})
    expected = np.asarray(made)[0]
    model = read_conv_model(manifest)
    first = model.layers[0]
    first.check()
    assert (first.bottom, first.top) == (-255, 255)
    assert model.repeats_edge == repeats_edge
    error = np.abs(reference.convolve(packed, model).astype(int) - expected.astype(int))
    assert len(np.unique(expected)) > 15
    assert error.max() <= 2
    assert error.mean() < 0.25


def first_layer(folder: Path, weights: NDArray[Any], bias: float = 0.0) -> ConvLayer:
    """The first layer of a network that begins with these."""
    it, outs = Drawn(), len(weights)
    inputs = it.constant(weights, np.float32), it.constant(np.full(outs, bias), np.float32)
    made = it.node("Conv", "packed", *inputs, pads=[1] * 4)
    it.end(it.real(it.rounded(made)), ins=outs)
    return read_conv_model(it.write(folder, phases=weights.shape[1])).layers[0]


@pytest.mark.parametrize("pictures", [1, 2])
def test_sums_over_luma_u_and_v_of_each_picture_are_the_nearest(
    pictures: int, tmp_path: Path
) -> None:
    """By itself each weight would be as near, and what is flat as far off as all of them together."""
    numbers = np.random.default_rng(pictures)
    real = numbers.normal(0, 0.3, (CHANNELS, 6 * pictures, 3, 3)).astype(np.float32)
    layer = first_layer(tmp_path, real)
    units = np.concatenate([CODES] * pictures)
    # 128 steps for each 1 that leaves.
    exact = real.astype(float) / units / (layer.scale / 128)[:, None, None, None]
    off = layer.weights - exact
    assert np.abs(off).max() < 1
    groups = [
        slice(6 * n + a, 6 * n + b) for n in range(pictures) for a, b in ((0, 4), (4, 5), (5, 6))
    ]
    sums = np.stack([np.abs(off[:, group].sum((1, 2, 3))) for group in groups])
    assert sums.max() <= 0.5 + 1e-6
    alone = np.rint(exact) - exact
    assert max(np.abs(alone[:, group].sum((1, 2, 3))).max() for group in groups) > 0.8


@pytest.mark.parametrize(("phases", "top"), [(6, 239), (12, 255)])
@pytest.mark.parametrize("value", [40.0, -40.0, 1e-4])
def test_the_heaviest_first_layer_fits_into_32_bits(
    phases: int, top: int, value: float, tmp_path: Path
) -> None:
    """Weights that are all as large, most of them rounded up, with a bias as large as their sum."""
    units = np.concatenate([CODES] * (phases // 6))
    real = np.broadcast_to(value * units / 219, (CHANNELS, phases, 3, 3))
    bias = float(value / 219 * 9 * phases * top)
    layer = first_layer(tmp_path, np.array(real), bias)
    layer.check()
    reach = np.abs(layer._reach()).max() / 2**31
    assert reach <= 1
    assert reach > (0.97 if phases == 12 else 0.4)


def conv_with(**changes: object) -> Draw:
    def draw(it: Drawn) -> None:
        it.end(it.layer(it.layer("packed", ins=6), **changes))

    return draw


def rounded_with(**changes: object) -> Draw:
    """``zero``, ``step`` and ``dtype`` of what is between two layers."""

    def draw(it: Drawn) -> None:
        made = it.rounded(it.conv("packed", ins=6), **changes)  # type: ignore[arg-type]
        it.end(it.real(made, **changes))  # type: ignore[arg-type]

    return draw


def concat(it: Drawn) -> None:
    first = it.layer("packed", ins=6)
    second = it.layer(first)
    it.end(it.node("Concat", first, second, axis=1), ins=2 * CHANNELS)


def leaky(it: Drawn) -> None:
    it.end(it.real(it.rounded(it.node("LeakyRelu", it.conv("packed", ins=6), alpha=0.1))))


def fp32(it: Drawn) -> None:
    it.conv(it.node("Relu", it.conv("packed", ins=6)), outs=24)
    it.nodes[-1].output[0] = "residual"


def skip_from_the_second(it: Drawn) -> None:
    second = it.layer(it.layer("packed", ins=6))
    third = it.layer(second)
    it.end(it.real(it.rounded(it.node("Add", second, third))))


def skip_of_the_picture(it: Drawn) -> None:
    it.end(it.real(it.rounded(it.node("Add", it.layer("packed", ins=6, outs=6), "packed"))), ins=6)


def other_steps(it: Drawn) -> None:
    it.end(it.real(it.rounded(it.conv("packed", ins=6), 1 / 128), 1 / 127))


def no_zero(it: Drawn) -> None:
    step = it.constant(1 / 128, np.float32)
    it.end(it.real(it.node("QuantizeLinear", it.conv("packed", ins=6), step)))


def round_and_round(it: Drawn) -> None:
    first = it.layer("packed", ins=6)
    again = it.layer(it.layer(first))
    it.nodes[-1].output[0] = first
    it.nodes[:] = [n for n in it.nodes if again not in n.output]


def cut_in_between(it: Drawn) -> None:
    bounds = it.constant(0, np.uint8), it.constant(200, np.uint8)
    it.end(it.real(it.node("Clip", it.rounded(it.conv("packed", ins=6)), *bounds)))


def bounds_that_are_made(it: Drawn) -> None:
    last = it.rounded(it.conv(it.layer("packed", ins=6), outs=24), 1 / 32, 128)
    it.node("Clip", last, it.constant(0, np.uint8), "packed", to="residual")


def real_weights(it: Drawn) -> None:
    weights = it.constant(np.ones((24, CHANNELS, 3, 3)), np.float32)
    bias = it.constant(np.ones(24), np.float32)
    made = it.node("Conv", it.layer("packed", ins=6), weights, bias, pads=[1] * 4)
    it.rounded(made, 1 / 32, 128, to="residual")


def reflected(it: Drawn) -> None:
    widths = it.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64)
    it.end(it.layer(it.node("Pad", "packed", widths, mode="reflect"), ins=6, pads=[0] * 4))


def padded_twice(it: Drawn) -> None:
    widths = it.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64)
    it.end(it.layer(it.node("Pad", "packed", widths, mode="edge"), ins=6))


def not_finite(it: Drawn) -> None:
    weights = it.constant(np.full((CHANNELS, 6, 3, 3), np.inf), np.float32)
    it.end(it.real(it.rounded(it.node("Conv", "packed", weights, pads=[1] * 4))))


def flat_weights(it: Drawn) -> None:
    weights = it.constant(np.ones((CHANNELS, 6)), np.float32)
    made = it.node("Conv", "packed", weights, kernel_shape=[3, 3], pads=[1] * 4)
    it.end(it.real(it.rounded(made)))


OTHERS: dict[str, tuple[Draw, str]] = {
    "a stride": (conv_with(strides=[2, 2]), "another kind of convolution"),
    "holes": (conv_with(dilations=[2, 2], pads=[2] * 4), "another kind of convolution"),
    "groups": (conv_with(ins=4, group=2), "another kind of convolution"),
    "five": (conv_with(kernel_shape=[5, 5], pads=[2] * 4), "another kind of convolution"),
    "one": (conv_with(kernel_shape=[1, 1], pads=[0] * 4), "another kind of convolution"),
    "no edge": (conv_with(pads=[0] * 4), "another kind of convolution"),
    "an edge by name": (conv_with(auto_pad="SAME_UPPER"), "another kind of convolution"),
    "a concat": (concat, "no Add follows"),
    "leaky": (leaky, "no QuantizeLinear follows"),
    "fp32": (fp32, "no QuantizeLinear follows"),
    "a skip in between": (lambda it: stack(it, layers=5, skip_behind=[3]), "comes behind a skip"),
    "two skips": (lambda it: stack(it, layers=5, skip_behind=[3, 4]), "comes behind a skip"),
    "a skip of the second": (skip_from_the_second, "no Add follows|adds what is not the first"),
    "a skip of the picture": (skip_of_the_picture, "adds what is not the first layer"),
    "a zero": (rounded_with(zero=3), "is not rectified"),
    "signs": (rounded_with(dtype=np.int8), "is not rounded to bytes"),
    "many steps": (rounded_with(step=[1 / 128] * CHANNELS), "all in the same steps"),
    "a step of nothing": (rounded_with(step=0), "is no step"),
    "a step that is no number": (rounded_with(step=np.nan), "is no step"),
    "other steps": (other_steps, "has other steps"),
    "no zero": (no_zero, "has 2 inputs"),
    "no end": (round_and_round, "more than 16 layers"),
    "too many": (lambda it: stack(it, layers=17), "more than 16 layers"),
    "cut in between": (cut_in_between, "is not rectified"),
    "bounds that are made": (bounds_that_are_made, "'packed' is no constant"),
    "real weights": (real_weights, "is no constant"),
    "reflected": (reflected, "another kind of edge"),
    "padded twice": (padded_twice, "another kind of convolution"),
    "not finite": (not_finite, "is not finite"),
    "nothing": (lambda it: None, "no Conv follows 'packed'"),
    "five planes": (lambda it: it.end(it.layer("packed", ins=5)), "the first layer has weights"),
    "seven": (lambda it: it.end(it.layer("packed", ins=7)), "has weights (8, 7, 3, 3)"),
    "three pictures": (lambda it: it.end(it.layer("packed", ins=18)), "has weights (8, 18, 3, 3)"),
    "flat weights": (flat_weights, "has weights (8, 6)"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_networks_of_other_kinds_are_refused_in_a_sentence(case: str, tmp_path: Path) -> None:
    draw, said = OTHERS[case]
    drawn = Drawn()
    draw(drawn)
    message = refusal(drawn.write(tmp_path))
    assert message.startswith("drawn.onnx is no stack of 3x3 convolutions with one skip at most (")
    assert message.endswith("); use another --backend")
    assert said.split("|")[0] in message or said.split("|")[-1] in message


def refusal(manifest: ModelManifest) -> str:
    """What is said; fails where nothing is."""
    with pytest.raises(EngineError) as caught:
        read_conv_model(manifest)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_it_takes_and_gives_is_called_as_the_manifest_says(tmp_path: Path) -> None:
    drawn, calls = Drawn(), {"packed": "followed", "residual": "change"}
    stack(drawn)
    for node in drawn.nodes:
        for names in (node.input, node.output):
            names[:] = [calls.get(name, name) for name in names]
    manifest = drawn.write(tmp_path)
    (taken,), (given,) = (
        [replace(spec, name=calls[spec.name]) for spec in specs]
        for specs in (manifest.inputs, manifest.outputs)
    )
    same = replace(manifest, inputs=(taken,), outputs=(given,))
    assert len(read_conv_model(same).layers) == 3
    assert "no Conv follows 'packed'" in refusal(replace(same, inputs=manifest.inputs))
    refusal(replace(same, outputs=manifest.outputs))
    refusal(replace(same, inputs=(taken, *manifest.inputs)))
    refusal(replace(same, outputs=(given, *manifest.outputs)))


def test_damaged_graphs_are_taken_or_refused_and_nothing_else(tmp_path: Path) -> None:
    drawn = Drawn()
    skip_over_all(drawn)
    blob = drawn.write(tmp_path).path.read_bytes()
    numbers = np.random.default_rng(6)
    # Names and numbers of fields, between the weights: what can be mistaken for something else.
    for _ in range(1500):
        changed = bytearray(blob)
        for place in numbers.integers(0, len(blob), 4):
            changed[place] = blob[numbers.integers(0, len(blob))]
        place = int(numbers.integers(0, len(blob) - 4))
        changed[place : place + 4] = struct.pack(
            "<f", numbers.choice([np.nan, np.inf, 1e-45, -1.0])
        )
        with suppress(EngineError):
            read_conv_model(manifest_of(tmp_path, bytes(changed)))
