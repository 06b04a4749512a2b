"""Checks that a shipped model is the file its manifest describes and computes what torch does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from export.networks import build_network
from export.recipe import recipe_from
from export.upscalers import Residual
from streamer.errors import ConfigError
from streamer.infer.engine import code_values
from streamer.infer.trial import ALLOWED_ERROR, drawn_input
from streamer.model import ModelManifest

Floats = NDArray[np.float32]

TOLERANCE = 0.02
"""Largest difference in 8-bit code values; ONNX Runtime and torch sum in different orders."""

ALLOWED_INT8_ERROR = ALLOWED_ERROR
"""Root mean square of an int8 model's error, as a share of torch's residual; as at run time."""

SIZES = ((16, 16), (33, 47), (90, 160))
"""Heights and widths of the packed input that are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was found; ``largest`` is in 8-bit code values, ``share`` of the residual."""

    largest: float
    share: float
    sizes: tuple[tuple[int, int], ...]


def verify(manifest: ModelManifest, weights: Path) -> Verdict:
    """Raises ``EngineError`` on a wrong hash and ``ConfigError`` when results differ."""
    residual = model_residual(manifest)
    fused = _torch_network(manifest, weights)
    largest = share = 0.0
    for height, width in SIZES:
        packed = drawn_input(2 * height, 2 * width)
        with torch.no_grad():
            expected: Floats = fused(torch.from_numpy(packed)).numpy()
        seen = residual(packed)
        if seen.shape != expected.shape:
            raise ConfigError(f"{manifest.file} gives {seen.shape}, torch gives {expected.shape}")
        error = seen - expected
        largest = max(largest, float(np.abs(error).max()))
        share = max(share, float(np.sqrt(np.mean(error**2) / np.mean(expected**2))))
    is_same = share <= ALLOWED_INT8_ERROR if manifest.precision == "int8" else largest <= TOLERANCE
    if not is_same:
        raise ConfigError(
            f"{manifest.file} differs from torch by {largest:.4f} code values at most and by "
            f"{share:.2f} of the residual; export it anew"
        )
    return Verdict(largest=largest, share=share, sizes=SIZES)


def model_residual(manifest: ModelManifest, *, threads: int = 2) -> Residual:
    """Runs the model file with ONNX Runtime on the CPU, after checking its hash."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        manifest.verified_bytes(), options, providers=["CPUExecutionProvider"]
    )
    names = [entry.name for entry in session.get_inputs()]
    wanted = [spec.name for spec in manifest.inputs]
    if names != wanted:
        raise ConfigError(f"{manifest.file} takes {names}, its manifest says {wanted}")
    output = manifest.outputs[0].name

    def residual(packed: Floats) -> Floats:
        return code_values(session.run([output], {wanted[0]: packed})[0])

    return residual


def _torch_network(manifest: ModelManifest, weights: Path) -> nn.Module:
    fused = build_network(recipe_from(manifest.recipe).network).fused()
    try:
        fused.load_state_dict(load_file(weights))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise ConfigError(f"{weights.name} does not hold the weights of {manifest.name}") from error
    return fused.eval()
