"""Our reader of ONNX files beside the ``onnx`` package, and on files that are damaged."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from streamer.errors import EngineError
from streamer.infer.onnx_graph import Graph, read_graph
from streamer.model import MODELS

SHIPPED = sorted(MODELS.glob("*.onnx"))
KEPT = {"INT", "STRING", "INTS"}
ROOT = Path(__file__).parent.parent.parent.parent

DAMAGED = ["sr-nano-x2-live-int8.onnx", "sr-nano-x2-live-fp16.onnx"]
"""The smallest: with constants in all the ways there are, and with attributes."""


def blob_of(*constants: Any, nodes: Any = ()) -> bytes:
    graph = helper.make_graph(list(nodes), "tiny", [], [], list(constants))
    blob: bytes = helper.make_model(graph).SerializeToString()
    return blob


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_files_are_read_as_the_package_reads_them(path: Path) -> None:
    graph, model = read_graph(path.read_bytes(), path.name), onnx.load(path)
    assert len(graph.nodes) == len(model.graph.node)
    for node, same in zip(graph.nodes, model.graph.node, strict=True):
        assert node.operator == same.op_type
        assert list(node.inputs) == list(same.input)
        assert list(node.outputs) == list(same.output)
        values = {
            each.name: helper.get_attribute_value(each)
            for each in same.attribute
            if onnx.AttributeProto.AttributeType.Name(each.type) in KEPT
        }
        kept = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        assert node.attributes == kept
    assert len(graph.constants) == len(model.graph.initializer)
    for initializer in model.graph.initializer:
        expected, seen = numpy_helper.to_array(initializer), graph.constants[initializer.name]
        assert (seen.dtype, seen.shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(seen, expected)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (TensorProto.FLOAT, [0.0, -1.5, float("inf"), 1e-40]),
        (TensorProto.FLOAT16, [0.5, -2.0, 65504.0, 6e-8]),
        (TensorProto.UINT8, [0, 1, 200, 255]),
        (TensorProto.INT8, [0, -128, 127, -1]),
        (TensorProto.INT32, [0, -(2**31), 2**31 - 1, -1]),
        (TensorProto.INT64, [0, -(2**63), 2**63 - 1, -1]),
    ],
)
@pytest.mark.parametrize("shape", [(4,), (2, 2), (4, 1, 1, 1)])
def test_constants_are_the_same_in_fields_of_their_own_and_raw(
    kind: int, values: list[float], shape: tuple[int, ...]
) -> None:
    told = helper.make_tensor("told", kind, shape, values)
    expected = numpy_helper.to_array(told)
    raw = numpy_helper.from_array(expected, "raw")
    assert raw.HasField("raw_data")
    assert not told.HasField("raw_data")
    constants = read_graph(blob_of(told, raw), "it").constants
    for name in ("told", "raw"):
        assert constants[name].dtype == expected.dtype
        np.testing.assert_array_equal(constants[name], expected)


def test_a_single_value_and_none_at_all_keep_their_shapes() -> None:
    shapes: dict[str, tuple[int, ...]] = {"one": (), "none": (0,), "neither": (3, 0, 2)}
    made = [
        numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in shapes.items()
    ]
    constants = read_graph(blob_of(*made), "it").constants
    assert {name: constant.shape for name, constant in constants.items()} == shapes


def test_attributes_of_other_kinds_are_left_out_and_nothing_is_nothing() -> None:
    # Some writers leave out what is 0 or empty.
    empty = [
        onnx.AttributeProto(name=name, type=kind)
        for name, kind in (("whole", "INT"), ("text", "STRING"), ("wholes", "INTS"))
    ]
    node = helper.make_node("Conv", ["a", ""], ["b"], alpha=0.5, far=-1, betas=[0.5], mode="edge")
    node.attribute.extend(empty)
    (read,) = read_graph(blob_of(nodes=[node]), "it").nodes
    assert read.attributes == {"far": -1, "mode": b"edge", "whole": 0, "text": b"", "wholes": ()}
    assert list(read.inputs) == ["a", ""]


def wrong_constant(**changes: Any) -> bytes:
    tensor = numpy_helper.from_array(np.ones((2, 2), np.float32), "weights")
    for name, value in changes.items():
        if isinstance(value, list):
            getattr(tensor, name)[:] = value
        else:
            setattr(tensor, name, value)
    return blob_of(tensor)


WRONG = {
    "nothing": b"",
    "text": b"<html>not found</html>" * 99,
    "no graph": onnx.ModelProto(ir_version=10).SerializeToString(),
    "a number for the graph": b"\x38\x01",
    "no end of a number": b"\x3a" + 9 * b"\xff" + 10 * b"\x81",
    "ones for ever": 2**20 * b"\xff",
    "back to where it began": b"\x3a\xf5" + 8 * b"\xff" + b"\x01",
    "farther than there is": b"\x3a\xff\xff\xff\xff\x7f",
    "a group": b"\x3b\x00\x3c",
    "no name in UTF-8": blob_of(numpy_helper.from_array(np.ones(2, np.float32), "abc")).replace(
        b"abc", b"\xff\xfe\xfd"
    ),
    "a side too long": wrong_constant(dims=[2, 3]),
    "sides beyond all memory": wrong_constant(dims=[2**40, 2**40]),
    "a side below nothing": wrong_constant(dims=[-1, 2]),
    "bytes left over": wrong_constant(raw_data=bytes(15)),
    "no values": wrong_constant(raw_data=b""),
    "another type": wrong_constant(data_type=TensorProto.STRING),
    "values elsewhere": wrong_constant(raw_data=b"", data_location=1),
}


def damaged(blob: bytes, numbers: np.random.Generator) -> Iterator[bytes]:
    """Cut off at every 100th byte, whole and within the graph; with up to 16 bytes changed."""
    model = onnx.load_from_string(blob)
    graph = model.graph.SerializeToString()
    for end in range(0, len(blob), 100):
        yield blob[:end]
        yield onnx.ModelProto(ir_version=10).SerializeToString() + tagged(graph[:end])
    for _ in range(60):
        changed = np.frombuffer(blob, np.uint8).copy()
        places = numbers.integers(0, len(blob), numbers.integers(1, 17))
        changed[places] = numbers.integers(0, 256, len(places))
        yield changed.tobytes()
    # Most of a file are weights, and nodes that are alike: a few by themselves meet more of the reader.
    del model.graph.initializer[4:]
    del model.graph.node[:-5]
    for initializer in model.graph.initializer:
        initializer.CopyFrom(helper.make_tensor(initializer.name, TensorProto.INT8, (2,), (1, 2)))
    short = model.SerializeToString()
    for _ in range(600):
        changed = np.frombuffer(short, np.uint8).copy()
        changed[numbers.integers(0, len(short), 3)] = numbers.integers(0, 256, 3)
        yield changed.tobytes()


def tagged(graph: bytes) -> bytes:
    """A graph as the field of a model."""
    size, told = len(graph), b"\x3a"
    while size > 0x7F:
        told, size = told + bytes([size & 0x7F | 0x80]), size >> 7
    return told + bytes([size]) + graph


def refused(blob: bytes) -> str:
    """What is said of a file; nothing where it can be read. Never takes much memory."""
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    said = ""
    try:
        assert isinstance(read_graph(blob, "it.onnx"), Graph)
    except EngineError as error:
        said = str(error)
        assert said.startswith("it.onnx is no ONNX file that can be read here (")
        assert said.endswith("; export the model anew, or use another --backend")
        assert "\n" not in said
        assert len(said) < 250
    # A number of two bytes, tag included, is an object in a list here.
    assert tracemalloc.get_traced_memory()[1] - before < 100 * len(blob) + 2**16
    return said


def main() -> None:
    """Reads every damaged file; says how many were refused, and how many not."""
    tracemalloc.start()
    assert all(refused(blob) for blob in WRONG.values())
    refusals = [
        bool(refused(blob))
        for name in DAMAGED
        for blob in damaged((MODELS / name).read_bytes(), np.random.default_rng(len(name)))
    ]
    sys.stdout.write(f"{sum(refusals)} {len(refusals) - sum(refusals)}\n")


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_onnx_file_is_refused_in_a_sentence(case: str) -> None:
    assert refused(WRONG[case])


def test_damaged_files_are_refused_or_read_and_neither_takes_for_ever() -> None:
    """In a process of its own, which can be ended where it does."""
    script = "from tests.streamer.infer.test_onnx_graph import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    refusals, graphs = map(int, done.stdout.split())
    assert refusals > 1000
    assert graphs > 100
