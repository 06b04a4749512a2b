"""From a checkpoint to a shipped model: fused weights, one ONNX file, its manifest."""

from __future__ import annotations

import hashlib
import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import onnx
import torch
from safetensors.torch import save
from torch import nn

from export.checkpoint import checkpoint_path, read_checkpoint
from export.data.clips import find_data, read_provenance
from export.model_file import with_quality, write_manifest
from export.networks import build_network
from export.networks.super_resolution import (
    PACKED_CHANNELS,
    SuperResolution,
    count_macs_per_pixel,
    count_parameters,
)
from export.recipe import Recipe
from streamer.errors import ConfigError
from streamer.model import ModelManifest, TensorSpec

OPSET = 18
"""From opset 20 on TensorRT's parser takes bilinear warps for nearest; all models stay at 18."""

History = dict[str, Any]
"""``iterations`` of the recipe's own run, and the ``earlier`` runs that it started from."""


def load_averaged(work: Path, recipe: Recipe) -> tuple[SuperResolution, History]:
    """The averaged network of the recipe's run, and how it came to be.

    Raises ``ConfigError`` when there is no run.
    """
    path = checkpoint_path(work, recipe)
    if not path.exists():
        raise ConfigError(f"{work} has no checkpoint of {recipe.name}; train it first")
    network = build_network(recipe.network)
    state = read_checkpoint(path, recipe)
    network.load_state_dict(state["average"])
    return network, {"iterations": state["iteration"], "earlier": state.get("earlier", [])}


def write_model(
    network: SuperResolution,
    recipe: Recipe,
    *,
    folder: Path,
    weights: Path,
    data: Sequence[Mapping[str, Any]] = (),
    history: History | None = None,
) -> ModelManifest:
    """Writes ``<name>.onnx`` and ``.json`` into ``folder``, the fused weights into ``weights``."""
    fused = network.fused()
    blob = to_onnx_bytes(fused)
    tensors = {key: value.contiguous() for key, value in fused.state_dict().items()}
    _replace(weights / f"{recipe.name}.safetensors", save(tensors))
    _replace(folder / f"{recipe.name}.onnx", blob)
    manifest = describe(
        fused, recipe, folder=folder, sha256=hashlib.sha256(blob).hexdigest(), data=data
    )
    manifest = with_quality(manifest, {"training": history or {}})
    write_manifest(manifest)
    return manifest


def _replace(path: Path, blob: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_bytes(blob)
    os.replace(partial, path)


def describe(
    fused: nn.Module,
    recipe: Recipe,
    *,
    folder: Path,
    sha256: str,
    data: Sequence[Mapping[str, Any]],
) -> ModelManifest:
    """The manifest of a fused network, without measured quality."""
    scale = recipe.network.scale
    outputs = PACKED_CHANNELS * scale**2
    return ModelManifest(
        name=recipe.name,
        task=recipe.task,
        variant=recipe.variant,
        training=recipe.training,
        scale=scale,
        file=f"{recipe.name}.onnx",
        sha256=sha256,
        opset=OPSET,
        precision="fp32",
        inputs=(TensorSpec(name="packed", shape=(1, PACKED_CHANNELS, "h", "w")),),
        outputs=(TensorSpec(name="residual", shape=(1, outputs, "h", "w")),),
        multiple_of=2,
        parameters=count_parameters(fused),
        macs_per_pixel=count_macs_per_pixel(fused),
        recipe=recipe.as_dict(),
        data=tuple(data),
        quality={},
        folder=folder,
    )


def training_files(folder: Path, recipe: Recipe) -> list[dict[str, Any]]:
    """Every clip and image the network was trained on, grouped by source and licence."""
    split = find_data(folder, validation=recipe.data.validation)
    groups: dict[tuple[str, str], list[str]] = {}
    for paths in (split.training, split.images if recipe.data.image_segments else ()):
        known = read_provenance(paths[0].parent) if paths else {}
        for path in paths:
            origin = known.get(path.name, {})
            key = (origin.get("source_repo", "unknown"), origin.get("licence", "unknown"))
            groups.setdefault(key, []).append(path.name)
    return [
        {"source": source, "licence": licence, "files": files}
        for (source, licence), files in groups.items()
    ]


def to_onnx_bytes(fused: nn.Module) -> bytes:
    """One self-contained ONNX file with free height and width."""
    example = torch.zeros(1, PACKED_CHANNELS, 32, 48)
    free = {2: torch.export.Dim("h", min=1), 3: torch.export.Dim("w", min=1)}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            fused,
            (example,),
            input_names=["packed"],
            output_names=["residual"],
            dynamic_shapes=(free,),
            opset_version=OPSET,
            dynamo=True,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program")
    model = program.model_proto
    _strip(model)
    onnx.checker.check_model(model, full_check=True)
    seen = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if seen != OPSET:
        raise RuntimeError(f"the exporter wrote opset {seen}, wanted {OPSET}")
    blob: bytes = model.SerializeToString()
    return blob


def _strip(model: Any) -> None:
    """Removes what the exporter notes about its own source code: paths and stack traces."""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    model.doc_string = ""
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
