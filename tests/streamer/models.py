"""A network small enough to make in a test, each output a fixed sum of the inputs; and shipped ones."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.infer.reference import ReferenceEngine
from streamer.infer.self_test import SIZES, drawn_inputs, sampled
from streamer.model import ModelManifest, find_models, read_manifest


def weights(scale: int) -> NDArray[np.float32]:
    """(6 * scale**2, 6, 1, 1): what each phase of the residual takes from each packed plane."""
    numbers = np.random.default_rng(scale).normal(0, 5, (6 * scale**2, 6, 1, 1))
    return numbers.astype(np.float32)


def write_model(
    folder: Path, *, scale: int = 2, error: float = 0.0, stem: str = "tiny", **changes: Any
) -> Path:
    """Writes ``<stem>.onnx`` and its manifest; ``changes`` go into the manifest.

    ``error`` makes the network give that share more than it should, and than its manifest says.
    """
    blob = _graph(scale, 1 + error).SerializeToString()
    (folder / f"{stem}.onnx").write_bytes(blob)
    manifest = {
        "name": f"sr-tiny-x{scale}",
        "task": "super_resolution",
        "variant": "tiny",
        "training": "none",
        "scale": scale,
        "file": f"{stem}.onnx",
        "sha256": hashlib.sha256(blob).hexdigest(),
        "opset": 18,
        "precision": "fp32",
        "inputs": [{"name": "packed", "shape": [1, 6, "h", "w"]}],
        "outputs": [{"name": "residual", "shape": [1, 6 * scale**2, "h", "w"]}],
        "self_test": expected(scale),
        **changes,
    }
    path = folder / f"{stem}.json"
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return path


def expected(scale: int) -> dict[str, list[float]]:
    """What the network should give for the self-test, by arithmetic."""
    packed = drawn_inputs(ReferenceEngine(scale).manifest, SIZES)["packed"]
    return sampled({"residual": summed(packed, scale)})


def summed(packed: NDArray[Any], scale: int = 2) -> NDArray[np.float64]:
    """The network's residual in float64."""
    exact = weights(scale)[:, :, 0, 0].astype(np.float64)
    sums: NDArray[np.float64] = np.einsum("oi,nihw->nohw", exact, packed)
    return sums


def tiny(folder: Path, *, scale: int = 2) -> ModelManifest:
    return read_manifest(write_model(folder, scale=scale))


def shipped(precision: str, variant: str = "nano", scale: int = 2) -> ModelManifest:
    """A network for live pictures."""
    found = find_models(task="super_resolution", scale=scale)
    wanted = variant, precision, "live"
    return next(m for m in found if (m.variant, m.precision, m.training) == wanted)


def _graph(scale: int, gain: float) -> Any:
    # Only here: tests on a device take shipped networks, and a machine that has one may lack this package.
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def tensor(name: str, channels: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, "h", "w"])

    graph = helper.make_graph(
        [helper.make_node("Conv", ["packed", "weights"], ["residual"])],
        "tiny",
        [tensor("packed", 6)],
        [tensor("residual", 6 * scale**2)],
        [numpy_helper.from_array((gain * weights(scale)).astype(np.float32), "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return model
