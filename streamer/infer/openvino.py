"""OpenVINO on the CPU."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from streamer.cores import usable_cores
from streamer.errors import EngineError
from streamer.infer.engine import Tensors, ended, load
from streamer.infer.sizes import check_outputs, sizes_of
from streamer.model import ModelManifest

CONVERTER = "openvino.tools.ovc"
"""Part of the package that a run time has no use for, and that reports its import to the vendor."""


class OpenVinoEngine:
    """A model run by OpenVINO's CPU device; takes any size its graph takes.

    Compiled once, with free sizes: measured, that runs as fast as a model compiled for one size,
    and going back and forth between sizes costs nothing that could be seen.
    """

    backend = "openvino"

    def __init__(self, manifest: ModelManifest, *, threads: int | None = None) -> None:
        """Load, verify and compile the model; ``threads`` defaults to the cores it may use.

        A manifest of precision ``bf16`` names the file of an fp32 model, which is computed in bf16.
        Raises ``EngineError``.
        """
        self.manifest = manifest
        self._runtime = _runtime()
        self._request = _compiled(self._runtime, manifest, threads or usable_cores())
        self._bound: tuple[tuple[int, tuple[int, ...]], ...] = ()

    def run(self, inputs: Tensors, outputs: Tensors) -> None:
        """Run once; both sides stay where they are, nothing is allocated for them.

        Raises ``EngineError`` where they do not fit the graph, or it is closed.
        """
        # Whoever closes it meanwhile leaves it to this run.
        request = self._request
        if request is None:
            raise EngineError(ended(self.manifest))
        arrays = (*inputs.values(), *outputs.values())
        storage = tuple((array.ctypes.data, array.shape) for array in arrays)
        try:
            if storage != self._bound:
                # Until all of it is bound, nothing is.
                self._bound = ()
                for name, array in (*inputs.items(), *outputs.items()):
                    tensor = self._runtime.Tensor(array, shared_memory=True)
                    request.set_tensor(name, tensor)
                # Of larger outputs it would fill the beginning, of smaller ones nothing, without a word.
                check_outputs(self.manifest, outputs, sizes_of(self.manifest, inputs))
                self._bound = storage
            # Without this it copies every output once more, to return it.
            request.infer(share_outputs=True)
        except RuntimeError as error:
            raise EngineError(
                f"OpenVINO cannot run {self.manifest.file} ({_reason(error)}); "
                "export the model anew, or use another --backend"
            ) from error

    def close(self) -> None:
        """Nothing runs after this; what it holds goes with the run that goes on, if any does."""
        self._request = None


def is_installed() -> bool:
    """Whether OpenVINO is there; what is left of it may not load."""
    return find_spec("openvino") is not None


@cache
def has_bf16() -> bool:
    """Whether OpenVINO is here and this processor computes in bf16."""
    if not is_installed():
        return False
    try:
        return "BF16" in _runtime().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except (EngineError, RuntimeError):
        # Opening a model says why; where another backend runs, nobody needs this one.
        return False


def _runtime() -> ModuleType:
    """The package; ``EngineError`` where it cannot be had. See Note [No word to the vendor].

    Note [No word to the vendor]: importing ``openvino`` imports its model converter, which writes an
    identifier into the home folder and posts an event to an analytics service, without asking. The
    package does without its converter where that cannot be imported, so for this one moment it
    cannot.
    """
    is_hidden = CONVERTER not in sys.modules
    if is_hidden:
        sys.modules[CONVERTER] = None  # type: ignore[assignment]
    try:
        return load("openvino", backend="openvino", holds="Core")
    finally:
        if is_hidden:
            with suppress(KeyError):
                del sys.modules[CONVERTER]


def _compiled(runtime: ModuleType, manifest: ModelManifest, threads: int) -> Any:
    """An inference request of the model; compiled for the shortest time of a single one."""
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(threads),
        # Left alone, it takes bf16 wherever the processor has it.
        "INFERENCE_PRECISION_HINT": "bf16" if manifest.precision == "bf16" else "f32",
        # Its threads share the cores with decode and encode; tied to one they would wait for them.
        "ENABLE_CPU_PINNING": "NO",
    }
    blob = manifest.verified_bytes()
    try:
        core = runtime.Core()
        return core.compile_model(core.read_model(blob), "CPU", settings).create_infer_request()
    # The second where what it says holds bytes of the file that are no text.
    except (RuntimeError, UnicodeDecodeError) as error:
        raise EngineError(
            f"OpenVINO {runtime.__version__} cannot load {manifest.file} ({_reason(error)}); "
            "export the model anew, or use --backend reference"
        ) from error


def _reason(error: RuntimeError | UnicodeDecodeError) -> str:
    """What went wrong, without the places in OpenVINO's own source that come before it."""
    said = [line.strip() for line in str(error).splitlines()]
    return next((line for line in said if line and not line.startswith("Exception")), "")[:160]
