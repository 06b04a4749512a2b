"""ONNX Runtime on an NVIDIA GPU, by its CUDA provider."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import redirect_stdout
from ctypes import CDLL
from dataclasses import dataclass, field, replace
from functools import cache
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.errors import EngineError
from streamer.infer.batching_group import KEPT_SIZES
from streamer.infer.copying import copy
from streamer.infer.device import DeviceTensor, has_device
from streamer.infer.engine import Tensors, ended, load, pip_install
from streamer.infer.ort_failures import WHEEL, cause, next_step
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
        # cuDNN's most careful guess of an algorithm, which takes longest; it is made once a size.
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        "do_copy_in_default_stream": "1",
    },
    session={"session.disable_cpu_ep_fallback": "1"},
)


LIBRARY = "libonnxruntime_providers_cuda.so"

ERRORS_ONLY = 3
"""Severity. At 2 each session prints that no plugin was found for its provider."""

QUEUED = {"disable_synchronize_execution_providers": "1"}
"""Settings of a run that is not waited for: what follows on the same stream comes after it."""


# Note [A session a size]
# Since 1.20 a convolution of the CUDA provider has one plan of cuDNN, for the shape it saw last; another
# shape makes it anew, which takes a network tens of milliseconds (``UpdateState`` in ``nn/conv.cc`` there,
# its issue 23006). Batches change their size from run to run, so each size has a session to itself.
@dataclass(frozen=True, slots=True)
class _Bound:
    """A session for one size, and its storage on the device, bound for good."""

    session: Any
    """See Note [A session a size]."""
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
        self._provider = _suited(provider if stream is None else _on(provider, stream), manifest)
        self._runtime = _runtime()
        self._blob = manifest.verified_bytes()
        self._spare: Any = self._opened()
        """The session for the size that comes first; opened here to see that it can be."""
        self._is_closed = False
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
            bound.session.run_with_iobinding(bound.binding)
            for name, array in outputs.items():
                copy(bound.outputs[name].numpy(), array)
        except EngineError:
            raise
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
                # Memory is planned and algorithms are chosen in the first run.
                bound.session.run_with_iobinding(bound.binding)
                self._residents[wanted] = _Resident(self, bound)
        except EngineError:
            raise
        except Exception as error:  # ONNX Runtime's own exceptions share no base class
            raise self._failed(error) from error
        return self._residents[wanted]

    def queue(self, bound: _Bound) -> None:
        """What ``resident`` gave does this."""
        try:
            bound.session.run_with_iobinding(bound.binding, self._queued)
        except Exception as error:  # ONNX Runtime's own exceptions share no base class
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> EngineError:
        why = cause(error)
        return EngineError(
            f"ONNX Runtime cannot run {self.model.file} on the GPU ({why}); {next_step(why)}"
        )

    def close(self) -> None:
        """Nothing runs after this; device memory goes with the sessions."""
        self._is_closed = True
        self._residents.clear()
        self._bound.clear()
        self._spare = None

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

    def _opened(self) -> Any:
        return _session(self._runtime, self._blob, self.model.file, self._provider)

    def _bind(self, sizes: Mapping[str, int]) -> _Bound:
        if self._is_closed:
            raise EngineError(ended(self.manifest))
        session, self._spare = self._spare or self._opened(), None
        inputs, outputs = (
            {
                spec.name: self._runtime.OrtValue.ortvalue_from_shape_and_type(
                    list(spec.sized(sizes)), np.dtype(spec.dtype).type, self._provider.device, 0
                )
                for spec in specs
            }
            for specs in (self.model.inputs, self.model.outputs)
        )
        binding = session.io_binding()
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in outputs.items():
            binding.bind_ortvalue_output(name, value)
        staged = {s.name: np.empty(s.sized(sizes), s.dtype) for s in self.model.inputs}
        return _Bound(session, binding, inputs, outputs, staged)


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


def _suited(provider: Provider, manifest: ModelManifest) -> Provider:
    """The provider, which computes a model of float32 in float32.

    By default it rounds what goes into convolutions to 10 bits of mantissa, and networks err by 0.003 to
    0.010. To forbid it takes the tensor cores from all of a session's convolutions: not with float16.
    """
    if provider.device != CUDA.device or manifest.precision != "fp32":
        return provider
    return replace(provider, options={**provider.options, "use_tf32": "0"})


def _tensor(spec: TensorSpec, value: Any) -> DeviceTensor:
    return DeviceTensor(value.data_ptr(), tuple(value.shape()), spec.dtype)


def _runtime() -> ModuleType:
    """The package; ``EngineError`` where it cannot be had."""
    return load("onnxruntime", backend="ort-cuda", holds="InferenceSession", wheel=WHEEL)


@cache
def _make_ready(runtime: ModuleType) -> None:
    """Finds CUDA and cuDNN where pip put them."""
    runtime.set_default_logger_severity(ERRORS_ONLY)
    # It prints what it does not find on standard output, where pictures may go.
    with redirect_stdout(StringIO()):
        if hasattr(runtime, "preload_dlls"):
            runtime.preload_dlls()


def _unloadable(runtime: ModuleType) -> str:
    """Why the provider's library cannot be loaded, which ONNX Runtime tells its log alone; or nothing."""
    try:
        CDLL(str(Path(runtime.__file__ or "").with_name("capi") / LIBRARY))
    except OSError as error:
        return str(error)
    return ""


def _session(runtime: ModuleType, blob: bytes, file: str, provider: Provider) -> Any:
    if provider.name not in runtime.get_available_providers():
        raise EngineError(
            f"onnxruntime {runtime.__version__} is the package for the CPU, without "
            f"{provider.name}; uninstall it and run: {pip_install(WHEEL)}"
        )
    _make_ready(runtime)
    options = runtime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    # Nothing is computed on the processor's cores, and each would get a thread for each session.
    options.intra_op_num_threads = 1
    for name, value in provider.session.items():
        options.add_session_config_entry(name, value)
    providers = [(provider.name, dict(provider.options))]
    try:
        # Without the last one it prints a line and goes on with the CPU.
        session = runtime.InferenceSession(blob, options, providers=providers, enable_fallback=0)
    except Exception as error:  # ONNX Runtime's own exceptions share no base class
        why = _unloadable(runtime) or cause(error)
        raise EngineError(
            f"ONNX Runtime {runtime.__version__} cannot load {file} on the GPU ({why}); "
            f"{next_step(why)}"
        ) from error
    seen = session.get_providers()
    if seen[0] != provider.name:
        why = _unloadable(runtime)
        raise EngineError(
            f"onnxruntime {runtime.__version__} could not load {provider.name} and took {seen[0]} "
            f"({why or 'it does not say why'}); {next_step(why)}"
        )
    return session
