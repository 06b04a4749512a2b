"""Arrays of several streams as one run of one engine. See Note [A batch] in ``batching_core.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streamer.clock import Clock
from streamer.errors import EngineError
from streamer.infer.batching_core import Batching, is_ready
from streamer.infer.batching_graph import batched, single
from streamer.infer.batching_group import Batch
from streamer.infer.batching_trial import STORED, most_places, placed, put, storage_for, tried
from streamer.infer.copying import copy
from streamer.infer.engine import Deadline, Engine, Tensors, ended
from streamer.infer.sizes import Sizes, check_outputs, in_order, sizes_of
from streamer.model import ModelManifest

Arrays = tuple[Tensors, Tensors]
"""Inputs, and outputs to be filled."""


class _OverArrays:
    """Copies each picture into its place in storage of the batch, and its result out of it."""

    def __init__(
        self, open_one: Callable[[ModelManifest], Engine], manifest: ModelManifest, clock: Clock
    ) -> None:
        self._model = batched(manifest)
        self._engine = open_one(self._model)
        self.manifest = single(self._engine.manifest)
        self._clock = clock

    @property
    def backend(self) -> str:
        return self._engine.backend

    def most_places(self, sizes: Sizes) -> int:
        return most_places(self._model, sizes)

    def is_ready(self, sizes: Sizes, places: int) -> bool:
        return is_ready(self._engine, sizes, places)

    def tried(self, sizes: Sizes, places: int) -> tuple[Sequence[Batch], Sequence[int]]:
        batches = [storage_for(self._model, sizes, places) for _ in range(STORED)]
        return batches, tried(self._engine, batches[0], sizes, self._clock)

    def put(self, picture: Arrays, batch: Batch, place: int) -> None:
        put(picture[0], batch, place)

    def begin(self, batch: Batch, sizes: Sizes, places: int) -> None:
        self._engine.run(*batch.first(places))

    def end(self) -> None:
        """Nothing is left: ``begin`` waits."""

    def take(self, picture: Arrays, batch: Batch, place: int) -> None:
        for name, array in placed(batch, place).items():
            copy(array, picture[1][name])

    def close(self) -> None:
        self._engine.close()


class BatchingEngine(Batching[Arrays]):
    """Runs an engine for many streams; each holds a ``Lease``, which is an engine like any other."""

    def __init__(
        self,
        open_one: Callable[[ModelManifest], Engine],
        manifest: ModelManifest,
        clock: Clock,
        *,
        window_ns: int | None = None,
    ) -> None:
        """Opens the engine of a model for several pictures at once. Raises ``EngineError``."""
        super().__init__(_OverArrays(open_one, manifest, clock), clock, window_ns=window_ns)

    def lease(self, deadline: Deadline, *, closed: Callable[[], None] | None = None) -> Lease:
        """For one stream, whose ``deadline`` is read at each run; ``closed`` is called at its end."""
        return Lease(self, deadline, closed)


class Lease:
    """One stream's share of a ``BatchingEngine``; an engine that belongs to one thread."""

    def __init__(
        self, engine: BatchingEngine, deadline: Deadline, closed: Callable[[], None] | None
    ) -> None:
        self.manifest: ModelManifest = engine.manifest
        self._engine = engine
        self._deadline = deadline
        self._closed = closed
        self._sizes: Sizes | None = None
        self._is_closed = False

    @property
    def backend(self) -> str:
        return self._engine.backend

    def run(self, inputs: Tensors, outputs: Tensors) -> None:
        """Fill ``outputs``, perhaps together with other streams' pictures.

        Raises ``EngineError``: for this stream alone where its arrays do not fit, and the same
        sentence for all of a batch where the engine failed.
        """
        sizes = in_order(sizes_of(self.manifest, inputs))
        check_outputs(self.manifest, outputs, dict(sizes))
        if self._is_closed:
            raise EngineError(ended(self.manifest))
        if sizes != self._sizes:
            self._leave()
            self._engine.enter(sizes)
            self._sizes = sizes
        self._engine.run(sizes, (inputs, outputs), self._deadline.ns)

    def close(self) -> None:
        """Others need not wait for this stream any more."""
        if self._is_closed:
            return
        self._is_closed = True
        self._leave()
        if self._closed is not None:
            self._closed()

    def _leave(self) -> None:
        if self._sizes is not None:
            self._engine.leave(self._sizes)
            self._sizes = None
