"""Runs a model file as its manifest describes it, on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from streamer.errors import ConfigError, EngineError
from streamer.infer import native
from streamer.infer.engine import code_values
from streamer.infer.native import NativeEngine
from streamer.model import ModelManifest, TensorSpec

Floats = NDArray[np.float32]
Feed = Mapping[str, Floats]
"""Inputs of a network by name; float32 whatever the model's own types are."""
Runner = Callable[[Feed], dict[str, Floats]]

ONNX_TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}


def open_model(manifest: ModelManifest, *, threads: int = 2) -> Runner:
    """What turns inputs into outputs, both float32; residuals of type uint8 come centred.

    Raises ``EngineError`` on a wrong hash, ``ConfigError`` when the file is no model or takes and
    gives something else than the manifest says.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    blob = manifest.verified_bytes()
    try:
        session = onnxruntime.InferenceSession(blob, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exceptions share no base class
        raise ConfigError(
            f"{manifest.file} is no model that ONNX Runtime {onnxruntime.__version__} can load "
            f"({str(error).splitlines()[0][:160]}); export it anew"
        ) from error
    _compare(manifest, "takes", session.get_inputs(), manifest.inputs)
    _compare(manifest, "gives", session.get_outputs(), manifest.outputs)
    exact = _exact(manifest, threads)
    if exact is not None:
        return exact
    outputs = [spec.name for spec in manifest.outputs]

    def run(feed: Feed) -> dict[str, Floats]:
        given = {spec.name: feed[spec.name].astype(spec.dtype) for spec in manifest.inputs}
        values = session.run(outputs, given)
        return {name: code_values(value) for name, value in zip(outputs, values, strict=True)}

    return run


def _exact(manifest: ModelManifest, threads: int) -> Runner | None:
    """Our own convolutions, for the int8 networks that they run, where they are compiled.

    They give the same on every processor; ONNX Runtime's int8 saturates on those without VNNI.
    """
    if manifest.precision != "int8" or not native.is_installed():
        return None
    try:
        engine = NativeEngine(manifest, threads=threads)
    except EngineError:
        return None
    (taken,), (given,) = manifest.inputs, manifest.outputs

    def run(feed: Feed) -> dict[str, Floats]:
        packed = np.ascontiguousarray(feed[taken.name], np.float32)
        sizes = dict(zip(("h", "w"), packed.shape[-2:], strict=True))
        residual = np.empty(given.sized(sizes), np.uint8)
        engine.run({taken.name: packed}, {given.name: residual})
        return {given.name: code_values(residual)}

    return run


def _compare(
    manifest: ModelManifest, verb: str, seen: list[Any], wanted: tuple[TensorSpec, ...]
) -> None:
    found = [f"{ONNX_TYPES.get(entry.type, entry.type)} {entry.name}" for entry in seen]
    named = [f"{spec.dtype} {spec.name}" for spec in wanted]
    if found != named:
        raise ConfigError(
            f"{manifest.file} {verb} {', '.join(found)}, {manifest.name}.json says "
            f"{', '.join(named)}; they do not belong together: export the model anew"
        )


def model_residual(manifest: ModelManifest, *, threads: int = 2) -> Callable[[Floats], Floats]:
    """From ``packed`` (1, 6, H/2, W/2) to the first output, in 8-bit code values."""
    run = open_model(manifest, threads=threads)
    taken, given = manifest.inputs[0].name, manifest.outputs[0].name
    return lambda packed: run({taken: packed})[given]
