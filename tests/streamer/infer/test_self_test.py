from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from streamer.errors import EngineError
from streamer.infer.engine import Tensors
from streamer.infer.native import TASKS, NativeEngine
from streamer.infer.ort import OrtCpuEngine
from streamer.infer.reference import ReferenceEngine
from streamer.infer.self_test import (
    HALF_ROUNDING,
    SAMPLES,
    SIZES,
    TOLERANCES,
    allowed_error,
    check,
    drawn_inputs,
    root_mean_square,
    sampled,
    storage,
)
from streamer.model import MODELS, ModelManifest, TensorSpec, read_manifest
from tests.streamer.models import tiny, write_model

MOTION = replace(
    ReferenceEngine(1).manifest,
    inputs=(
        TensorSpec(name="pictures", shape=(1, 6, "2*h", "2*w")),
        TensorSpec(name="motion", shape=(1, 5, "h", "w")),
    ),
)


class Idle(ReferenceEngine):
    """Says it is another network's, and writes nothing."""

    def __init__(self, manifest: ModelManifest) -> None:
        self.manifest = manifest

    def run(self, inputs: Tensors, outputs: Tensors) -> None: ...


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_an_engine_that_gives_what_is_stored_passes(scale: int, tmp_path: Path) -> None:
    check(OrtCpuEngine(tiny(tmp_path, scale=scale), threads=1))


@pytest.mark.parametrize(
    ("precision", "error"), [("fp32", 0.0005), ("bf16", 0.1), ("int8", 0.2), ("int8", -0.2)]
)
def test_an_engine_that_is_off_by_what_its_precision_costs_passes(
    precision: str, error: float, tmp_path: Path
) -> None:
    path = write_model(tmp_path, error=error, precision=precision)
    check(OrtCpuEngine(read_manifest(path), threads=1))


@pytest.mark.parametrize(
    ("precision", "error"),
    [
        ("fp32", 0.002),
        ("bf16", 0.15),
        ("int8", 0.3),
        ("int8", -0.3),
        ("int8", float("nan")),
        ("int8", float("inf")),
    ],
)
def test_an_engine_that_is_further_off_is_wrong(
    precision: str, error: float, tmp_path: Path
) -> None:
    path = write_model(tmp_path, error=error, precision=precision)
    with pytest.raises(EngineError) as refusal:
        check(OrtCpuEngine(read_manifest(path), threads=1))
    message = str(refusal.value)
    assert message.startswith(f"{precision} on ort-cpu is wrong on this processor: residual of sr-")
    assert f"allowed are {TOLERANCES[precision]:g}" in message


def test_an_engine_that_writes_nothing_fails(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="is off by 1 of its size"):
        check(Idle(tiny(tmp_path)))


@pytest.mark.parametrize(
    ("stored", "number"), [({}, 0), ({"flow": [1.0]}, 0), ({"residual": [1.0, 2.0]}, 2)]
)
def test_a_model_without_its_expected_outputs_is_refused(
    stored: Any, number: int, tmp_path: Path
) -> None:
    engine = OrtCpuEngine(read_manifest(write_model(tmp_path, self_test=stored)), threads=1)
    with pytest.raises(EngineError, match=f"holds {number} of the 96 values that residual is"):
        check(engine)


def test_whole_code_values_may_be_off_by_their_rounding() -> None:
    # A network that adds next to nothing is all rounding in uint8.
    manifest = replace(
        ReferenceEngine(2).manifest,
        precision="int8",
        outputs=(TensorSpec(name="residual", shape=(1, 24, "h", "w"), dtype="uint8"),),
        self_test={"residual": (0.2,) * SAMPLES},
    )

    class Rounded(Idle):
        def run(self, inputs: Tensors, outputs: Tensors) -> None:
            outputs["residual"][...] = 128

    check(Rounded(manifest))


def half_steps_of(values: NDArray[np.float32]) -> float:
    """Root mean square of what they lose in half precision."""
    lost = values - values.astype(np.float16).astype(np.float32)
    return float(np.sqrt(np.mean(np.square(lost, dtype=np.float64))))


def test_what_a_picture_loses_in_half_precision_is_what_is_allowed_for() -> None:
    even = np.random.default_rng(1).random(1 << 20).astype(np.float32)
    assert 219 * half_steps_of(even) == pytest.approx(HALF_ROUNDING, rel=0.01)
    packed = drawn_inputs(ReferenceEngine(1).manifest, SIZES)["packed"]
    assert 219 * half_steps_of(packed[:, :4]) == pytest.approx(HALF_ROUNDING, rel=0.05)
    assert 224 * half_steps_of(packed[:, 4:]) < HALF_ROUNDING


@pytest.mark.parametrize("path", sorted(MODELS.glob("sr-*-fp16.json")), ids=lambda path: path.stem)
def test_no_network_answers_that_by_more(path: Path) -> None:
    manifest = read_manifest(path.with_stem(path.stem.removesuffix("-fp16")))
    engine, drawn = OrtCpuEngine(manifest, threads=1), drawn_inputs(manifest, SIZES)
    exact, seen = storage(manifest, SIZES), storage(manifest, SIZES)
    engine.run(drawn, exact)
    engine.run({"packed": drawn["packed"].astype(np.float16).astype(np.float32)}, seen)
    assert root_mean_square(seen["residual"] - exact["residual"]) < HALF_ROUNDING


def one_weight_of_the_third_layer(weights: dict[str, NDArray[Any]]) -> None:
    third = list(weights)[2]
    weights[third].flat[np.abs(weights[third]).argmax()] *= -1


