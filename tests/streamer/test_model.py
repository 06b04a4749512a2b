from __future__ import annotations

from pathlib import Path

import pytest

from streamer.errors import EngineError
from streamer.model import MODELS, Origin, TensorSpec, find_models, read_manifest
from tests.streamer.models import tiny, write_model


def test_a_manifest_says_what_its_model_takes_and_gives(tmp_path: Path) -> None:
    manifest = tiny(tmp_path, scale=3)
    assert manifest.inputs == (TensorSpec(name="packed", shape=(1, 6, "h", "w")),)
    assert manifest.outputs[0].shape == (1, 54, "h", "w")
    assert manifest.path == tmp_path / "tiny.onnx"
    assert manifest.verified_bytes() == manifest.path.read_bytes()


def test_a_model_that_is_not_the_manifests_is_refused(tmp_path: Path) -> None:
    manifest = tiny(tmp_path)
    data = bytearray(manifest.path.read_bytes())
    data[len(data) // 2] ^= 1
    manifest.path.write_bytes(data)
    with pytest.raises(EngineError, match=r"tiny\.onnx has sha256 .* damaged or foreign: install"):
        manifest.verified_bytes()


def test_a_manifest_without_its_model_is_refused(tmp_path: Path) -> None:
    manifest = tiny(tmp_path)
    manifest.path.unlink()
    with pytest.raises(EngineError, match=r"tiny\.onnx cannot be read .* it belongs beside"):
        manifest.verified_bytes()


@pytest.mark.parametrize("text", ["", "not JSON", "{}", "[]", "null", '{"inputs": 3}', "\ufeff{"])
def test_what_is_no_manifest_is_refused_by_name(text: str, tmp_path: Path) -> None:
    path = tmp_path / "sr.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(EngineError, match=r"^sr\.json is not a model manifest") as refusal:
        read_manifest(path)
    assert "\n" not in str(refusal.value)


def test_a_manifest_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="colour"):
        read_manifest(write_model(tmp_path, colour="red"))


def test_models_are_found_by_task_and_scale_costliest_first(tmp_path: Path) -> None:
    for name, scale, cost in (("a", 2, 10), ("b", 2, 900), ("c", 3, 50)):
        written = write_model(tmp_path, scale=scale, name=name, macs_per_pixel=cost)
        written.rename(tmp_path / f"{name}.json")
    found = find_models(tmp_path, task="super_resolution", scale=2)
    assert [manifest.name for manifest in found] == ["b", "a"]
    assert find_models(tmp_path, task="interpolation", scale=2) == ()


def test_a_variant_names_the_model_it_was_made_from(tmp_path: Path) -> None:
    origin = {"name": "sr-tiny-x2", "sha256": "ab"}
    variant = read_manifest(write_model(tmp_path, precision="fp16", origin=origin))
    assert variant.origin == Origin(name="sr-tiny-x2", sha256="ab")
    assert tiny(tmp_path).origin is None


def test_an_origin_that_says_nothing_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"tiny\.json is not a model manifest"):
        read_manifest(write_model(tmp_path, origin={"name": "sr-tiny-x2"}))


def test_every_shipped_model_is_the_one_of_its_manifest() -> None:
    manifests = [read_manifest(path) for path in sorted(MODELS.glob("*.json"))]
    assert all(manifest.verified_bytes() for manifest in manifests)
    assert {manifest.file for manifest in manifests} == {p.name for p in MODELS.glob("*.onnx")}
