"""Pictures of several streams on one device as one run of one engine; nothing goes to the host.

See Note [A batch] in ``infer/batching_core.py``. A stream packs its picture into memory of its own, on
its own CUDA stream; the engine's thread queues copies into the places of the batch, the run, and
copies of the results, on that of the engine. Events stand between the two, so a stream's thread waits
until its batch is queued, never until it is done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from kernels.errors import KernelError
from kernels.stream import Event
from streamer.clock import Clock
from streamer.errors import EngineError
from streamer.gpu.door import Gpu
from streamer.gpu.memory import Lease
from streamer.infer.batching_core import Batching, is_ready
from streamer.infer.batching_graph import BATCH, BatchManifest, single
from streamer.infer.batching_group import Batch
from streamer.infer.batching_pool import Share
from streamer.infer.batching_trial import (
    RUNS,
    STORED,
    most_places,
    storage_for,
    tried,
)
from streamer.infer.device import DeviceTensor, ResidentEngine, ResidentRun, ours
from streamer.infer.engine import Deadline, Engine, ended
from streamer.infer.sizes import Sizes, in_order
from streamer.model import TensorSpec


class BothWays(Engine, ResidentEngine, Protocol):
    """An engine for pictures on the device that also takes arrays, as those of its self-test."""


@dataclass(frozen=True, slots=True)
class _Lent:
    """Memory of one stream for a picture and its result, by the names of the model."""

    inputs: Mapping[str, Lease]
    outputs: Mapping[str, Lease]


class _OverMemory:
    """Copies within the device what a batch is made of; all of it on the engine's own door."""

    def __init__(self, engine: BothWays, model: BatchManifest, gpu: Gpu, clock: Clock) -> None:
        self.manifest = single(model)
        self._engine = engine
        self._model = model
        self._gpu = gpu
        self._clock = clock
        with ours():
            self._over = Event(gpu.device)

    @property
    def backend(self) -> str:
        return self._engine.backend

    def most_places(self, sizes: Sizes) -> int:
        return most_places(self._model, sizes)

    def is_ready(self, sizes: Sizes, places: int) -> bool:
        return is_ready(self._engine, sizes, places)

    def tried(self, sizes: Sizes, places: int) -> tuple[Sequence[Batch], Sequence[int]]:
        self._gpu.enter()
        # By way of the host: the same run, on pictures that are known here.
        tried(self._engine, storage_for(self._model, sizes, places), sizes, self._clock)
        run = self._run_of(sizes, places)
        costs_ns = []
        for _ in range(RUNS):
            began_ns = self._clock.now_ns()
            with ours():
                run.queue()
                self._gpu.compute.wait()
            costs_ns.append(self._clock.now_ns() - began_ns)
        return [Batch({}, {}, places) for _ in range(STORED)], costs_ns[1:]

    def put(self, picture: _Lent, batch: Batch, place: int) -> None:
        batch.pictures[place] = picture

    def begin(self, batch: Batch, sizes: Sizes, places: int) -> None:
        gpu, pictures = self._gpu, batch.pictures
        gpu.enter()
        run = self._run_of(sizes, places)
        with ours():
            for place, picture in pictures.items():
                for name, lease in picture.inputs.items():
                    with lease.reading(gpu.compute) as source:
                        gpu.compute.copy(_at(run.inputs[name], place), source, lease.size_bytes)
            run.queue()
            for place, picture in pictures.items():
                for name, lease in picture.outputs.items():
                    with lease.writing(gpu.compute) as target:
                        gpu.compute.copy(target, _at(run.outputs[name], place), lease.size_bytes)
            gpu.compute.record(self._over)

    def end(self) -> None:
        with ours():
            self._over.wait()

    def take(self, picture: _Lent, batch: Batch, place: int) -> None:
        """It lies where the stream wants it; see ``_Shared.queue``."""

    def close(self) -> None:
        with suppress(EngineError):
            self._gpu.enter()
        self._engine.close()
        # A device that was lost has no event any more.
        with suppress(KernelError):
            self._over.close()
        self._gpu.close()

    def _run_of(self, sizes: Sizes, places: int) -> ResidentRun:
        return self._engine.resident({**dict(sizes), BATCH: places})


