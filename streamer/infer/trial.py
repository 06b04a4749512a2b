"""Engines of the same network tried on this machine: which are right, which is fastest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.clock import Clock
from streamer.errors import EngineError
from streamer.infer.engine import Engine, code_values
from streamer.metrics import percentile

HEIGHT, WIDTH = 360, 640
RUNS = 7
"""The first two plan memory and are not counted."""

ALLOWED_ERROR = 0.25
"""Of the reference's own residual, both as root mean squares. int8 errs by 0.09 where the processor
has VNNI; instructions that saturate in between, as older ones do, may err by far more."""

Tensor = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Trial:
    """How one engine did."""

    engine: Engine
    error: float
    """Against the reference, as a share of the reference's residual."""
    cost_ms: float
    """Median for a 640x360 picture."""

    @property
    def is_right(self) -> bool:
        return self.error <= ALLOWED_ERROR


def try_engines(reference: Engine, others: Sequence[Engine], clock: Clock) -> list[Trial]:
    """A trial of each; the reference is right by definition."""
    packed = drawn_input(HEIGHT, WIDTH)
    expected, reference_ms = _run(reference, packed, clock)
    size = float(np.sqrt(np.mean(expected**2)))
    trials = [Trial(reference, 0.0, reference_ms)]
    for engine in others:
        seen, cost_ms = _run(engine, packed, clock)
        error = float(np.sqrt(np.mean((seen - expected) ** 2)))
        # Not a number counts as wrong, as does any error where nothing should be added.
        share = error / size if size else (np.inf if error else 0.0)
        trials.append(Trial(engine, share if np.isfinite(share) else np.inf, cost_ms))
    return trials


def fastest(trials: Sequence[Trial]) -> Trial:
    """The fastest one that is right; raises ``EngineError`` where none is."""
    right = [trial for trial in trials if trial.is_right]
    if not right:
        raise EngineError("no engine passed its self-test; use --backend reference")
    return min(right, key=lambda trial: trial.cost_ms)


def drawn_input(height: int, width: int) -> Tensor:
    """A packed picture of waves and edges, always the same, in the range of real ones."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    waves = 0.3 * np.sin(x * x / (8 * width) + y / 9)
    edges = 0.15 * np.sign(np.sin(x / 7) * np.sin(y / 5))
    luma = (0.5 + waves + edges).astype(np.float32)
    packed = np.empty((1, 6, height // 2, width // 2), np.float32)
    for i in range(2):
        for j in range(2):
            packed[0, 2 * i + j] = luma[i::2, j::2]
    packed[0, 4] = 0.2 * np.sin(x[::2, ::2] / 40)
    packed[0, 5] = 0.2 * np.cos(y[::2, ::2] / 30)
    return packed


def _run(engine: Engine, packed: NDArray[Any], clock: Clock) -> tuple[Tensor, float]:
    manifest = engine.manifest
    packed = packed.astype(manifest.inputs[0].dtype)
    shape = (1, 6 * manifest.scale**2, *packed.shape[2:])
    residual = np.empty(shape, manifest.residual_dtype)
    costs_ms = []
    for _ in range(RUNS):
        began_ns = clock.now_ns()
        engine.run({"packed": packed}, {"residual": residual})
        costs_ms.append((clock.now_ns() - began_ns) / 1e6)
    return code_values(residual), percentile(sorted(costs_ms[2:]), 0.5)
