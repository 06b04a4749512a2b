"""TensorRT's plan made runnable: a context, storage on both sides, and a graph of the whole run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.errors import EngineError
from streamer.infer.copying import copy
from streamer.infer.device import DeviceTensor, Stream
from streamer.infer.engine import Tensors
from streamer.infer.tensorrt_api import failure, log_of
from streamer.model import ModelManifest, TensorSpec

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Slot:
    """One input or output: its device memory, and page-locked memory of the same type and shape."""

    name: str
    address: int
    memory: NDArray[np.uint8]
    array: NDArray[Any]

    @property
    def tensor(self) -> DeviceTensor:
        return DeviceTensor(self.address, self.array.shape, str(self.array.dtype))


class Plan:
    """An engine of TensorRT for one size. Everything it uses is allocated here, nothing later.

    A run is: convert into page-locked memory, queue copy, kernels and copy back as one CUDA graph,
    wait, convert back. Belongs to one thread at a time.
    """

    def __init__(
        self,
        api: Any,
        blob: bytes,
        manifest: ModelManifest,
        sizes: Mapping[str, int],
        stream: Stream,
    ) -> None:
        """Raises ``EngineError`` where the blob is not a plan for this device, model and size."""
        self.size_bytes = len(blob)
        self._api = api
        self._file = manifest.file
        self._stream = stream
        self._log = log_of(api)
        self._log.take()
        self._graph = 0
        """Of a whole run; 0 where that cannot be one, and its parts are queued one by one."""
        self._resident: int | None = None
        """The graph of a run without copies, 0 where that cannot be one; made when it is asked for."""
        self._inputs: list[Slot] = []
        self._outputs: list[Slot] = []
        try:
            # It has to outlive its engine.
            self._runtime = api.Runtime(self._log)
        except TypeError as error:  # what pybind11 makes of a null pointer
            raise failure(api, "use this device", self._log.take()) from error
        self._engine = self._needed(
            "open its engine of", self._runtime.deserialize_cuda_engine(blob)
        )
        self._context = self._needed("run", self._engine.create_execution_context())
        try:
            for spec in manifest.inputs:
                self._inputs.append(self._slot(spec, sizes))
            for spec in manifest.outputs:
                self._outputs.append(self._slot(spec, sizes))
            for slot in (*self._inputs, *self._outputs):
                self._place(slot)
            # The first run plans memory and loads kernels, which no graph may hold.
            self._queue()
            stream.wait()
            self._graph = self._captured(self._queue)
        except EngineError:
            self.close()
            raise

    def run(self, inputs: Tensors, outputs: Tensors) -> None:
        """Fill ``outputs``; any float type on the caller's side. Raises ``EngineError``."""
        for slot in self._inputs:
            copy(inputs[slot.name], slot.array)
        if self._graph:
            self._stream.replay(self._graph)
        else:
            self._queue()
        self._stream.wait()
        for slot in self._outputs:
            copy(slot.array, outputs[slot.name])

    @property
    def inputs(self) -> Mapping[str, DeviceTensor]:
        """Where on the device it reads, for good."""
        return {slot.name: slot.tensor for slot in self._inputs}

    @property
    def outputs(self) -> Mapping[str, DeviceTensor]:
        """Where on the device it writes, for good."""
        return {slot.name: slot.tensor for slot in self._outputs}

    def queue(self) -> None:
        """One run of what is on the device already, behind what is on the stream; nobody waits.

        Raises ``EngineError``.
        """
        if self._resident is None:
            self._resident = self._captured(self._execute)
        if self._resident:
            self._stream.replay(self._resident)
        else:
            self._execute()

    def close(self) -> None:
        """Frees what was allocated; a device that was lost has done so already."""
        with suppress(EngineError):
            self._stream.wait()
            for graph in filter(None, (self._graph, self._resident)):
                self._stream.drop(graph)
            for slot in (*self._inputs, *self._outputs):
                self._stream.free(slot.address)
                self._stream.unlock(slot.memory)
        self._graph, self._resident, self._inputs, self._outputs = 0, None, [], []
        # In this order: each uses the one after it.
        self._context = self._engine = self._runtime = None

    def _slot(self, spec: TensorSpec, sizes: Mapping[str, int]) -> Slot:
        shape, wanted = spec.sized(sizes), np.dtype(spec.dtype)
        seen = tuple(self._engine.get_tensor_shape(spec.name))
        seen_type = np.dtype(self._api.nptype(self._engine.get_tensor_dtype(spec.name)))
        if (seen, seen_type) != (shape, wanted):
            raise EngineError(
                f"the engine of {self._file} has {spec.name} as {seen_type} {seen}, the manifest "
                f"as {wanted} {shape}; run: streamer engines build"
            )
        size_bytes = int(np.prod(shape)) * wanted.itemsize
        memory = self._stream.lock(size_bytes)
        try:
            address = self._stream.allocate(size_bytes)
        except EngineError:
            self._stream.unlock(memory)
            raise
        return Slot(spec.name, address, memory, memory.view(wanted).reshape(shape))

    def _place(self, slot: Slot) -> None:
        if not self._context.set_tensor_address(slot.name, slot.address):
            raise failure(self._api, f"place {slot.name} of {self._file}", self._log.take())

    def _queue(self) -> None:
        for slot in self._inputs:
            self._stream.upload(slot.address, slot.memory)
        self._execute()
        for slot in self._outputs:
            self._stream.download(slot.memory, slot.address)

    def _execute(self) -> None:
        if not self._context.execute_async_v3(self._stream.handle):
            raise failure(self._api, f"run {self._file}", self._log.take())

    def _captured(self, queue: Callable[[], None]) -> int:
        """The graph, or 0 for a network with parts that no graph can hold."""
        try:
            return self._stream.capture(queue)
        except EngineError as error:
            _log.info("%s runs without a CUDA graph: %s", self._file, error)
            return 0

    def _needed(self, what: str, found: Any) -> Any:
        if found is None:
            raise failure(self._api, f"{what} {self._file}", self._log.take())
        return found
