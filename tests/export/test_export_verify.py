"""A network's shipped files against torch, all precisions in one call."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file

from export.cli import WEIGHTS, main
from export.model_file import write_manifest
from export.networks import build_network
from export.quantise import quantise
from export.to_onnx import load_fused
from export.verify import Row, check, compare, verify
from streamer.errors import ConfigError, EngineError
from streamer.model import MODELS, ModelManifest, read_manifest
from tests.export.tiny import tiny_recipe

NETWORKS = [
    manifest
    for manifest in map(read_manifest, sorted(MODELS.glob("*.json")))
    if manifest.origin is None
]


def quiet(line: str) -> None:
    """Nobody listens."""


def rewrite(manifest: ModelManifest, **changes: Any) -> None:
    """Other values in the manifest's file."""
    path = manifest.folder / f"{manifest.name}.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**raw, **changes}), encoding="utf-8")


@pytest.mark.parametrize("manifest", NETWORKS, ids=lambda manifest: str(manifest.name))
def test_every_shipped_network_computes_what_torch_does_in_every_precision(
    manifest: ModelManifest,
) -> None:
    rows = verify(manifest, WEIGHTS)
    check(rows)
    # fp16 only where it stays within what is allowed; clean networks are run by nothing but
    # comparisons.
    needed = {"fp32"} if manifest.training == "clean" else {"fp32", "int8"}
    assert {row.precision for row in rows} >= needed


def test_all_precisions_are_compared_in_one_call_on_real_frames(
    manifest: ModelManifest,
    half_variant: ModelManifest,
    data_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    del half_variant  # it lies beside
    quantise(manifest, data_folder, report=quiet)
    places = ["--models", str(tmp_path), "--weights", str(tmp_path), "--data", str(data_folder)]
    assert main(["verify", f"{manifest.name}-int8", *places]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        f"{manifest.name}.onnx",
        f"{manifest.name}-fp16.onnx",
        f"{manifest.name}-fp16.onnx",
        f"{manifest.name}-int8.onnx",
    ]
    assert all("allowed" in line for line in lines)


def test_drawn_and_real_frames_are_not_the_same(
    manifest: ModelManifest, data_folder: Path, tmp_path: Path
) -> None:
    drawn = verify(manifest, tmp_path)
    real = verify(manifest, tmp_path, data=data_folder)
    assert drawn[0].is_within
    assert real[0].is_within
    assert drawn[0].rms != real[0].rms


def test_a_difference_beyond_the_limit_is_an_error_that_names_the_file() -> None:
    far = Row(file="far.onnx", precision="fp16", largest=0.7, rms=0.01, size=1.0)
    near = replace(far, file="near.onnx", largest=0.1)
    broken = replace(far, file="broken.onnx", largest=np.nan, rms=np.nan)
    check([near])
    with pytest.raises(ConfigError) as refusal:
        check([near, far, broken])
    assert "far.onnx by 0.7000" in str(refusal.value)
    assert "broken.onnx" in str(refusal.value)
    assert "near.onnx" not in str(refusal.value)


def test_int8_may_round_to_whole_code_values_but_not_err_by_a_quarter_more() -> None:
    soft = Row(file="soft.onnx", precision="int8", largest=0.5, rms=0.28, size=0.5)
    assert soft.share > soft.limit.share
    assert soft.is_within
    assert not replace(soft, rms=0.4).is_within
    assert not replace(soft, rms=2.6, size=10.0).is_within
    assert replace(soft, rms=2.4, size=10.0).is_within


def test_weights_of_another_network_do_not_verify(manifest: ModelManifest, tmp_path: Path) -> None:
    other = build_network(tiny_recipe()).fused()
    save_file(other.state_dict(), tmp_path / f"{manifest.name}.safetensors")
    with pytest.raises(ConfigError, match=rf"differs from torch .*: {manifest.name}\.onnx by"):
        check(verify(manifest, tmp_path))


def test_weights_of_another_size_are_refused_by_name(
    manifest: ModelManifest, tmp_path: Path
) -> None:
    other = build_network(tiny_recipe(channels=16)).fused()
    save_file(other.state_dict(), tmp_path / f"{manifest.name}.safetensors")
    with pytest.raises(ConfigError, match=rf"^{manifest.name}\.safetensors holds other weights"):
        verify(manifest, tmp_path)


def test_missing_weights_are_refused_by_name(manifest: ModelManifest, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"^{manifest.name}\.safetensors is missing"):
        verify(manifest, tmp_path / "nowhere")


def test_a_changed_model_file_is_refused(manifest: ModelManifest, tmp_path: Path) -> None:
    manifest.path.write_bytes(manifest.verified_bytes() + b"\0")
    with pytest.raises(EngineError, match=rf"^{manifest.name}\.onnx has sha256"):
        verify(manifest, tmp_path)


def test_a_file_that_is_no_model_is_refused_by_name(
    manifest: ModelManifest, tmp_path: Path
) -> None:
    manifest.path.write_bytes(b"not a model")
    digest = hashlib.sha256(b"not a model").hexdigest()
    with pytest.raises(ConfigError, match=rf"^{manifest.name}\.onnx is no model that ONNX"):
        compare(load_fused(manifest, tmp_path), [replace(manifest, sha256=digest)], [])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": {}}, "names neither a recipe nor the model it was made from"),
        ({"recipe": {"colour": "red"}}, "colour"),
        ({"precision": "int2"}, "has the precision 'int2', known are fp32, fp16, int8"),
        ({"task": "cooking"}, "is for the task 'cooking'"),
        ({"outputs": [{"name": "flow", "shape": [1, 24, "h", "w"]}]}, "says float32 flow"),
        (
            {"inputs": [{"name": "packed", "shape": [1, 6, "h", "w"], "dtype": "float16"}]},
            "says float16 packed",
        ),
    ],
)
def test_a_foreign_manifest_is_refused_by_name(
    manifest: ModelManifest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    message: str,
) -> None:
    rewrite(manifest, **changes)
    places = ["--models", str(tmp_path), "--weights", str(tmp_path)]
    assert main(["verify", manifest.name, *places]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert f"{manifest.name}.json" in said
    assert said.count("\n") == 1


def test_a_variant_of_another_model_than_the_one_beside_it_is_refused(
    manifest: ModelManifest, half_variant: ModelManifest, tmp_path: Path
) -> None:
    variant = half_variant
    assert variant.origin is not None
    write_manifest(replace(variant, origin=replace(variant.origin, sha256="0" * 64)))
    with pytest.raises(ConfigError, match=rf"^{variant.name}\.json was made from .* 000000000000…"):
        verify(read_manifest(tmp_path / f"{variant.name}.json"), tmp_path)
    with pytest.raises(ConfigError, match=rf"^{variant.name}\.json was made from"):
        verify(manifest, tmp_path)
