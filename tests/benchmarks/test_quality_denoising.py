"""Denoising judged beside FFmpeg's filters, on a drawn clip."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality import command
from benchmarks.quality.denoising import CONDITIONS, FILTERS
from benchmarks.quality.filters import why_missing
from streamer.errors import ConfigError
from tests.benchmarks.drawn import panned, write_clip
from tests.programs import needs


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("denoising")
    write_clip(folder / "pan.mkv", [panned(2 * n) for n in range(6)])
    return folder


def judged(clips: Path, out: Path, *arguments: str) -> dict[str, dict[str, dict[str, float]]]:
    """By condition and method, the averages that were written."""
    command.main(["--task", "denoising", "--data", str(clips), "--out", str(out), *arguments])
    whole = json.loads(out.read_text(encoding="utf-8"))
    return {average["condition"]: average["methods"] for average in whole["averages"]}


@needs("ffmpeg")
def test_models_and_filters_are_judged_on_the_same_pictures(clips: Path, tmp_path: Path) -> None:
    means = judged(clips, tmp_path / "out.json", "--condition", "noise 5", "--condition", "clean")
    there = [name for name in FILTERS if not why_missing(name.partition("=")[0])]
    for condition in ("noise 5", "clean"):
        assert {"input", "denoise-lite", "denoise-lite-int8", *there} <= means[condition].keys()
    noisy = means["noise 5"]
    assert noisy["input"]["psnr_y"] == pytest.approx(34.2, abs=0.4)
    assert noisy["denoise-lite-int8"]["psnr_y"] > noisy["input"]["psnr_y"] + 1.5
    assert noisy["denoise-lite"]["psnr_y"] == pytest.approx(
        noisy["denoise-lite-int8"]["psnr_y"], abs=0.15
    )
    # Nothing was done to these.
    assert means["clean"]["input"]["psnr_y"] == 99.0
    assert np.isfinite(noisy["denoise-lite-int8"]["ms"])


def test_without_ffmpeg_its_filters_are_left_out_and_said_so(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    means = judged(clips, tmp_path / "out.json", "--condition", "noise 2", "--frames", "2")
    assert not means["noise 2"].keys() & set(FILTERS)
    assert "left out: hqdn3d: the program ffmpeg is not on PATH" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("task", "condition"), [("denoising", "papers"), ("sr", "noise 5"), ("concealment", "clean")]
)
def test_conditions_of_other_tasks_are_refused(
    clips: Path, task: str, condition: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command.main(["--task", task, "--data", str(clips), "--condition", condition])
    assert f"{condition!r} is none of --task {task}" in capsys.readouterr().err


def test_every_condition_can_be_made(clips: Path, tmp_path: Path) -> None:
    means = judged(clips, tmp_path / "out.json", "--frames", "2")
    assert means.keys() == CONDITIONS.keys()


def test_a_folder_without_clips_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        command.main(["--task", "denoising", "--data", str(tmp_path)])
