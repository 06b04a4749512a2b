"""ONNX Runtime on the CPU."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from streamer.cores import usable_cores
from streamer.errors import EngineError
from streamer.infer.engine import Tensors, ended, load
from streamer.model import ModelManifest


class OrtCpuEngine:
    """A model run by ONNX Runtime's CPU provider; takes any size its graph takes."""

    backend = "ort-cpu"

    def __init__(self, manifest: ModelManifest, *, threads: int | None = None) -> None:
        """Load and verify the model. ``threads`` defaults to the cores this process may use."""
        self.manifest = manifest
        self._session = _open(manifest, threads or usable_cores())
        # One binding, made anew only when the caller's storage changes.
        self._binding: Any = self._session.io_binding()
        self._bound: tuple[tuple[int, tuple[int, ...]], ...] = ()

    def run(self, inputs: Tensors, outputs: Tensors) -> None:
        """Run once; both sides stay where they are, nothing is allocated for them.

        Raises ``EngineError`` where they do not fit the graph, or it is closed.
        """
        # Whoever closes it meanwhile leaves both to this run.
        session, binding = self._session, self._binding
        if session is None or binding is None:
            raise EngineError(ended(self.manifest))
        arrays = (*inputs.values(), *outputs.values())
        storage = tuple((array.ctypes.data, array.shape) for array in arrays)
        try:
            if storage != self._bound:
                # Until all of it is bound, nothing is.
                self._bound = ()
                _bind(binding, inputs, outputs)
                self._bound = storage
            session.run_with_iobinding(binding)
        except Exception as error:  # ONNX Runtime's own exceptions share no base class
            raise EngineError(
                f"ONNX Runtime cannot run {self.manifest.file} "
                f"({str(error).splitlines()[0][:160]}); "
                "export the model anew, or use another --backend"
            ) from error

    def close(self) -> None:
        """Nothing runs after this; what it holds goes with the run that goes on, if any does."""
        self._session = self._binding = None


def _bind(binding: Any, inputs: Tensors, outputs: Tensors) -> None:
    """Raises ``ValueError`` for arrays with gaps: only an address is told, and no strides."""
    for name, array in (*inputs.items(), *outputs.items()):
        if not array.flags.c_contiguous:
            raise ValueError(f"{name} does not lie in one piece")
    binding.clear_binding_inputs()
    binding.clear_binding_outputs()
    for name, array in inputs.items():
        binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
    for name, array in outputs.items():
        binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)


def is_installed() -> bool:
    """Whether ONNX Runtime is there; what is left of it may not load."""
    return find_spec("onnxruntime") is not None


def _open(manifest: ModelManifest, threads: int) -> Any:
    ort = load("onnxruntime", backend="ort-cpu", holds="InferenceSession")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # A spinning pool burns the cores that decode and encode need between two frames.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # The graph is fixed; leaving residuals near zero exact is not worth slow denormals.
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    try:
        return ort.InferenceSession(
            manifest.verified_bytes(),
            options,
            providers=["CPUExecutionProvider"],
            # It would print on standard output, where pictures may go, and try the same again.
            enable_fallback=0,
        )
    except EngineError:
        raise
    except Exception as error:  # ONNX Runtime's own exceptions share no base class
        raise EngineError(
            f"ONNX Runtime {ort.__version__} cannot load {manifest.file} "
            f"({str(error).splitlines()[0][:160]}); export the model anew, or use "
            "--backend reference"
        ) from error