def one_weight_of_the_fifth_layer(weights: dict[str, NDArray[Any]]) -> None:
    fifth = list(weights)[4]
    weights[fifth].flat[np.abs(weights[fifth]).argmax()] *= -1


def two_phases_of_luma(weights: dict[str, NDArray[Any]]) -> None:
    first = next(iter(weights))
    weights[first] = weights[first][:, [1, 0, 2, 3, 4, 5]]


def u_and_v(weights: dict[str, NDArray[Any]]) -> None:
    first = next(iter(weights))
    weights[first] = weights[first][:, [0, 1, 2, 3, 5, 4]]


def two_channels_that_come_out(weights: dict[str, NDArray[Any]]) -> None:
    last = list(weights)[-1]
    weights[last][[0, 1]] = weights[last][[1, 0]]


@pytest.mark.parametrize(
    "spoil",
    [
        one_weight_of_the_third_layer,
        one_weight_of_the_fifth_layer,
        two_phases_of_luma,
        u_and_v,
        two_channels_that_come_out,
    ],
)
@pytest.mark.parametrize("name", ["sr-lite-x1-live-fp16", "sr-nano-x2-live-fp16"])
def test_a_half_precision_network_with_one_thing_wrong_is_refused(
    name: str, spoil: Callable[[dict[str, NDArray[Any]]], None], tmp_path: Path
) -> None:
    manifest = read_manifest(MODELS / f"{name}.json")
    check(OrtCpuEngine(manifest, threads=1))
    model = onnx.load(MODELS / manifest.file)
    # In the order of the layers.
    found = {one.name: one for one in model.graph.initializer if len(one.dims) == 4}
    order = [node.input[1] for node in model.graph.node if node.op_type == "Conv"]
    weights = {layer: numpy_helper.to_array(found[layer]).copy() for layer in order}
    spoil(weights)
    for layer, values in weights.items():
        found[layer].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), layer))
    blob = model.SerializeToString()
    (tmp_path / manifest.file).write_bytes(blob)
    wrong = replace(manifest, folder=tmp_path, sha256=hashlib.sha256(blob).hexdigest())
    with pytest.raises(EngineError, match=r"^fp16 on ort-cpu is wrong on this processor: residual"):
        check(OrtCpuEngine(wrong, threads=1))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_only_half_precision_is_given_what_it_loses(precision: str, tmp_path: Path) -> None:
    manifest = replace(tiny(tmp_path), precision=precision)
    share = TOLERANCES[precision]
    assert (allowed_error(1.0, manifest, is_rounded=False) > share) == (precision == "fp16")
    # What has no residual in code values has no such steps either.
    other = replace(manifest, task="prediction")
    assert allowed_error(1.0, other, is_rounded=False) == share


def test_samples_lie_all_over_an_output() -> None:
    array = np.arange(24 * 48 * 64, dtype=np.float32).reshape(1, 24, 48, 64)
    values = sampled({"residual": array})["residual"]
    assert len(set(values)) == SAMPLES
    channels, rows, _ = np.unravel_index(np.array(values, int), array.shape[1:])
    assert len(set(channels)) == 24
    assert len(set(rows)) > 24


@pytest.mark.parametrize("manifest", [ReferenceEngine(2).manifest, MOTION])
def test_drawn_inputs_are_always_the_same_and_in_the_range_of_real_ones(
    manifest: ModelManifest,
) -> None:
    drawn, again = drawn_inputs(manifest, SIZES), drawn_inputs(manifest, SIZES)
    for spec in manifest.inputs:
        assert drawn[spec.name].shape == spec.sized(SIZES)
        assert drawn[spec.name].dtype == np.float32
        assert np.array_equal(drawn[spec.name], again[spec.name])
    pictures = drawn["pictures"] if "pictures" in drawn else drawn["packed"][:, :4]
    assert 0 <= pictures.min() < pictures.max() <= 1
    assert pictures.std() > 0.1
    if "motion" in drawn:
        assert np.abs(drawn["motion"]).max() < 5


def test_what_denoising_is_drawn_follows_a_picture_that_moved_a_little() -> None:
    manifest = read_manifest(MODELS / "denoise-lite.json")
    followed = drawn_inputs(manifest, SIZES)["followed"]
    assert followed.shape == (1, 12, 48, 64)
    assert np.array_equal(followed, drawn_inputs(manifest, SIZES)["followed"])
    packed = drawn_inputs(ReferenceEngine(1).manifest, SIZES)["packed"]
    assert np.array_equal(followed[:, :6], packed)
    # In luma, at edges more than on slopes.
    assert 2 < 219 * root_mean_square(followed[:, 6:10]) < 50
    assert not np.array_equal(followed[:, 6:], packed)


def test_a_model_with_unknown_inputs_is_refused() -> None:
    manifest = replace(MOTION, inputs=(TensorSpec(name="depth", shape=(1, 1, "h", "w")),))
    with pytest.raises(EngineError, match="takes 'depth', known are packed, followed, pictures, "):
        drawn_inputs(manifest, SIZES)


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.json")), ids=lambda path: path.stem)
def test_every_shipped_model_can_be_tested(path: Path) -> None:
    manifest = read_manifest(path)
    assert set(manifest.self_test) == {spec.name for spec in manifest.outputs}
    # Int8 of ONNX Runtime saturates on processors without VNNI; ours is right on all of them.
    is_ours = manifest.precision == "int8" and manifest.task in TASKS
    check((NativeEngine if is_ours else OrtCpuEngine)(manifest, threads=1))
