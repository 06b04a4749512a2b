"""A model made for one picture, taken for several at once: its first dimension set free.

Shipped networks hold nothing but convolutions and what is done to each value alone, so that samples
of a batch never meet; the weights stay as they are, byte by byte. Only what the graph says of its
first dimension is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from dataclasses import fields as fields_of

from streamer.errors import EngineError
from streamer.infer.engine import Engine, Tensors
from streamer.infer.protobuf import fields, prefixed
from streamer.model import ModelManifest, TensorSpec

BATCH = "n"
"""The letter of the free dimension in shapes."""

GRAPH, INPUT, OUTPUT, VALUE_INFO = 7, 11, 12, 13
"""Fields of a ``ModelProto``, and of its ``GraphProto``, in ``onnx.proto``."""

TO_FIRST_DIMENSION = (2, 1, 2, 1)
"""From a ``ValueInfoProto``: type, tensor_type, shape, dim."""

DIM_VALUE, DIM_PARAM = 1, 2
"""Of a ``Dimension``: its size where it is fixed, its name where it is free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchManifest(ModelManifest):
    """A model's manifest with a free first dimension ``n``; its file is the very same."""

    def verified_bytes(self) -> bytes:
        """The model as its manifest says, with the first dimension free."""
        # Without arguments, super() does not know a dataclass with slots.
        return with_free_batch(ModelManifest.verified_bytes(self), file=self.file)


def batched(manifest: ModelManifest) -> BatchManifest:
    """The manifest for several pictures in one run."""
    values = {field.name: getattr(manifest, field.name) for field in fields_of(manifest)}
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
            prefixed(GRAPH, _free_graph(field.part)) if field.number == GRAPH else field.whole
            for field in fields(memoryview(blob))
        )
    except ValueError as error:
        raise EngineError(
            f"{file} cannot be run for several pictures at once ({error}); export it anew with a "
            "first dimension of 1, or name a --backend that runs one at a time"
        ) from error


def _first(specs: Sequence[TensorSpec], side: int | str) -> tuple[TensorSpec, ...]:
    return tuple(replace(spec, shape=(side, *spec.shape[1:])) for spec in specs)


def _free_graph(graph: memoryview) -> bytes:
    return b"".join(
        prefixed(field.number, _free(field.part, TO_FIRST_DIMENSION))
        if field.number in (INPUT, OUTPUT)
        else field.whole
        for field in fields(graph)
        if field.number != VALUE_INFO
    )


def _free(message: memoryview, path: Sequence[int]) -> bytes:
    """The message with the first field at the end of ``path`` as a free dimension."""
    if not path:
        if [field[:2] for field in fields(message)] != [(DIM_VALUE, 1)]:
            raise ValueError("a first dimension that is not 1")
        return prefixed(DIM_PARAM, BATCH.encode())
    parts: list[bytes | memoryview] = []
    is_found = False
    for field in fields(message):
        is_it = field.number == path[0] and not is_found
        is_found = is_found or is_it
        parts.append(prefixed(field.number, _free(field.part, path[1:])) if is_it else field.whole)
    if not is_found:
        raise ValueError("an input or output without a shape")
    return b"".join(parts)
