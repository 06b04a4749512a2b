"""A network at device addresses, in the order of a stream: ONNX Runtime on the CPU computes it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.errors import KernelError
from streamer.gpu.door import Gpu
from streamer.gpu.memory import Lease
from streamer.infer.device import DeviceTensor
from streamer.infer.engine import Engine, Tensors
from streamer.infer.ort import OrtCpuEngine
from streamer.model import ModelManifest, TensorSpec
from tests.streamer.gpu.host_function import queue_on


@dataclass
class QueuedRun:
    """One size: its tensors, and the page-locked memory that the network reads and writes."""

    engine: QueuedEngine
    inputs: Mapping[str, DeviceTensor]
    outputs: Mapping[str, DeviceTensor]
    staged: Mapping[str, Lease]
    kept: list[object] = field(default_factory=list)

    def queue(self) -> None:
        """Down, through the network in the stream's order, and up again: true on any device."""
        compute = self.engine.gpu.compute
        for name, there in self.inputs.items():
            compute.download(self.staged[name].address, there.address, size_of(there))
        self.kept.append(queue_on(compute, self._compute))
        for name, there in self.outputs.items():
            compute.upload(there.address, self.staged[name].address, size_of(there))

    def _compute(self) -> None:
        self.engine.runs += 1
        inputs = {name: self._array(name, there) for name, there in self.inputs.items()}
        outputs = {name: self._array(name, there) for name, there in self.outputs.items()}
        self.engine.exact.run(inputs, outputs)
        for array in outputs.values():
            self.engine.spoil(array)

    def _array(self, name: str, there: DeviceTensor) -> NDArray[Any]:
        whole: NDArray[np.uint8] = np.asarray(self.staged[name])
        return whole.view(there.dtype).reshape(there.shape)


class QueuedEngine:
    """What stands in for an engine of a device; the network and its weights are real."""

    backend = "queued"

    def __init__(self, gpu: Gpu, manifest: ModelManifest, exact: Engine | None = None) -> None:
        self.manifest = manifest
        self.gpu = gpu
        self.exact = exact or OrtCpuEngine(manifest, threads=1)
        self.runs = 0
        self.value: float | None = None
        """What all of a residual is made from now on, by a test."""
        self._made: dict[tuple[tuple[str, int], ...], QueuedRun] = {}
        self._leases: list[Lease] = []

    def resident(self, sizes: Mapping[str, int]) -> QueuedRun:
        wanted = tuple(sorted(sizes.items()))
        if wanted not in self._made:
            inputs = {spec.name: self._tensor(spec, sizes) for spec in self.manifest.inputs}
            outputs = {spec.name: self._tensor(spec, sizes) for spec in self.manifest.outputs}
            staged = {
                name: self.gpu.pinned.lease(size_of(there), self.gpu.compute)
                for name, there in (inputs | outputs).items()
            }
            self._made[wanted] = QueuedRun(self, inputs, outputs, staged)
        return self._made[wanted]

    def run(self, inputs: Tensors, outputs: Tensors) -> None:
        """For arrays, as self-tests have them."""
        self.exact.run(inputs, outputs)

    def spoil(self, array: NDArray[Any]) -> None:
        if self.value is not None:
            array[...] = self.value

    def close(self) -> None:
        # A device that was lost has nothing to wait for.
        with suppress(KernelError):
            self.gpu.compute.wait()
        for made in self._made.values():
            made.kept.clear()
        self._made.clear()
        self._leases.clear()
        self.exact.close()

    def _tensor(self, spec: TensorSpec, sizes: Mapping[str, int]) -> DeviceTensor:
        shape = spec.sized(sizes)
        size = int(np.prod(shape)) * np.dtype(spec.dtype).itemsize
        self._leases.append(self.gpu.memory.lease(size, self.gpu.compute))
        return DeviceTensor(self._leases[-1].address, shape, spec.dtype)


def size_of(there: DeviceTensor) -> int:
    return int(np.prod(there.shape)) * np.dtype(there.dtype).itemsize
