"""ONNX Runtime on an NVIDIA GPU, by its CUDA provider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.errors import EngineError
from streamer.infer.batching_group import KEPT_SIZES
from streamer.infer.copying import copy
from streamer.infer.device import DeviceTensor, has_device
from streamer.infer.engine import Tensors, load, pip_install
from streamer.infer.sizes import Sizes, in_order, on_host, sizes_of
from streamer.model import ModelManifest, TensorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """What ONNX Runtime is to run all of a model with, and where its memory is."""

    name: str
    device: str
    options: Mapping[str, str] = field(default_factory=dict)
    session: Mapping[str, str] = field(default_factory=dict)
    """Settings of the session that go with it."""


# Note [No graphs by ONNX Runtime]
# It could capture a run as a CUDA graph (``enable_cuda_graph``), on the third run of a size in a
# thread, for that thread alone. It captures in mode "global" (``cuda_graph.cc`` there), in which the
# driver refuses what other threads do meanwhile, such as allocating or waiting for a stream, and spoils
# the capture over it: frames of all streams would be lost each time a new size comes. And before its
# pull request 28686 a replay was waited for, whatever the run was told. A graph would save the launches
# of some ten kernels, of a few microseconds each.
CUDA = Provider(
    name="CUDAExecutionProvider",
    device="cuda",
    options={
        "device_id": "0",
        # It would double whenever it grows, and what is asked for here never changes.
        "arena_extend_strategy": "kSameAsRequested",
        # Tries all algorithms of a convolution in its first run; there is one such run a size.
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        "do_copy_in_default_stream": "1",
    },
    session={"session.disable_cpu_ep_fallback": "1"},
)


QUEUED = {"disable_synchronize_execution_providers": "1"}
"""Settings of a run that is not waited for: what follows on the same stream comes after it."""


@dataclass(frozen=True, slots=True)
class _Bound:
    """Storage on the device for one size, bound for good."""

    binding: Any
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    staged: Mapping[str, NDArray[Any]]
    """Inputs on the host, in the types of the model."""


class _Resident:
    """One size, whose inputs and outputs are read and written on the device by others."""

    def __init__(self, engine: OrtCudaEngine, bound: _Bound) -> None:
        self._engine = engine
        self._bound = bound
        model = engine.model
        self.inputs = {spec.name: _tensor(spec, bound.inputs[spec.name]) for spec in model.inputs}
        self.outputs = {
            spec.name: _tensor(spec, bound.outputs[spec.name]) for spec in model.outputs
        }

    def queue(self) -> None:
        """Behind what is on the stream that the engine was opened with. Raises ``EngineError``."""
        self._engine.queue(self._bound)


class OrtCudaEngine:
    """A model run by ONNX Runtime's CUDA provider; takes any size its graph takes.

    Never on the CPU: a session of which a part would run there is refused. Arrays are float32 on
    the caller's side, whatever the model takes.
    """

    backend = "ort-cuda"

    def __init__(
        self, manifest: ModelManifest, *, provider: Provider = CUDA, stream: int | None = None
    ) -> None:
        """Load and verify the model. Raises ``EngineError``.

        On ``stream``, a ``CUstream`` that outlives it, the engine queues all of its work.
        """
        self.manifest = on_host(manifest)
        self.model = manifest
        """The manifest as it is on the device."""
        self._provider = provider if stream is None else _on(provider, stream)
        self._runtime = _runtime()
        self._session = _session(self._runtime, manifest, self._provider)
        self._bound: dict[Sizes, _Bound] = {}
        self._residents: dict[Sizes, _Resident] = {}
        """Of those, what runs on memory of the device."""
        self._queued = self._runtime.RunOptions()
        for name, value in QUEUED.items():
            self._queued.add_run_config_entry(name, value)

    def run(self, inputs: Tensors, outputs: Tensors) -> None:
        """Fill ``outputs``; a size that comes for the first time takes longer.

        Raises ``EngineError`` where they do not fit the graph, or the device fails.
        """
        sizes = sizes_of(self.model, inputs)
        try:
            bound = self._bound_for(sizes)
            for spec in self.model.inputs:
                given = bound.staged[spec.name]
                copy(inputs[spec.name], given)
                bound.inputs[spec.name].update_inplace(given)
            self._session.run_with_iobinding(bound.binding)
            for name, array in outputs.items():
                copy(bound.outputs[name].numpy(), array)
        except Exception as error:  # ONNX Runtime's own exceptions share no base class
            raise self._failed(error) from error

    def resident(self, sizes: Mapping[str, int]) -> _Resident:
        """For pictures on the device, at addresses that stay; see ``device.ResidentEngine``.

        Only for an engine with a stream: without one nothing would follow in order. Raises
        ``EngineError``.
        """
        wanted = in_order(sizes)
        try:
            bound = self._bound_for(sizes)
            if wanted not in self._residents:
                # Memory is planned and algorithms are tried in the first run.
                self._session.run_with_iobinding(bound.binding)
                self._residents[wanted] = _Resident(self, bound)
        except Exception as error:  # ONNX Runtime's own exceptions share no base class
            raise self._failed(error) from error
        return self._residents[wanted]

    def queue(self, bound: _Bound) -> None:
        """What ``resident`` gave does this."""
        try:
            self._session.run_with_iobinding(bound.binding, self._queued)
        except Exception as error:  # ONNX Runtime's own exceptions share no base class
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> EngineError:
        return EngineError(
            f"ONNX Runtime cannot run {self.model.file} on the GPU ({_reason(error)}); free "
            "memory of the device, or use another --backend"
        )

    def close(self) -> None:
        """Nothing runs after this; device memory goes with the session."""
        self._residents.clear()
        self._bound.clear()
        self._session = None

    def _bound_for(self, sizes: Mapping[str, int]) -> _Bound:
        wanted = in_order(sizes)
        bound = self._bound.pop(wanted, None)
        if bound is None:
            while len(self._bound) >= KEPT_SIZES:
                oldest = next(iter(self._bound))
                self._bound.pop(oldest)
                self._residents.pop(oldest, None)
            bound = self._bind(sizes)
        # Put behind all others: the first one is the one that was not used for longest.
        self._bound[wanted] = bound
        return bound

    def _bind(self, sizes: Mapping[str, int]) -> _Bound:
        inputs, outputs = (
            {
                spec.name: self._runtime.OrtValue.ortvalue_from_shape_and_type(
                    list(spec.sized(sizes)), np.dtype(spec.dtype).type, self._provider.device, 0
                )
                for spec in specs
            }
            for specs in (self.model.inputs, self.model.outputs)
        )
        binding = self._session.io_binding()
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in outputs.items():
            binding.bind_ortvalue_output(name, value)
        staged = {s.name: np.empty(s.sized(sizes), s.dtype) for s in self.model.inputs}
        return _Bound(binding, inputs, outputs, staged)


def is_installed() -> bool:
    """Whether ONNX Runtime has the CUDA provider, and a device is there to run it on."""
    if not has_device():
        return False
    try:
        return CUDA.name in _runtime().get_available_providers()
    except EngineError:
        return False


def _on(provider: Provider, stream: int) -> Provider:
    """The provider with all of its work on one stream."""
    return replace(provider, options={**provider.options, "user_compute_stream": str(stream)})


def _tensor(spec: TensorSpec, value: Any) -> DeviceTensor:
    return DeviceTensor(value.data_ptr(), tuple(value.shape()), spec.dtype)


def _runtime() -> ModuleType:
    """The package; ``EngineError`` where it cannot be had."""
    runtime = load(
        "onnxruntime",
        backend="ort-cuda",
        holds="InferenceSession",
        wheel="onnxruntime-gpu",
    )
    # Finds CUDA and cuDNN where pip put them.
    if hasattr(runtime, "preload_dlls"):
        runtime.preload_dlls()
    return runtime


def _session(runtime: ModuleType, manifest: ModelManifest, provider: Provider) -> Any:
    if provider.name not in runtime.get_available_providers():
        raise EngineError(
            f"onnxruntime {runtime.__version__} is the package for the CPU, without "
            f"{provider.name}; uninstall it and run: {pip_install('onnxruntime-gpu')}"
        )
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    for name, value in provider.session.items():
        options.add_session_config_entry(name, value)
    blob = manifest.verified_bytes()
    providers = [(provider.name, dict(provider.options))]
    try:
        # Without the last one it prints a line and goes on with the CPU.
        session = runtime.InferenceSession(blob, options, providers=providers, enable_fallback=0)
    except Exception as error:  # ONNX Runtime's own exceptions share no base class
        raise EngineError(
            f"ONNX Runtime {runtime.__version__} cannot load {manifest.file} on the GPU "
            f"({_reason(error)}); see that nvidia-smi lists the device and that CUDA and cuDNN are "
            "those this onnxruntime-gpu is made for, or use another --backend"
        ) from error
    seen = session.get_providers()
    if seen[0] != provider.name:
        raise EngineError(
            f"onnxruntime {runtime.__version__} could not load {provider.name} and took {seen[0]}; "
            "install the CUDA and cuDNN that this onnxruntime-gpu is made for, or use another "
            "--backend"
        )
    return session


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
