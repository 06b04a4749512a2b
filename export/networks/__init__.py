"""The trainable networks and the table that names them."""

from __future__ import annotations

from export.networks.super_resolution import SuperResolution
from export.recipe import NetworkRecipe


def build_network(recipe: NetworkRecipe) -> SuperResolution:
    """A freshly initialised network of the recipe's size; its weights follow torch's seed."""
    return SuperResolution(
        scale=recipe.scale,
        channels=recipe.channels,
        depth=recipe.depth,
        expansion=recipe.expansion,
    )
