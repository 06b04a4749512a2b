"""Shipped weights as the start of another training run."""

from __future__ import annotations

from pathlib import Path

from export.checkpoint import State, check_start
from export.networks import build_network
from export.networks.super_resolution import FusedSuperResolution, SuperResolution
from export.recipe import Recipe, recipe_from
from export.to_onnx import load_fused
from streamer.errors import ConfigError
from streamer.model import MODELS, read_manifest


def read_weights(path: Path, recipe: Recipe) -> State:
    """The fused weights at ``path`` as what ``checkpoint.read_start`` gives of a checkpoint.

    Their manifest lies beside them or among the shipped models. What fusing added up is opened
    again: the 3x3 branches take the shipped kernels less the other branches, which are new.
    Raises ``ConfigError`` when the weights are of another network than the recipe's, or no
    super-resolution's.
    """
    name = f"{path.stem}.json"
    manifest = read_manifest((path.parent if (path.parent / name).exists() else MODELS) / name)
    fused = load_fused(manifest, path.parent)
    theirs = recipe_from(manifest.recipe)
    network = build_network(theirs)
    if not isinstance(network, SuperResolution) or not isinstance(fused, FusedSuperResolution):
        raise ConfigError(
            f"{path.name} is for {manifest.task}; only weights of super_resolution can be trained "
            "on, others from their checkpoint"
        )
    network.take(fused)
    training = manifest.quality.get("training", {})
    state: State = {
        "recipe": theirs.as_dict(),
        "iteration": training.get("iterations", 0),
        "earlier": training.get("earlier", []),
        "network": network.state_dict(),
        "average": network.state_dict(),
    }
    check_start(path, state, recipe)
    return state