class DeviceBatching(Batching[_Lent]):
    """An engine on a device for many streams; each holds a ``DeviceLease``."""

    def __init__(
        self,
        engine: BothWays,
        model: BatchManifest,
        gpu: Gpu,
        clock: Clock,
        *,
        window_ns: int | None = None,
    ) -> None:
        """``engine`` runs ``model``, whose first dimension is free, on ``gpu.compute``; both are for
        this alone, and closed with it."""
        super().__init__(_OverMemory(engine, model, gpu, clock), clock, window_ns=window_ns)


class DeviceLease:
    """One stream's share of an engine, for pictures that are on the device.

    Belongs to the thread of the stage whose ``gpu`` it is. A run is queued by the engine's thread: at
    the latest when the stream's ``deadline`` allows no more waiting for others.
    """

    def __init__(self, share: Share[DeviceBatching], gpu: Gpu, deadline: Deadline) -> None:
        self.manifest = share.engine.manifest
        self._share = share
        self._gpu = gpu
        self._deadline = deadline
        self._run: _Shared | None = None
        self._is_closed = False

    @property
    def backend(self) -> str:
        return self._share.engine.backend

    def resident(self, sizes: Mapping[str, int]) -> ResidentRun:
        """Memory of this stream's own for a size, the last one asked for. Raises ``EngineError``."""
        if self._is_closed:
            raise EngineError(ended(self.manifest))
        wanted = in_order(sizes)
        if self._run is None or self._run.sizes != wanted:
            self._leave()
            self._run = _Shared(self._share.engine, self._gpu, self._deadline, wanted)
        return self._run

    def close(self) -> None:
        """Others need not wait for this stream any more."""
        if not self._is_closed:
            self._is_closed = True
            self._leave()
            self._share.release()

    def _leave(self) -> None:
        if self._run is not None:
            self._run.close()
            self._run = None


class _Shared:
    """One stream's memory for one size, and its way into batches."""

    def __init__(self, engine: DeviceBatching, gpu: Gpu, deadline: Deadline, sizes: Sizes) -> None:
        self.sizes = sizes
        self._engine = engine
        self._gpu = gpu
        self._deadline = deadline
        manifest = engine.manifest
        with ours():
            self._lent = _Lent(
                {spec.name: self._leased(spec) for spec in manifest.inputs},
                {spec.name: self._leased(spec) for spec in manifest.outputs},
            )
        self.inputs = {s.name: self._tensor(s, self._lent.inputs[s.name]) for s in manifest.inputs}
        self.outputs = {
            s.name: self._tensor(s, self._lent.outputs[s.name]) for s in manifest.outputs
        }
        engine.enter(sizes)

    def queue(self) -> None:
        """Behind what is on ``gpu.compute``, and before what follows there. Raises ``EngineError``."""
        compute = self._gpu.compute
        with ours():
            # Behind the packing of this picture, and so behind all that was done with the last result.
            for lease in self._lent.inputs.values():
                with lease.writing(compute):
                    pass
            self._engine.run(self.sizes, self._lent, self._deadline.ns)
            for lease in self._lent.outputs.values():
                compute.wait_for(lease.ready)

    def close(self) -> None:
        """Lets go of its memory, which the latest result may still be read from."""
        self._engine.leave(self.sizes)
        # A device that was lost reads nothing.
        with suppress(KernelError):
            for lease in self._lent.outputs.values():
                with lease.reading(self._gpu.compute):
                    pass

    def _leased(self, spec: TensorSpec) -> Lease:
        size = int(np.prod(spec.sized(dict(self.sizes)))) * np.dtype(spec.dtype).itemsize
        return self._gpu.memory.lease(size, self._gpu.compute)

    def _tensor(self, spec: TensorSpec, lease: Lease) -> DeviceTensor:
        return DeviceTensor(lease.address, spec.sized(dict(self.sizes)), spec.dtype)


def _at(whole: DeviceTensor, place: int) -> int:
    """The address of one picture's part."""
    picture = int(np.prod(whole.shape[1:])) * np.dtype(whole.dtype).itemsize
    return whole.address + place * picture
