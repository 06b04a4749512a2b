"""From network to model file and back through ONNX Runtime."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import save_file

from export.evaluate import evaluate
from export.networks import build_network
from export.networks.super_resolution import SuperResolution
from export.pictures import write_comparisons
from export.quantise import quantise
from export.recipe import Recipe
from export.to_onnx import training_files, write_model
from export.upscalers import network_upscaler, residual_upscaler
from export.verify import model_residual, verify
from streamer.errors import ConfigError, EngineError
from streamer.model import ModelManifest, find_models, read_manifest
from tests.export.tiny import moving_picture, tiny_recipe


@pytest.fixture(scope="session")
def network() -> SuperResolution:
    torch.manual_seed(0)
    return build_network(tiny_recipe().network)


@pytest.fixture(scope="session")
def exported(network: SuperResolution, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    write_model(network, tiny_recipe(), folder=folder, weights=folder)
    return folder


@pytest.fixture
def manifest(exported: Path, tmp_path: Path) -> ModelManifest:
    """A copy of the exported model that a test may spoil."""
    shutil.copytree(exported, tmp_path, dirs_exist_ok=True)
    return read_manifest(tmp_path / f"{tiny_recipe().name}.json")


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
    manifest: ModelManifest, network: SuperResolution, tmp_path: Path
) -> None:
    verdict = verify(manifest, tmp_path / f"{manifest.name}.safetensors")
    assert verdict.largest < 0.01
    planes = moving_picture(0, width=48, height=32, seed=1)
    expected = network_upscaler(network)(planes)
    seen = residual_upscaler(model_residual(manifest), scale=2)(planes)
    assert seen.y.shape == (64, 96)
    assert np.abs(seen.y.astype(int) - expected.y).max() <= 1
    assert np.abs(seen.v.astype(int) - expected.v).max() <= 1


def test_weights_of_another_network_do_not_verify(manifest: ModelManifest, tmp_path: Path) -> None:
    other = build_network(tiny_recipe().network).fused()
    foreign = tmp_path / "foreign.safetensors"
    save_file(other.state_dict(), foreign)
    with pytest.raises(ConfigError, match="differs from torch"):
        verify(manifest, foreign)
    with pytest.raises(ConfigError, match="does not hold"):
        verify(manifest, tmp_path / "missing.safetensors")


def test_a_changed_model_file_is_refused(manifest: ModelManifest, tmp_path: Path) -> None:
    manifest.path.write_bytes(manifest.verified_bytes() + b"\0")
    with pytest.raises(EngineError, match="sha256"):
        verify(manifest, tmp_path / f"{manifest.name}.safetensors")


def test_the_int8_variant_computes_nearly_the_same_and_ships_beside_the_fp32_model(
    manifest: ModelManifest, data_folder: Path, tmp_path: Path
) -> None:
    path = quantise(manifest, data_folder, report=lambda line: None)
    variant = read_manifest(path)
    assert (variant.name, variant.precision) == (f"{manifest.name}-int8", "int8")
    operators = {
        node.op_type for node in onnx.load_from_string(variant.verified_bytes()).graph.node
    }
    assert {"QuantizeLinear", "DequantizeLinear", "Conv"} <= operators
    assert 0 < verify(variant, tmp_path / f"{manifest.name}.safetensors").share < 0.25
    assert max(variant.quality["lost_against_fp32_db"].values()) <= 0.15
    models = find_models(tmp_path, task="super_resolution", scale=2)
    assert {model.precision for model in models} == {"fp32", "int8"}
    with pytest.raises(ConfigError, match="is int8"):
        quantise(variant, data_folder, report=lambda line: None)


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
