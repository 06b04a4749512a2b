"""From a shipped network's weights to its typed fp16 variant, for GPUs.

TensorRT 11 takes the precision from the graph alone, so the graph itself must be fp16: weights,
inputs and outputs. See Note [Float32 islands] in ``float16`` for what stays float32 inside.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from export.feeds import drawn_feeds
from export.float16 import typed_half
from export.model_file import move_to, variant_of
from export.to_onnx import Exportable, load_fused, to_onnx_bytes
from export.verify import check, compare
from streamer.model import ModelManifest, TensorSpec


def make_half(manifest: ModelManifest, weights: Path, *, report: Callable[[str], None]) -> Path:
    """Writes ``<name>-fp16.onnx`` and ``.json`` beside the model and gives the manifest's path.

    Raises ``ConfigError`` when the variant differs from the fp32 network by more than allowed;
    nothing is written then.
    """
    fused = load_fused(manifest, weights)
    inputs, outputs = half_specs(manifest.inputs), half_specs(manifest.outputs)
    exportable = Exportable(network=typed_half(fused), inputs=inputs, outputs=outputs)
    blob = to_onnx_bytes(exportable, file=f"{manifest.name}-fp16.onnx")
    with tempfile.TemporaryDirectory() as folder:
        variant = variant_of(
            manifest, blob, precision="fp16", inputs=inputs, outputs=outputs, folder=Path(folder)
        )
        rows = compare(fused, [variant], drawn_feeds(manifest))
        for row in rows:
            report(str(row))
        check(rows)
        return move_to(variant, manifest.folder)


def half_specs(specs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """The same inputs or outputs as float16."""
    return tuple(replace(spec, dtype="float16") for spec in specs)
