"""What engines are tested against at run time: outputs of the fp32 model, put into manifests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from export.model_file import family, write_manifest
from export.runner import open_model
from streamer.infer.self_test import SIZES, drawn_inputs, sampled
from streamer.model import ModelManifest, read_manifest

DIGITS = 6
"""Significant ones; the closest comparison allows a thousandth."""


def with_expected(manifest: ModelManifest) -> ModelManifest:
    """The manifest of a written fp32 model with sampled outputs of ONNX Runtime.

    Raises ``ConfigError`` when the model cannot be run, ``EngineError`` on a wrong hash.
    """
    outputs = open_model(manifest)(drawn_inputs(manifest, SIZES))
    expected = {
        name: tuple(float(f"{value:.{DIGITS}g}") for value in values)
        for name, values in sampled(outputs).items()
    }
    return replace(manifest, self_test=expected)


def write_expected(folder: Path, *, report: Callable[[str], None]) -> None:
    """Puts the sampled outputs of every fp32 model in ``folder`` into its and its variants'
    manifests. Raises as ``with_expected`` and ``family`` do."""
    manifests = [read_manifest(path) for path in sorted(folder.glob("*.json"))]
    for base in (manifest for manifest in manifests if manifest.origin is None):
        expected = with_expected(base).self_test
        for manifest in family(base):
            write_manifest(replace(manifest, self_test=expected))
        report(f"{base.name}: {', '.join(expected)}")
