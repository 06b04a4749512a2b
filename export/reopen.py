"""Shipped weights as the start of another training run."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from export.checkpoint import State, check_start
from export.networks import build_network
from export.networks.rep_conv import RepConv
from export.networks.super_resolution import ContrastHead, FusedSuperResolution, SuperResolution
from export.recipe import NetworkRecipe, Recipe, recipe_from
from export.to_onnx import load_fused
from streamer.errors import ConfigError
from streamer.model import MODELS, read_manifest

SIZES = ("channels", "depth", "expansion")
"""What a network may have more of than the one that it starts from."""


def read_weights(path: Path, recipe: Recipe) -> State:
    """The fused weights at ``path`` as what ``checkpoint.read_start`` gives of a checkpoint.

    Their manifest lies beside them or among the shipped models. What fusing added up is opened
    again: the 3x3 branches take the shipped kernels less the other branches, which are new.
    Where the recipe's network has more channels or layers, it begins at what the smaller one gives.
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
    grows = _may_grow(theirs.network, recipe.network)
    if grows:
        network = grown(network, recipe)
    training = manifest.quality.get("training", {})
    state: State = {
        "recipe": theirs.as_dict(),
        "iteration": training.get("iterations", 0),
        "earlier": training.get("earlier", []),
        "network": network.state_dict(),
        "average": network.state_dict(),
    }
    check_start(path, state, recipe, free=SIZES if grows else ())
    return state


def _may_grow(small: object, large: object) -> bool:
    if not isinstance(small, NetworkRecipe) or not isinstance(large, NetworkRecipe):
        return False
    sizes = [(getattr(small, name), getattr(large, name)) for name in SIZES]
    return small.scale == large.scale and all(a <= b for a, b in sizes) and small != large


@torch.no_grad()
def grown(small: SuperResolution, recipe: Recipe) -> SuperResolution:
    """The recipe's network, made to give what ``small`` gives, which has no more channels and layers.

    Its other weights follow torch's seed. The channels that are new compute something from the
    start and nobody listens to them; the layers that are new, after the others, pass on what they
    get, which a ReLU has made positive (the idea: Chen, Goodfellow and Shlens, Net2Net, 2016).
    """
    large = build_network(recipe)
    assert isinstance(large, SuperResolution)
    _embed(small.head.kernel(), small.head.bias, large.head)
    passes_on = torch.zeros(small.channels, small.channels, 3, 3)
    passes_on[:, :, 1, 1] = torch.eye(small.channels)
    kept = [layer for layer in small.body if isinstance(layer, RepConv)]
    known: list[tuple[Tensor, Tensor]] = [(layer.kernel(), layer.bias) for layer in kept]
    known += [(passes_on, torch.zeros(small.channels))] * (large.depth - small.depth)
    for (kernel, bias), layer in zip(known, large.body, strict=True):
        assert isinstance(layer, RepConv)
        _embed(kernel, bias, layer)
    _embed(small.tail.kernel(), small.tail.bias, large.tail)
    return large


def _embed(kernel: Tensor, bias: Tensor, layer: RepConv | ContrastHead) -> None:
    """The layer's first outputs become ``kernel``'s and see none of its further inputs."""
    outputs, inputs = kernel.shape[:2]
    wide, biases = layer.kernel().clone(), layer.bias.clone()
    wide[:outputs] = 0.0
    wide[:outputs, :inputs], biases[:outputs] = kernel, bias
    layer.take(wide, biases)
