"""A model made for one picture, taken for several at once: its first dimension set free.

Shipped networks hold nothing but convolutions and what is done to each value alone, so that samples
of a batch never meet; the weights stay as they are, byte by byte. Only what the graph says of its
first dimension is changed, in ONNX's protobuf (``onnx.proto``, whose field numbers stand below): that
takes no package, where ``onnx`` is for ``export`` alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

from streamer.errors import EngineError
from streamer.infer.engine import Engine, Tensors
from streamer.model import ModelManifest, TensorSpec

BATCH = "n"
"""The letter of the free dimension in shapes."""

GRAPH, INPUT, OUTPUT, VALUE_INFO = 7, 11, 12, 13
"""Of a ``ModelProto``, and of its ``GraphProto``."""

TO_FIRST_DIMENSION = (2, 1, 2, 1)
"""From a ``ValueInfoProto``: type, tensor_type, shape, dim."""

DIM_PARAM = 2
"""Of a ``Dimension``: its name, where it is free."""

VARINT, EIGHT_BYTES, PREFIXED, FOUR_BYTES = 0, 1, 2, 5
"""Protobuf's wire types."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchManifest(ModelManifest):
    """A model's manifest with a free first dimension ``n``; its file is the very same."""

    def verified_bytes(self) -> bytes:
        """The model as its manifest says, with the first dimension free."""
        # Without arguments, super() does not know a dataclass with slots.
        return with_free_batch(ModelManifest.verified_bytes(self), file=self.file)


def batched(manifest: ModelManifest) -> BatchManifest:
    """The manifest for several pictures in one run."""
    values = {field.name: getattr(manifest, field.name) for field in fields(manifest)}
    return replace(
        BatchManifest(**values),
        inputs=_first(manifest.inputs, BATCH),
        outputs=_first(manifest.outputs, BATCH),
    )


def single(manifest: ModelManifest) -> ModelManifest:
    """The manifest of a batched model as a caller with one picture sees it."""
    return replace(manifest, inputs=_first(manifest.inputs, 1), outputs=_first(manifest.outputs, 1))


class OneByOne:
    """The engine of a batched model for a caller with one picture, as self-tests are."""

    def __init__(self, engine: Engine) -> None:
        self.manifest = single(engine.manifest)
        self._engine = engine

    @property
    def backend(self) -> str:
        return self._engine.backend

    def run(self, inputs: Tensors, outputs: Tensors) -> None:
        self._engine.run(inputs, outputs)

    def close(self) -> None:
        self._engine.close()


def with_free_batch(blob: bytes, *, file: str) -> bytes:
    """The ONNX model with a free first dimension of each input and output.

    What the file says of the shapes in between is left out, as runtimes find it themselves. Raises
    ``EngineError`` where the blob is not a model whose inputs and outputs begin with 1.
    """
    try:
        return b"".join(
            _field(number, _free_graph(payload)) if number == GRAPH else whole
            for number, payload, whole in _fields(blob)
        )
    except ValueError as error:
        raise EngineError(
            f"{file} cannot be run for several pictures at once ({error}); export it anew with a "
            "first dimension of 1, or name a --backend that runs one at a time"
        ) from error


def _first(specs: Sequence[TensorSpec], side: int | str) -> tuple[TensorSpec, ...]:
    return tuple(replace(spec, shape=(side, *spec.shape[1:])) for spec in specs)


def _free_graph(graph: bytes) -> bytes:
    return b"".join(
        _field(number, _free(payload, TO_FIRST_DIMENSION)) if number in (INPUT, OUTPUT) else whole
        for number, payload, whole in _fields(graph)
        if number != VALUE_INFO
    )


def _free(message: bytes, path: Sequence[int]) -> bytes:
    """The message with the first field at the end of ``path`` as a free dimension."""
    if not path:
        seen = [(number, payload) for number, payload, _ in _fields(message)]
        if seen != [(1, b"\x01")]:
            raise ValueError("a first dimension that is not 1")
        return _field(DIM_PARAM, BATCH.encode())
    parts, is_found = [], False
    for number, payload, whole in _fields(message):
        is_it = number == path[0] and not is_found
        is_found = is_found or is_it
        parts.append(_field(number, _free(payload, path[1:])) if is_it else whole)
    if not is_found:
        raise ValueError("an input or output without a shape")
    return b"".join(parts)


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Number, payload and the whole of each field, in order."""
    at = 0
    while at < len(message):
        key, begins = _varint(message, at)
        wire = key & 7
        if wire == PREFIXED:
            length, begins = _varint(message, begins)
            ends = begins + length
        elif wire == VARINT:
            _, ends = _varint(message, begins)
        elif wire in (EIGHT_BYTES, FOUR_BYTES):
            ends = begins + (8 if wire == EIGHT_BYTES else 4)
        else:
            raise ValueError(f"no ONNX model: a field of type {wire}")
        if ends > len(message):
            raise ValueError("no ONNX model: it ends too early")
        yield key >> 3, message[begins:ends], message[at:ends]
        at = ends


def _field(number: int, payload: bytes) -> bytes:
    return _coded(number << 3 | PREFIXED) + _coded(len(payload)) + payload


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """The number there, and where it ends."""
    value = shift = 0
    while True:
        if at == len(message):
            raise ValueError("no ONNX model: it ends too early")
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _coded(value: int) -> bytes:
    coded = bytearray()
    while value > 0x7F:
        coded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*coded, value])
