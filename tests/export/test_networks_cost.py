"""What the shipped recipes' networks cost, counted while they run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from export.cli import WEIGHTS
from export.networks import build_network
from export.networks.cost import count_macs, count_parameters
from export.recipe import Recipe, read_recipe, recipe_from
from export.to_onnx import describe, load_fused
from streamer.model import MODELS, ModelManifest, read_manifest

RECIPES = Path(__file__).parents[2] / "export" / "recipes"

COSTS = {
    "sr_nano_x1_live_first": (11_030, 2_736),
    "sr_nano_x1_live": (11_030, 2_736),
    "sr_nano_x2_live_first": (13_640, 3_384),
    "sr_nano_x2_live": (13_640, 3_384),
    "sr_nano_x3_live": (17_990, 4_464),
    "sr_nano_x4_live": (24_080, 5_976),
    "sr_lite_x1_live_first": (49_734, 12_384),
    "sr_lite_x1_live": (49_734, 12_384),
    "sr_lite_x2_live_first": (45_688, 11_376),
    "sr_lite_x2_live": (45_688, 11_376),
    "sr_lite_x3_live_first": (54_358, 13_536),
    "sr_lite_x3_live": (54_358, 13_536),
    "sr_lite_x4_live_first": (66_496, 16_560),
    "sr_lite_x4_live": (66_496, 16_560),
    "sr_lite_x2_clean_first": (64_184, 15_984),
    "sr_lite_x2_clean_second": (64_184, 15_984),
    "sr_lite_x2_clean": (64_184, 15_984),
    "sr_medium_x1_live": (171_510, 42_768),
    "sr_medium_x3_live": (192_294, 47_952),
    "sr_medium_x4_live": (210_480, 52_488),
    "sr_medium_x2_clean_first": (179_304, 44_712),
    "sr_medium_x2_clean_second": (179_304, 44_712),
    "sr_medium_x2_clean": (179_304, 44_712),
    "sr_medium_x2_live": (179_304, 44_712),
    "sr_full_x1_live": (376_262, 93_888),
    "sr_full_x2_live": (386_648, 96_480),
    "sr_full_x2_live_first": (386_648, 96_480),
    "sr_full_x3_live": (403_958, 100_800),
    "sr_full_x4_live": (428_192, 106_848),
    "sr_full_x2_clean_second": (386_648, 96_480),
    "sr_full_x2_clean": (386_648, 96_480),
    "sr_full_x2_clean_first": (386_648, 96_480),
    "interpolation_lite": (105_983, 842),
    "interpolation_full": (652_303, 4_698),
    "prediction_lite": (105_983, 842),
    "prediction_full": (652_303, 4_698),
    "denoise_lite": (10_444, 2_592),
    "steady_lite_first": (10_444, 2_592),
    "steady_lite": (10_444, 2_592),
}
"""Parameters, and multiply-accumulates per pixel of the input picture."""

ALLOWED_MACS = {
    "sr_lite_x4_live_first": 17_000,
    "sr_lite_x4_live": 17_000,
    "sr_lite_x2_clean": 16_000,
    "sr_medium_x1_live": 45_000,
    "sr_medium_x2_clean_first": 45_000,
    "sr_medium_x2_clean_second": 45_000,
    "sr_medium_x2_clean": 45_000,
    "sr_medium_x2_live": 45_000,
    "sr_medium_x3_live": 48_000,
    "sr_medium_x4_live": 53_000,
    "sr_full_x1_live": 108_000,
    "sr_full_x2_live": 108_000,
    "sr_full_x2_live_first": 108_000,
    "sr_full_x3_live": 108_000,
    "sr_full_x4_live": 108_000,
    "sr_full_x2_clean_second": 108_000,
    "sr_full_x2_clean": 108_000,
    "sr_full_x2_clean_first": 108_000,
    "interpolation_lite": 1_000,
    "interpolation_full": 5_000,
    "prediction_lite": 1_000,
    "prediction_full": 5_000,
    "denoise_lite": 3_000,
    "steady_lite_first": 3_000,
    "steady_lite": 3_000,
}
"""What the networks are sold with, or published ones of their class cost."""


def manifest_of(recipe: Recipe) -> ModelManifest:
    fused = build_network(recipe).fused()
    return describe(fused, recipe, folder=Path(), sha256="", data=())


def test_every_recipe_has_its_cost_written_down() -> None:
    assert {path.stem for path in RECIPES.glob("*.toml")} == set(COSTS)


@pytest.mark.parametrize("name", COSTS)
def test_a_recipes_network_costs_what_is_written_down(name: str) -> None:
    manifest = manifest_of(read_recipe(RECIPES / f"{name}.toml"))
    assert (manifest.parameters, manifest.macs_per_pixel) == COSTS[name]
    assert manifest.macs_per_pixel <= ALLOWED_MACS.get(name, 16_000)


def test_a_live_network_of_the_same_name_costs_less_than_a_clean_one() -> None:
    assert COSTS["sr_lite_x2_live"][1] < COSTS["sr_lite_x2_clean"][1]


@pytest.mark.parametrize("name", [name for name in COSTS if name.startswith(("inter", "pred"))])
def test_the_cost_of_a_made_frame_is_counted_per_pixel_of_the_full_picture(name: str) -> None:
    fused = build_network(read_recipe(RECIPES / f"{name}.toml")).fused()
    # Pictures at a half, motions and guide at a quarter of 256x192.
    given = [torch.zeros(1, 6, 96, 128), torch.zeros(1, 5, 48, 64), torch.zeros(1, 6, 48, 64)]
    assert round(count_macs(fused, given) / (192 * 256)) == COSTS[name][1]


def test_macs_are_kernel_size_times_outputs_and_parameters_all_numbers() -> None:
    layers = nn.Sequential(nn.Conv2d(3, 5, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(5, 2, 1))
    # 5 * 4 * 4 outputs of 27 products each, then 2 * 4 * 4 of 5.
    assert count_macs(layers, [torch.zeros(1, 3, 8, 8)]) == 80 * 27 + 32 * 5
    assert count_parameters(layers) == (3 * 5 * 9 + 5) + (5 * 2 + 2)
    assert not any(layer._forward_hooks for layer in layers)


@pytest.mark.parametrize("path", sorted(WEIGHTS.glob("*.safetensors")), ids=lambda path: path.stem)
def test_shipped_weights_fit_the_network_of_their_manifest(path: Path) -> None:
    manifest = read_manifest(MODELS / f"{path.stem}.json")
    fused = load_fused(manifest, WEIGHTS)
    seen = describe(fused, recipe_from(manifest.recipe), folder=Path(), sha256="", data=())
    assert seen.parameters == manifest.parameters
    assert seen.macs_per_pixel == manifest.macs_per_pixel
