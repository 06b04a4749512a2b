"""Model files and their manifests: written whole, exactly as ``streamer.model`` reads them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from export.provenance import code_commit
from streamer.errors import ConfigError
from streamer.model import ModelManifest, Origin, TensorSpec, read_manifest

LEFT_OUT_WHEN_EMPTY = ("recipe", "data", "origin", "commit", "self_test")


def write_manifest(manifest: ModelManifest) -> Path:
    """``<name>.json`` in the manifest's folder, replaced in one step."""
    values = asdict(manifest)
    del values["folder"]
    for key in LEFT_OUT_WHEN_EMPTY:
        if not values[key]:
            del values[key]
    text = json.dumps(values, indent=1, ensure_ascii=False)
    return replace_file(manifest.folder / f"{manifest.name}.json", (text + "\n").encode())


def replace_file(path: Path, blob: bytes) -> Path:
    """Writes the file in one step, so that nobody reads half of it; makes its folder.

    Raises ``ConfigError`` where it cannot be written, as on a full disk; what was there stays.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(blob)
        os.replace(partial, path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise ConfigError(
            f"{path} could not be written ({error.strerror}), what was there is as it was; make room "
            "there, see that it may be written, or name another place"
        ) from error
    return path


def with_quality(manifest: ModelManifest, quality: Mapping[str, Any]) -> ModelManifest:
    """The manifest with other measured numbers."""
    return replace(manifest, quality=dict(quality))


def variant_of(
    manifest: ModelManifest,
    blob: bytes,
    *,
    precision: str,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    folder: Path,
) -> ModelManifest:
    """The manifest of the same network in another precision, and its file in ``folder``.

    It names the fp32 model instead of repeating its recipe and training files. Raises
    ``ConfigError`` when ``manifest`` is itself a variant.
    """
    if manifest.precision != "fp32":
        raise ConfigError(
            f"{manifest.name} is {manifest.precision}; make its {precision} variant from the fp32 "
            "model"
        )
    name = f"{manifest.name}-{precision}"
    variant = replace(
        manifest,
        name=name,
        file=f"{name}.onnx",
        sha256=hashlib.sha256(blob).hexdigest(),
        precision=precision,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        recipe={},
        data=(),
        quality={},
        origin=Origin(name=manifest.name, sha256=manifest.sha256),
        commit=code_commit(),
        folder=folder,
    )
    replace_file(variant.path, blob)
    return variant


def move_to(manifest: ModelManifest, folder: Path) -> Path:
    """Ships model file and manifest into ``folder``; the manifest's path there."""
    shipped = replace(manifest, folder=folder)
    replace_file(shipped.path, manifest.verified_bytes())
    return write_manifest(shipped)


def origin_of(manifest: ModelManifest) -> ModelManifest:
    """The fp32 manifest that holds recipe and training data; itself, if it is that.

    Raises ``ConfigError`` when a variant was made from another file than the one beside it.
    """
    if manifest.origin is None:
        if not manifest.recipe:
            raise ConfigError(
                f"{manifest.name}.json names neither a recipe nor the model it was made from; "
                "it was not written by this program: export the model anew"
            )
        return manifest
    origin = read_manifest(manifest.folder / f"{manifest.origin.name}.json")
    if origin.sha256 != manifest.origin.sha256:
        raise ConfigError(
            f"{manifest.name}.json was made from {origin.name}.onnx {manifest.origin.sha256[:12]}…, "
            f"beside it lies {origin.sha256[:12]}…; make the {manifest.precision} variant anew"
        )
    return origin


def family(manifest: ModelManifest) -> tuple[ModelManifest, ...]:
    """A network in all its shipped precisions, fp32 first; raises as ``origin_of`` does."""
    base = origin_of(manifest)
    others = (read_manifest(path) for path in sorted(base.folder.glob("*.json")))
    made = [m for m in others if m.origin is not None and m.origin.name == base.name]
    for variant in made:
        origin_of(variant)
    return (base, *made)


def held_out_names(manifest: ModelManifest) -> tuple[str, ...]:
    """What the names of the clips begin with that the network never saw."""
    names = origin_of(manifest).recipe.get("data", {}).get("validation", ())
    return tuple(names)
