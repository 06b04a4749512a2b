"""The nodes and constants of an ONNX file, for those who run a graph themselves.

Format: onnx.proto of ONNX 1.x, whose field numbers stand below.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamer.errors import EngineError
from streamer.infer.protobuf import fields, varint

Constant = NDArray[np.generic]

_DTYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64, 10: np.float16}
"""By ``TensorProto.DataType``."""

_GRAPH, _NODES, _CONSTANTS = 7, 1, 5
_INPUTS, _OUTPUTS, _OPERATOR, _ATTRIBUTES = 1, 2, 4, 5
_NAME, _WHOLE, _TEXT, _WHOLES, _KIND = 1, 3, 4, 8, 20
_DIMS, _TYPE, _FLOATS, _INT32S, _INT64S, _TENSOR_NAME, _RAW = 1, 2, 4, 5, 7, 8, 9

_IS_WHOLE, _IS_TEXT, _IS_WHOLES = 2, 3, 7
"""``AttributeProto.AttributeType``."""


@dataclass(frozen=True, slots=True)
class Node:
    """One operation."""

    operator: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    attributes: Mapping[str, int | bytes | tuple[int, ...]]
    """Whole numbers, texts and rows of whole numbers; others are left out."""


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes as the file orders them, and constants (its initializers) by name."""

    nodes: Sequence[Node]
    constants: Mapping[str, Constant]


def read_graph(blob: bytes, name: str) -> Graph:
    """The graph of an ONNX file; raises ``EngineError`` naming the file where it is none.

    Whatever ``blob`` holds, it takes time and memory in proportion to its length.
    """
    try:
        model = _fields(memoryview(blob))
        graph = _fields(_part(model, _GRAPH))
        constants = [_constant(part) for part in _parts(graph, _CONSTANTS)]
        return Graph([_node(part) for part in _parts(graph, _NODES)], dict(constants))
    except ValueError as error:
        raise EngineError(
            f"{name} is no ONNX file that can be read here ({error}); export the model anew, or use "
            "another --backend"
        ) from error


_Value = int | memoryview
_Fields = Mapping[int, Sequence[_Value]]


def _fields(message: memoryview) -> _Fields:
    """All values of a message by the number of their field."""
    found: dict[int, list[_Value]] = {}
    for field in fields(message):
        found.setdefault(field.number, []).append(field.value)
    return found


def _parts(fields: _Fields, number: int) -> Sequence[memoryview]:
    values = fields.get(number, ())
    parts = [value for value in values if isinstance(value, memoryview)]
    if len(parts) < len(values):
        raise ValueError(f"field {number} is a number")
    return parts


def _part(fields: _Fields, number: int) -> memoryview:
    """The last one: later ones replace earlier ones, as the format wants it."""
    parts = _parts(fields, number)
    if not parts:
        raise ValueError(f"field {number} is missing")
    return parts[-1]


def _text(fields: _Fields, number: int) -> str:
    return bytes(_part(fields, number)).decode()


def _wholes(fields: _Fields, number: int) -> Iterator[int]:
    """One by one or packed, as writers like."""
    for value in fields.get(number, ()):
        if isinstance(value, int):
            yield value
            continue
        at = 0
        while at < len(value):
            whole, at = varint(value, at)
            yield whole


def _whole(fields: _Fields, number: int) -> int:
    """The last one; nothing is written for 0."""
    return ([0, *_wholes(fields, number)])[-1]


def _node(blob: memoryview) -> Node:
    fields = _fields(blob)
    attributes: dict[str, int | bytes | tuple[int, ...]] = {}
    for part in _parts(fields, _ATTRIBUTES):
        told = _fields(part)
        name, kind = _text(told, _NAME), _whole(told, _KIND)
        if kind == _IS_WHOLE:
            attributes[name] = _whole(told, _WHOLE)
        elif kind == _IS_TEXT:
            attributes[name] = bytes(_part(told, _TEXT)) if _TEXT in told else b""
        elif kind == _IS_WHOLES:
            attributes[name] = tuple(_wholes(told, _WHOLES))
    return Node(
        _text(fields, _OPERATOR),
        [bytes(part).decode() for part in _parts(fields, _INPUTS)],
        [bytes(part).decode() for part in _parts(fields, _OUTPUTS)],
        attributes,
    )


def _constant(blob: memoryview) -> tuple[str, Constant]:
    fields = _fields(blob)
    name = _text(fields, _TENSOR_NAME)
    kind, shape = _whole(fields, _TYPE), tuple(_wholes(fields, _DIMS))
    if kind not in _DTYPES:
        raise ValueError(f"{name!r} is of type {kind}, known are {', '.join(map(str, _DTYPES))}")
    values = _values(fields, np.dtype(_DTYPES[kind]))
    # NumPy would find out for itself what a negative side is.
    if min(shape, default=0) < 0:
        raise ValueError(f"{name!r} has sides {shape}")
    return name, values.reshape(shape)


def _values(fields: _Fields, dtype: np.dtype[np.generic]) -> Constant:
    """In a row, from whichever field the writer has put them into."""
    if _RAW in fields:
        return np.frombuffer(_part(fields, _RAW), dtype.newbyteorder("<")).astype(dtype)
    if dtype == np.float32:
        return np.frombuffer(b"".join(_parts(fields, _FLOATS)), "<f4").astype(dtype)
    number = _INT64S if dtype == np.int64 else _INT32S
    wholes = np.array(list(_wholes(fields, number)), np.int64)
    # Those of 16 bits are there as their bits.
    return wholes.astype(np.uint16).view(dtype) if dtype == np.float16 else wholes.astype(dtype)
