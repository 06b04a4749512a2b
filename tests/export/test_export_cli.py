"""The offline command line answers bad input with one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.cli import main

RECIPE = """
name = "sr-tiny"
variant = "tiny"
training = "live"
[network]
scale = 2
channels = 8
[train]
iterations = 3
"""


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert code == 2
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_an_empty_data_folder_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, recipe_file: Path
) -> None:
    (tmp_path / "data").mkdir()
    message = refused(capsys, "train", recipe_file, "--data", tmp_path / "data")
    assert "no training clips" in message


def test_a_missing_data_folder_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, recipe_file: Path
) -> None:
    message = refused(capsys, "train", recipe_file, "--data", tmp_path / "nowhere")
    assert "not a folder" in message


def test_a_missing_recipe_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "no_such" in refused(capsys, "train", "no_such", "--data", tmp_path)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("colour = 3", "colour"),
        ("iterations = ", "TOML"),
    ],
)
def test_a_wrong_recipe_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, recipe_file: Path, line: str, named: str
) -> None:
    recipe_file.write_text(RECIPE + line, encoding="utf-8")
    assert named in refused(capsys, "train", recipe_file, "--data", tmp_path)


def test_exporting_before_training_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, recipe_file: Path
) -> None:
    message = refused(
        capsys, "onnx", recipe_file, "--data", tmp_path, "--work", tmp_path, "--models", tmp_path
    )
    assert "train it first" in message


def test_verifying_a_model_that_is_not_there_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert "nothing.json" in refused(capsys, "verify", "nothing", "--models", tmp_path)


def test_an_fp16_variant_without_weights_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    message = refused(capsys, "half", "sr-nano-x2-live", "--weights", tmp_path)
    assert "sr-nano-x2-live.safetensors is missing" in message


def test_no_thread_at_all_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, recipe_file: Path
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["train", str(recipe_file), "--data", str(tmp_path), "--threads", "0"])
    assert "--threads: '0' is not a whole number of at least 1" in capsys.readouterr().err
