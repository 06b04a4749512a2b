"""Whether two engines of a network give the same, beyond what their precisions explain."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from streamer.errors import EngineError
from streamer.infer.engine import Engine, Tensors, code_values
from streamer.infer.ort import OrtCpuEngine
from streamer.infer.self_test import (
    allowed_error,
    drawn_inputs,
    root_mean_square,
    storage,
    told,
)
from streamer.model import ModelManifest, find_models


def disagreement(
    seen_by: ModelManifest, seen: Tensors, expected_by: ModelManifest, expected: Tensors
) -> str:
    """How outputs of two variants of a network differ beyond what their precisions explain; or ""."""
    for name, array in expected.items():
        values, others = code_values(array), code_values(seen[name])
        size, error = root_mean_square(values), root_mean_square(others - values)
        is_rounded = np.uint8 in (array.dtype, seen[name].dtype)
        allowed = allowed_error(size, seen_by, expected_by, is_rounded=is_rounded)
        # Written so that not a number is never within.
        if not error <= allowed:
            return (
                f"{name} of {seen_by.name} is off by {told(error, allowed, size)}, seen at "
                f"{'x'.join(map(str, array.shape))}; use another --backend, and please report it"
            )
    return ""


def check_beside_cpu(engine: Engine, sizes: Mapping[str, int]) -> None:
    """Raises ``EngineError`` where an engine gives something else at this very size than the fp32 model
    does by ONNX Runtime on one core. Kernels are chosen by size, and a wrong one may be among them.
    """
    manifest = engine.manifest
    shipped = find_models(task=manifest.task, scale=manifest.scale)
    wanted = manifest.variant, manifest.training, "fp32"
    exact = next((m for m in shipped if (m.variant, m.training, m.precision) == wanted), None)
    if exact is None:
        raise EngineError(
            f"{manifest.name} has no fp32 model beside it to be compared with; export it anew"
        )
    seen, expected = storage(manifest, sizes), storage(exact, sizes)
    engine.run(drawn_inputs(manifest, sizes), seen)
    cpu = OrtCpuEngine(exact, threads=1)
    try:
        cpu.run(drawn_inputs(exact, sizes), expected)
    finally:
        cpu.close()
    wrong = disagreement(manifest, seen, exact, expected)
    if wrong:
        raise EngineError(wrong)
