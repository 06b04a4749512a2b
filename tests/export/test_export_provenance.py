"""A manifest says which state of the code wrote its model."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from export.model_file import held_out_names, origin_of
from export.provenance import code_commit
from streamer.model import MODELS, ModelManifest, read_manifest
from tests.programs import needs

SHIPPED = [read_manifest(path) for path in sorted(MODELS.glob("*.json"))]


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.com"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    (folder / "streamer" / "models").mkdir(parents=True)
    (folder / "code.py").write_text("one = 1\n", encoding="utf-8")
    git(tmp_path, "init", "--quiet", str(folder))
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "first")
    return folder


@needs("git")
def test_clean_code_is_named_by_its_commit(checkout: Path) -> None:
    commit = code_commit(checkout)
    assert commit is not None
    assert len(commit) == 12
    assert git(checkout, "rev-parse", "HEAD").startswith(commit)


@needs("git")
def test_changed_code_is_marked(checkout: Path) -> None:
    before = code_commit(checkout)
    (checkout / "code.py").write_text("one = 2\n", encoding="utf-8")
    assert code_commit(checkout) == f"{before}+"


@needs("git")
def test_code_that_is_not_yet_known_to_git_is_marked(checkout: Path) -> None:
    before = code_commit(checkout)
    (checkout / "more.py").write_text("two = 2\n", encoding="utf-8")
    assert code_commit(checkout) == f"{before}+"


@needs("git")
def test_models_that_were_just_written_do_not_make_the_code_another(checkout: Path) -> None:
    before = code_commit(checkout)
    (checkout / "streamer" / "models" / "new.onnx").write_bytes(b"model")
    (checkout / "MODELS.md").write_text("page", encoding="utf-8")
    assert code_commit(checkout) == before


@needs("git")
def test_outside_of_git_there_is_no_commit(tmp_path: Path, checkout: Path) -> None:
    assert code_commit(tmp_path) is None
    # A package installed below somebody's own checkout is not of that commit.
    installed = checkout / "site-packages"
    installed.mkdir()
    assert code_commit(installed) is None


def test_a_manifest_keeps_out_what_it_does_not_know(
    manifest: ModelManifest, tmp_path: Path
) -> None:
    raw = json.loads((tmp_path / f"{manifest.name}.json").read_text(encoding="utf-8"))
    assert "origin" not in raw
    assert "data" not in raw
    assert ("commit" in raw) == (code_commit() is not None)


def test_a_variant_leads_to_the_recipe_and_the_data_of_its_origin(
    manifest: ModelManifest, half_variant: ModelManifest, tmp_path: Path
) -> None:
    raw = json.loads((tmp_path / f"{half_variant.name}.json").read_text(encoding="utf-8"))
    assert "recipe" not in raw
    assert origin_of(half_variant).recipe == manifest.recipe
    assert held_out_names(half_variant) == ("beta",)


@pytest.mark.parametrize("manifest", SHIPPED, ids=lambda manifest: str(manifest.name))
def test_every_shipped_model_names_its_recipe_and_its_licensed_data(
    manifest: ModelManifest,
) -> None:
    origin = origin_of(manifest)
    assert origin.recipe["name"] == origin.name
    assert origin.quality["training"]["iterations"] > 0
    assert sum(len(entry["files"]) for entry in origin.data) > 0
    assert all(entry["licence"] not in {"", "unknown"} for entry in origin.data)
    named = {name for entry in origin.data for name in entry["files"]}
    held_out = held_out_names(manifest)
    assert held_out
    assert not any(name.startswith(held_out) for name in named)
