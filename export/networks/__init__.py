"""The trainable networks and the table that names them."""

from __future__ import annotations

from export.networks.base import Network
from export.networks.denoiser import Denoiser
from export.networks.motion import MotionNetwork
from export.networks.super_resolution import SuperResolution
from export.recipe import DenoiserRecipe, NetworkRecipe, Recipe


def build_network(recipe: Recipe) -> Network:
    """A freshly initialised network of the recipe's size; its weights follow torch's seed."""
    size = recipe.network
    if isinstance(size, NetworkRecipe):
        return SuperResolution(
            scale=size.scale,
            channels=size.channels,
            depth=size.depth,
            expansion=size.expansion,
            long_skip=size.long_skip,
            sees_contrast=size.sees_contrast,
            residual_gain=size.residual_gain,
            residual_limit=size.residual_limit,
        )
    if isinstance(size, DenoiserRecipe):
        return Denoiser(channels=size.channels, depth=size.depth, expansion=size.expansion)
    fine, coarse = size.channels
    return MotionNetwork(channels=(fine, coarse), depth=size.depth)
