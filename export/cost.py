"""How long a model takes on this machine's processor, with what it was measured on."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from streamer.clock import Clock
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
        "processor": _processor(),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
