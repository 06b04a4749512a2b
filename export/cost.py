"""How long a model takes on this machine's processor, with what it was measured on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime

from streamer.clock import Clock
from streamer.cores import processor_name
from streamer.infer.ort import OrtCpuEngine
from streamer.metrics import percentile
from streamer.model import ModelManifest

WARM_UP, RUNS = 5, 40
THREADS = 2


def measure_cost(
    manifest: ModelManifest, clock: Clock, *, sizes: Mapping[str, int], picture: str
) -> dict[str, Any]:
    """Milliseconds per run of the engine that streams use, with ``sizes`` for the free dimensions.

    ``picture`` says which input picture these sizes stand for.
    """
    rng = np.random.default_rng(0)
    inputs = {
        spec.name: rng.random(spec.sized(sizes), np.float32).astype(spec.dtype)
        for spec in manifest.inputs
    }
    outputs = {spec.name: np.empty(spec.sized(sizes), spec.dtype) for spec in manifest.outputs}
    engine = OrtCpuEngine(manifest, threads=THREADS)
    costs_ms = []
    for _ in range(WARM_UP + RUNS):
        began_ns = clock.now_ns()
        engine.run(inputs, outputs)
        costs_ms.append((clock.now_ns() - began_ns) / 1e6)
    engine.close()
    counted = sorted(costs_ms[WARM_UP:])
    return {
        "picture": picture,
        "p50_ms": round(percentile(counted, 0.5), 2),
        "p95_ms": round(percentile(counted, 0.95), 2),
        "runs": RUNS,
        "threads": THREADS,
        "runtime": f"ONNX Runtime {onnxruntime.__version__}",
        "processor": processor_name(),
    }
