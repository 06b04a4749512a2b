"""From network to model file and back through ONNX Runtime."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from export.evaluate import evaluate, evaluate_cost
from export.networks import build_network
from export.networks.super_resolution import SuperResolution
from export.pictures import write_comparisons
from export.recipe import Recipe
from export.runner import model_residual
from export.to_onnx import training_files, write_model
from export.upscalers import network_upscaler, residual_upscaler
from streamer.clock import MonotonicClock
from streamer.errors import ConfigError
from streamer.model import ModelManifest, find_models, read_manifest
from tests.export.tiny import moving_picture, tiny_recipe


def test_the_model_is_one_opset_18_file_with_free_height_and_width(
    manifest: ModelManifest,
) -> None:
    model = onnx.load_from_string(manifest.verified_bytes())
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    (packed,), (residual,) = model.graph.input, model.graph.output
    assert (packed.name, residual.name) == ("packed", "residual")
    assert [d.dim_param or d.dim_value for d in packed.type.tensor_type.shape.dim] == [
        1,
        6,
        "h",
        "w",
    ]


def test_the_model_file_names_no_path_of_the_machine_that_made_it(
    manifest: ModelManifest,
) -> None:
    blob = manifest.verified_bytes()
    assert b".py" not in blob
    assert str(Path.home()).encode() not in blob or Path.home() == Path("/")


def test_the_manifest_reads_back_as_written(manifest: ModelManifest, tmp_path: Path) -> None:
    again = read_manifest(tmp_path / f"{manifest.name}.json")
    assert again.sha256 == manifest.sha256
    assert again.inputs == manifest.inputs
    assert again.outputs == manifest.outputs
    assert find_models(tmp_path, task="super_resolution", scale=2) == (again,)


def test_onnx_runtime_and_torch_enhance_alike(
    manifest: ModelManifest, network: SuperResolution
) -> None:
    planes = moving_picture(0, width=48, height=32, seed=1)
    expected = network_upscaler(network)(planes)
    seen = residual_upscaler(model_residual(manifest), scale=2)(planes)
    assert seen.y.shape == (64, 96)
    assert np.abs(seen.y.astype(int) - expected.y).max() <= 1
    assert np.abs(seen.v.astype(int) - expected.v).max() <= 1


def test_evaluation_writes_gains_over_the_plain_upscales(
    manifest: ModelManifest, data_folder: Path, tmp_path: Path
) -> None:
    lines: list[str] = []
    evaluate(manifest, data_folder, report=lines.append)
    quality = read_manifest(tmp_path / f"{manifest.name}.json").quality
    clean = quality["held_out_clips"]["clean"]
    assert set(clean) == {"bicubic", "lanczos", "model"}
    assert set(quality["held_out_clips_gain_db"]) == {"beta_1"}
    assert any("x264_crf33" in line for line in lines)


def test_where_nothing_is_enlarged_gains_are_over_the_input_and_undamaged_pictures_are_compared(
    data_folder: Path, tmp_path: Path
) -> None:
    recipe = tiny_recipe(scale=1)
    torch.manual_seed(0)
    network = build_network(recipe)
    assert isinstance(network, SuperResolution)
    with torch.no_grad():
        network.tail.bias[:4] = 1 / 219
    model = write_model(network, recipe, folder=tmp_path, weights=tmp_path)
    evaluate(model, data_folder, report=lambda line: None)
    quality = read_manifest(tmp_path / f"{model.name}.json").quality
    held_out = quality["held_out_clips"]
    assert set(held_out) == {"x264_crf23", "x264_crf28", "x264_crf33"}
    assert all(set(row) == {"input", "model"} for row in held_out.values())
    # All of luma is about one code brighter.
    assert quality["undamaged_changed_codes"]["beta_1"] == pytest.approx(1.0, abs=0.5)


def test_the_cost_is_noted_with_what_it_was_measured_on_and_kept_by_an_evaluation(
    manifest: ModelManifest, data_folder: Path, tmp_path: Path
) -> None:
    timed = evaluate_cost(manifest, clock=MonotonicClock(), report=lambda line: None)
    evaluate(timed, data_folder, report=lambda line: None)
    cost = read_manifest(tmp_path / f"{manifest.name}.json").quality["cost"]
    assert 0 < cost["p50_ms"] <= cost["p95_ms"]
    assert cost["picture"] == "640x360"
    assert cost["processor"]
    assert "ONNX Runtime" in cost["runtime"]


def test_the_cost_of_fp16_on_a_processor_says_nothing(
    manifest: ModelManifest,
) -> None:
    half = replace(manifest, precision="fp16")
    with pytest.raises(ConfigError, match="leave out --cost"):
        evaluate_cost(half, clock=MonotonicClock(), report=lambda line: None)


def test_comparison_pictures_are_written_per_held_out_clip(
    manifest: ModelManifest, data_folder: Path, tmp_path: Path
) -> None:
    pictures = write_comparisons(manifest, data_folder, tmp_path / "pictures")
    assert [path.name for path in pictures] == ["00-beta_1-x264_crf28.png"]


def test_the_training_files_carry_their_licences(data_folder: Path, recipe: Recipe) -> None:
    files = training_files(data_folder, recipe)
    assert files == [
        {"source": "someone/clips", "licence": "CC0-1.0", "files": ["alpha_1.mp4"]},
        {"source": "unknown", "licence": "unknown", "files": ["alpha_2.mp4"]},
    ]
