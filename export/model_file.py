"""Writes manifests beside model files, exactly as ``streamer.model`` reads them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from streamer.model import ModelManifest


def write_manifest(manifest: ModelManifest) -> Path:
    """``<name>.json`` in the manifest's folder, replaced in one step."""
    values = asdict(manifest)
    del values["folder"]
    path = manifest.folder / f"{manifest.name}.json"
    partial = path.with_suffix(".partial")
    text = json.dumps(values, indent=1, ensure_ascii=False)
    partial.write_text(text + "\n", encoding="utf-8")
    os.replace(partial, path)
    return path


def with_quality(manifest: ModelManifest, quality: Mapping[str, Any]) -> ModelManifest:
    """The manifest with other measured numbers."""
    return replace(manifest, quality=dict(quality))
