"""Whether an engine runs so many pictures at once and gives what it gives one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.clock import Clock
from streamer.errors import EngineError
from streamer.infer.agreement import disagreement
from streamer.infer.batching_graph import BATCH, BatchManifest, single
from streamer.infer.batching_group import BATCHES, Batch
from streamer.infer.copying import copy
from streamer.infer.engine import Engine, Tensors
from streamer.infer.self_test import drawn_inputs
from streamer.infer.sizes import Sizes

STORED = 4
"""Batches of a size of picture that exist at once: one fills, one waits, one runs, one is read."""

MOST_BYTES = 256 << 20
"""Of storage for a size of picture: eight of 640x360 at once, two of 1920x1080. Larger ones keep a
GPU busy one by one."""

RUNS = 2
"""Of a batch size: one that plans memory, and one that is timed."""


def most_places(model: BatchManifest, sizes: Sizes) -> int:
    """The largest batch size whose storage is not too large; 1 at least."""
    of_one = {**dict(sizes), BATCH: 1}
    picture = sum(
        int(np.prod(spec.sized(of_one))) * np.dtype(spec.dtype).itemsize
        for spec in (*model.inputs, *model.outputs)
    )
    return max(size for size in BATCHES if size == 1 or STORED * size * picture <= MOST_BYTES)


def storage_for(model: BatchManifest, sizes: Sizes, places: int) -> Batch:
    """A batch of so many places in the model's own types, so that streams convert by themselves."""
    batched_sizes = {**dict(sizes), BATCH: places}
    inputs, outputs = (
        {spec.name: np.zeros(spec.sized(batched_sizes), spec.dtype) for spec in specs}
        for specs in (model.inputs, model.outputs)
    )
    return Batch(inputs, outputs, places)


def tried(engine: Engine, batch: Batch, sizes: Sizes, clock: Clock) -> list[int]:
    """What runs of a whole batch take, in ns, the very first one left out.

    Raises ``EngineError`` where the engine fails, or where a picture comes out otherwise than by
    itself; every place has a picture of its own, so that mixed up places are seen.
    """
    manifest = single(engine.manifest)
    drawn = drawn_inputs(manifest, dict(sizes))
    pictures = [_shifted(drawn, place) for place in range(batch.places)]
    expected = [_alone(engine, batch, picture) for picture in pictures if batch.places > 1]
    for place, picture in enumerate(pictures):
        put(picture, batch, place)
    costs_ns = []
    for _ in range(RUNS):
        began_ns = clock.now_ns()
        engine.run(batch.inputs, batch.outputs)
        costs_ns.append(clock.now_ns() - began_ns)
    for place, alone in enumerate(expected):
        fault = disagreement(manifest, placed(batch, place), manifest, alone)
        if fault:
            raise EngineError(fault)
    return costs_ns[1:]


def put(picture: Tensors, batch: Batch, place: int) -> None:
    """Copies one picture into its place."""
    for name, array in batch.inputs.items():
        copy(picture[name], array[place : place + 1])


def placed(batch: Batch, place: int) -> Tensors:
    """What came out for one place, as it lies in the batch."""
    return {name: array[place : place + 1] for name, array in batch.outputs.items()}


def _alone(engine: Engine, batch: Batch, picture: Tensors) -> dict[str, NDArray[Any]]:
    put(picture, batch, 0)
    engine.run(*batch.first(1))
    return {name: array.copy() for name, array in placed(batch, 0).items()}


def _shifted(drawn: Tensors, columns: int) -> Tensors:
    return {name: np.roll(array, columns, axis=-1) for name, array in drawn.items()}
