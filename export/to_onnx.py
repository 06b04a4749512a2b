"""From a checkpoint to a shipped model: fused weights, one ONNX file, its manifest."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import onnx
import torch
from onnxscript import optimizer
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from export.checkpoint import checkpoint_path, read_checkpoint
from export.data.clips import find_data, read_provenance
from export.expected import with_expected
from export.model_file import origin_of, replace_file, with_quality, write_manifest
from export.networks import build_network
from export.networks.base import Network
from export.networks.cost import count_macs, count_parameters
from export.networks.super_resolution import PACKED_CHANNELS
from export.operators import OPSET, check_operators
from export.provenance import code_commit
from export.recipe import Recipe, recipe_from
from streamer.errors import ConfigError
from streamer.model import ModelManifest, TensorSpec
from streamer.ops.motion import GUIDE, MOTIONS, MULTIPLE, PICTURES

EXAMPLE_SIDE = 32
"""The first free dimension's size while tracing; each further one is 16 larger."""

ELEMENT_TYPES = {"float32": torch.float32, "float16": torch.float16}

Specs = tuple[TensorSpec, ...]
History = dict[str, Any]
"""``iterations`` of the recipe's own run, the ``earlier`` runs that it started from, and the
``commit`` of the code that trained it, where the checkpoint knows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exportable:
    """A network as it ships, and what its graph takes and gives: all that an export needs."""

    network: nn.Module
    """Fused, in evaluation mode; its inputs and outputs come in the order of the specs."""
    inputs: Specs
    outputs: Specs
    multiple: int = 1
    """Free dimensions are multiples of this."""


def _super_resolution_ports(recipe: Recipe) -> tuple[Specs, Specs]:
    outputs = PACKED_CHANNELS * recipe.scale**2
    return (
        (TensorSpec(name="packed", shape=(1, PACKED_CHANNELS, "h", "w")),),
        (TensorSpec(name="residual", shape=(1, outputs, "h", "w")),),
    )


def _motion_ports(recipe: Recipe) -> tuple[Specs, Specs]:
    del recipe  # interpolation and prediction are alike
    return (
        (
            TensorSpec(name="pictures", shape=(1, PICTURES, "2*h", "2*w")),
            TensorSpec(name="motion", shape=(1, MOTIONS, "h", "w")),
            TensorSpec(name="guide", shape=(1, GUIDE, "h", "w")),
        ),
        tuple(
            TensorSpec(name=name, shape=(1, channels, "h", "w"))
            for name, channels in (("flow", 4), ("mask", 1), ("softness", 1))
        ),
    )


def _following_ports(recipe: Recipe) -> tuple[Specs, Specs]:
    del recipe
    # A picture and a difference; shares of it, and residuals.
    channels = 2 * PACKED_CHANNELS
    return (
        (TensorSpec(name="followed", shape=(1, channels, "h", "w")),),
        (TensorSpec(name="change", shape=(1, channels, "h", "w")),),
    )


PORTS: Mapping[str, Callable[[Recipe], tuple[Specs, Specs]]] = {
    "super_resolution": _super_resolution_ports,
    "interpolation": _motion_ports,
    "prediction": _motion_ports,
    "denoising": _following_ports,
    "steadying": _following_ports,
}
"""Per task, what its networks take and give."""

MULTIPLES = {"interpolation": MULTIPLE // 2, "prediction": MULTIPLE // 2}
"""Per task, what its free dimensions are multiples of, where not any size will do."""


def load_averaged(work: Path, recipe: Recipe) -> tuple[Network, History]:
    """The averaged network of the recipe's run, and how it came to be.

    Raises ``ConfigError`` when there is no run.
    """
    path = checkpoint_path(work, recipe)
    if not path.exists():
        raise ConfigError(f"{work} has no checkpoint of {recipe.name}; train it first")
    network = build_network(recipe)
    state = read_checkpoint(path, recipe)
    network.load_state_dict(state["average"])
    history: History = {"iterations": state["iteration"], "earlier": state.get("earlier", [])}
    if state.get("commit"):
        history["commit"] = state["commit"]
    return network, history


def write_model(
    network: Network,
    recipe: Recipe,
    *,
    folder: Path,
    weights: Path,
    data: Sequence[Mapping[str, Any]] = (),
    history: History | None = None,
) -> ModelManifest:
    """Writes ``<name>.onnx`` and ``.json`` into ``folder``, the fused weights into ``weights``.

    Raises ``ConfigError`` when the graph holds what TensorRT would refuse; nothing is written then.
    """
    fused = network.fused()
    inputs, outputs = PORTS[recipe.task](recipe)
    exportable = Exportable(
        network=fused, inputs=inputs, outputs=outputs, multiple=MULTIPLES.get(recipe.task, 1)
    )
    blob = to_onnx_bytes(exportable, file=f"{recipe.name}.onnx")
    tensors = {key: value.contiguous() for key, value in fused.state_dict().items()}
    replace_file(weights / f"{recipe.name}.safetensors", save(tensors))
    replace_file(folder / f"{recipe.name}.onnx", blob)
    manifest = describe(
        fused, recipe, folder=folder, sha256=hashlib.sha256(blob).hexdigest(), data=data
    )
    manifest = with_expected(with_quality(manifest, {"training": history or {}}))
    write_manifest(manifest)
    return manifest


def describe(
    fused: nn.Module,
    recipe: Recipe,
    *,
    folder: Path,
    sha256: str,
    data: Sequence[Mapping[str, Any]],
) -> ModelManifest:
    """The manifest of a fused network, without measured quality."""
    inputs, outputs = PORTS[recipe.task](recipe)
    return ModelManifest(
        name=recipe.name,
        task=recipe.task,
        variant=recipe.variant,
        training=recipe.training,
        scale=recipe.scale,
        file=f"{recipe.name}.onnx",
        sha256=sha256,
        opset=OPSET,
        precision="fp32",
        inputs=inputs,
        outputs=outputs,
        multiple_of=2 * MULTIPLE if recipe.task in MULTIPLES else 2,
        parameters=count_parameters(fused),
        macs_per_pixel=_macs_per_pixel(fused, inputs),
        recipe=recipe.as_dict(),
        data=tuple(data),
        quality={},
        commit=code_commit(),
        folder=folder,
    )


COST_SIDE = 64
"""Height and width of the inputs that the cost is counted on."""


def _macs_per_pixel(fused: nn.Module, inputs: Specs) -> int:
    """Per pixel of the picture, which is twice as large as the inputs of every network here."""
    sizes = dict.fromkeys(_letters(inputs), COST_SIDE)
    given = [torch.zeros(spec.sized(sizes)) for spec in inputs]
    return round(count_macs(fused, given) / (2 * given[0].shape[-1]) ** 2)


def training_files(folder: Path, recipe: Recipe) -> list[dict[str, Any]]:
    """Every clip and image the network was trained on, grouped by source and licence."""
    split = find_data(folder, validation=recipe.data.validation)
    groups: dict[tuple[str, str], list[str]] = {}
    for paths in (split.training, split.images if recipe.uses_images else ()):
        known = read_provenance(paths[0].parent) if paths else {}
        for path in paths:
            origin = known.get(path.name, {})
            key = (origin.get("source_repo", "unknown"), origin.get("licence", "unknown"))
            groups.setdefault(key, []).append(path.name)
    return [
        {"source": source, "licence": licence, "files": files}
        for (source, licence), files in groups.items()
    ]


def load_fused(manifest: ModelManifest, weights: Path) -> nn.Module:
    """The fused float32 network whose weights ``<name>.safetensors`` in ``weights`` holds.

    Raises ``ConfigError`` naming the file when it is missing or holds another network.
    """
    origin = origin_of(manifest)
    try:
        recipe = recipe_from(origin.recipe)
    except ConfigError as error:
        raise ConfigError(f"{origin.name}.json: {error}") from error
    fused = build_network(recipe).fused()
    path = weights / f"{origin.name}.safetensors"
    try:
        fused.load_state_dict(load_file(path))
    except (OSError, RuntimeError, SafetensorError) as error:
        seen = "is missing" if not path.exists() else "holds other weights"
        raise ConfigError(
            f"{path.name} {seen}; {origin.name} can be checked and converted only with its own: "
            "name their folder with --weights or export it anew"
        ) from error
    return fused.eval()


def to_onnx_bytes(exportable: Exportable, *, file: str) -> bytes:
    """One self-contained ONNX file with the free dimensions that the specs name.

    Raises ``ConfigError`` naming ``file`` when the graph holds what TensorRT would refuse.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            exportable.network,
            examples(exportable.inputs),
            input_names=[spec.name for spec in exportable.inputs],
            output_names=[spec.name for spec in exportable.outputs],
            dynamic_shapes=_free_dimensions(exportable),
            opset_version=OPSET,
            dynamo=True,
        )
    assert program is not None, "the dynamo exporter gives a program or raises"
    model = optimizer.optimize(program.model_proto)
    _strip(model)
    onnx.checker.check_model(model, full_check=True)
    check_operators(model, file=file)
    blob: bytes = model.SerializeToString()
    return blob


def examples(specs: Specs) -> tuple[Tensor, ...]:
    """Zeros of the specs' shapes and types, as traced; letters stand for the same size in all."""
    sizes = {name: EXAMPLE_SIDE + 16 * index for index, name in enumerate(_letters(specs))}
    return tuple(torch.zeros(spec.sized(sizes), dtype=ELEMENT_TYPES[spec.dtype]) for spec in specs)


def _free_dimensions(exportable: Exportable) -> tuple[dict[int, Any], ...]:
    free = {name: torch.export.Dim(name, min=1) for name in _letters(exportable.inputs)}
    step = exportable.multiple
    return tuple(
        {
            axis: free[letter] if factor * step == 1 else factor * step * free[letter]
            for axis, (factor, letter) in enumerate(spec.factors())
            if letter
        }
        for spec in exportable.inputs
    )


def _letters(specs: Specs) -> list[str]:
    letters = [letter for spec in specs for _, letter in spec.factors() if letter]
    return list(dict.fromkeys(letters))


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
