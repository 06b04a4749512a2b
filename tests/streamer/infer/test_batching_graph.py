from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from streamer.errors import EngineError
from streamer.infer.batching_graph import BatchManifest, batched, single, with_free_batch
from streamer.infer.ort import OrtCpuEngine
from streamer.infer.sizes import sizes_of
from streamer.model import MODELS, ModelManifest, read_manifest
from tests.streamer.models import tiny, write_model

SHIPPED = [read_manifest(path) for path in sorted(MODELS.glob("*.json"))]


def sides(values: Any) -> list[list[int | str]]:
    return [
        [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in values
    ]


@pytest.mark.parametrize("manifest", SHIPPED, ids=lambda manifest: manifest.name)
def test_a_shipped_network_differs_in_its_first_dimension_alone(manifest: ModelManifest) -> None:
    before = onnx.load_from_string(manifest.verified_bytes())
    after = onnx.load_from_string(batched(manifest).verified_bytes())
    onnx.checker.check_model(after, full_check=True)
    for ours, theirs in (
        (after.graph.input, before.graph.input),
        (after.graph.output, before.graph.output),
    ):
        assert sides(ours) == [["n", *shape[1:]] for shape in sides(theirs)]
        assert [shape[0] for shape in sides(theirs)] == [1] * len(theirs)
        for value in (*ours, *theirs):
            value.type.tensor_type.shape.Clear()
    # What is said of shapes in between would contradict it.
    del before.graph.value_info[:]
    assert after == before


@pytest.mark.parametrize("precision", ["", "-int8", "-fp16"])
def test_a_batch_gives_what_its_pictures_give_one_by_one(precision: str) -> None:
    manifest = read_manifest(MODELS / f"sr-nano-x2-live{precision}.json")
    several, alone = OrtCpuEngine(batched(manifest), threads=1), OrtCpuEngine(manifest, threads=1)
    given, taken = manifest.inputs[0].dtype, manifest.residual_dtype
    pictures = np.random.default_rng(3).random((5, 6, 18, 32)).astype(given)
    seen = np.zeros((5, 24, 18, 32), taken)
    several.run({"packed": pictures}, {"residual": seen})
    for number in range(5):
        expected = np.zeros((1, 24, 18, 32), taken)
        alone.run({"packed": pictures[number : number + 1]}, {"residual": expected})
        assert np.array_equal(seen[number : number + 1], expected)


def test_a_batched_manifest_has_one_letter_more_and_can_be_undone(tmp_path: Path) -> None:
    manifest = tiny(tmp_path)
    several = batched(manifest)
    assert isinstance(several, BatchManifest)
    pictures = {"packed": np.zeros((3, 6, 18, 32), np.float32)}
    assert sizes_of(several, pictures) == {"n": 3, "h": 18, "w": 32}
    assert (single(several).inputs, single(several).outputs) == (manifest.inputs, manifest.outputs)
    with pytest.raises(EngineError, match=r"tiny-x2 takes packed of \(1, 6, h, w\)"):
        sizes_of(single(several), pictures)


def test_a_damaged_file_is_still_refused(tmp_path: Path) -> None:
    several = batched(tiny(tmp_path))
    several.path.write_bytes(several.path.read_bytes() + b"\0")
    with pytest.raises(EngineError, match="its manifest says"):
        several.verified_bytes()


def _of(side: int | str, *, has_shape: bool = True) -> bytes:
    shape = [side, 6, 8, 8] if has_shape else None
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value], [out])
    return bytes(helper.make_model(graph).SerializeToString())


@pytest.mark.parametrize(
    ("blob", "said"),
    [
        (lambda: _of(2), "a first dimension that is not 1"),
        (lambda: _of("n"), "a first dimension that is not 1"),
        (lambda: _of(1, has_shape=False), "an input or output without a shape"),
        (lambda: _of(1)[:-3], "a number does not end"),
        (lambda: _of(1)[:-20], "it ends too early"),
        (lambda: b"\x3c" + _of(1), "a field of type 4"),
        (lambda: b"\xff" * 9, "cannot be run for several"),
    ],
)
def test_what_is_no_model_for_one_picture_is_refused(blob: Callable[[], bytes], said: str) -> None:
    with pytest.raises(EngineError, match=r"a\.onnx cannot be run for several pictures") as refusal:
        with_free_batch(blob(), file="a.onnx")
    assert said in str(refusal.value)


def test_any_engine_takes_the_batched_model(tmp_path: Path) -> None:
    manifest = read_manifest(write_model(tmp_path))
    engine = OrtCpuEngine(batched(manifest), threads=1)
    for number in (1, 4):
        pictures = np.random.default_rng(number).random((number, 6, 6, 8)).astype(np.float32)
        residual = np.zeros((number, 24, 6, 8), np.float32)
        engine.run({"packed": pictures}, {"residual": residual})
        assert residual.any(axis=(1, 2, 3)).all()
