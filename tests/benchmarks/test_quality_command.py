"""``python -m benchmarks quality`` from its arguments to its tables and JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.quality import command, minterpolate
from benchmarks.quality.concealment import LONGEST_FILLED
from benchmarks.quality.matlab import imresize
from benchmarks.quality.metrics import psnr
from streamer.errors import ConfigError
from streamer.frame import Planes
from streamer.model import find_models
from tests.benchmarks.drawn import coloured, panned, texture, write_clip, write_picture
from tests.benchmarks.running import refused
from tests.command import ROOT

MODELS = {
    scale: {manifest.name for manifest in find_models(task="super_resolution", scale=scale)}
    for scale in (1, 2, 3, 4)
}


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[str, dict[str, Any]]:
    """What is printed, and the JSON of its last line."""
    command.main([str(argument) for argument in arguments])
    printed = capsys.readouterr().out
    return printed, json.loads(printed.splitlines()[-1])


@pytest.fixture
def set5(tmp_path: Path) -> Path:
    """A folder that is called as the standard set, of other pictures with odd sides."""
    write_picture(tmp_path / "set5" / "colour.png", coloured(65, 83))
    write_picture(tmp_path / "set5" / "grey.png", texture(64, 70, seed=9))
    return tmp_path / "set5"


@pytest.fixture
def clip_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    write_clip(folder / "pan.mkv", [panned(index) for index in range(13)])
    return folder


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_pictures_are_judged_as_the_papers_do(
    capsys: pytest.CaptureFixture[str], set5: Path, tmp_path: Path, scale: int
) -> None:
    out = tmp_path / "out.json"
    printed, said = run(capsys, "--task", "sr", "--data", set5, "--scale", scale, "--out", out)
    colour, grey = json.loads(out.read_text())["items"]
    assert colour["condition"] == "papers"
    seen = colour["methods"]["bicubic (MATLAB)"]["psnr_y"]
    assert seen == pytest.approx(papers_psnr(coloured(65, 83), scale), abs=1e-3)
    expected = papers_psnr(texture(64, 70, seed=9), scale)
    assert grey["methods"]["bicubic (MATLAB)"]["psnr_y"] == pytest.approx(expected, abs=1e-3)
    assert set(colour["methods"]) == {"bicubic (MATLAB)", "bicubic", "lanczos"} | MODELS[scale]
    assert {"ssim", "ms_ssim", "psnr_y", "ms"} <= set(colour["methods"]["lanczos"])
    missing = f"models: no network for x{scale} is shipped"
    assert (missing in said["left_out"]) is not bool(MODELS[scale])
    assert f"Published, x{scale}" in printed
    assert "Not the whole set, so not comparable: set5: 2 of 5" in printed


def papers_psnr(picture: np.ndarray[Any, np.dtype[np.uint8]], scale: int) -> float:
    """The protocol in one go, with the luma written out."""
    height, width = (side // scale * scale for side in picture.shape[:2])
    large = picture[:height, :width]
    small = imresize(large, height=height // scale, width=width // scale)
    again = imresize(small, height=height, width=width)

    def y(rgb: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, np.dtype[np.uint8]]:
        if rgb.ndim == 2:
            return rgb
        r, g, b = (rgb[..., channel].astype(np.float64) for channel in range(3))
        return np.floor(16.5 + (65.481 * r + 128.553 * g + 24.966 * b) / 255).astype(np.uint8)

    inner = slice(scale, -scale)
    return psnr(y(again)[inner, inner], y(large)[inner, inner])


def test_coded_clips_are_worse_the_coarser_they_are_coded(
    capsys: pytest.CaptureFixture[str], clip_folder: Path
) -> None:
    _, said = run(capsys, "--task", "sr", "--data", clip_folder, "--frames", "3")
    values = {a["condition"]: a["methods"]["bicubic"]["psnr_y"] for a in said["averages"]}
    assert list(values) == ["clean", "crf23", "crf28", "crf33"]
    assert values["clean"] > values["crf23"] > values["crf28"] > values["crf33"]
    rows = said["averages"][0]["methods"]
    assert {"tof", "warping_error"} <= set(rows["bicubic"])
    assert set(rows["original"]) == {"warping_error"}
    assert said["averages"][0]["frames"] == 3


def test_at_scale_one_the_baseline_is_what_arrived(
    capsys: pytest.CaptureFixture[str], set5: Path
) -> None:
    _, said = run(
        capsys,
        "--task",
        "sr",
        "--data",
        set5,
        "--scale",
        "1",
        "--condition",
        "crf33",
        "--clips",
        "co",
    )
    (average,) = said["averages"]
    assert average["condition"] == "crf33"
    assert set(average["methods"]) == {"input"} | MODELS[1]
    assert 20 < average["methods"]["input"]["psnr_y"] < 45


def test_every_second_frame_is_judged_and_flow_wins_on_a_pan(
    capsys: pytest.CaptureFixture[str], clip_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(minterpolate, "why_missing", lambda: "minterpolate: left out here")
    printed, said = run(capsys, "--task", "interpolation", "--data", clip_folder)
    (average,) = said["averages"]
    assert average["frames"] == 6
    rows = average["methods"]
    expected = [psnr(panned(index - 1)[0], panned(index)[0]) for index in range(1, 13, 2)]
    assert rows["repetition"]["psnr_y"] == pytest.approx(float(np.mean(expected)), abs=1e-3)
    assert rows["repetition"]["psnr_y"] < rows["averaging"]["psnr_y"]
    assert rows["averaging"]["psnr_y"] < rows["DIS medium, full size"]["psnr_y"]
    assert rows["DIS medium, full size"]["tof"] < rows["repetition"]["tof"]
    assert "left out: minterpolate: left out here" in printed


def test_triplets_are_judged_in_luma_and_rgb(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    wide = coloured(64, 90)
    folder = tmp_path / "ucf101_379"
    for index, name in enumerate(("im0", "gt", "im1")):
        picture = np.ascontiguousarray(wide[:, 2 * index : 2 * index + 80])
        write_picture(folder / "1" / f"{name}.png", picture)
    printed, said = run(capsys, "--task", "interpolation", "--data", folder)
    rows = said["averages"][0]["methods"]
    assert rows["4:2:0 alone"]["rms_420"] == 0.0
    assert rows["repetition"]["psnr_rgb"] < rows["DIS medium, full size"]["psnr_rgb"]
    assert rows["DIS medium, full size"]["psnr_rgb"] < rows["4:2:0 alone"]["psnr_rgb"]
    assert "> DIS medium, full size" in printed
    assert "UPR-Net base" in printed


@pytest.mark.parametrize(
    ("step", "frames", "reach"), [("1", 11, 1), ("2", 10, 2), ("1/2", 10, 1), ("3/2", 8, 3)]
)
def test_prediction_judges_every_frame_that_has_enough_before_it(
    capsys: pytest.CaptureFixture[str], clip_folder: Path, step: str, frames: int, reach: int
) -> None:
    _, said = run(capsys, "--task", "prediction", "--data", clip_folder, "--step", step)
    (average,) = said["averages"]
    assert average["frames"] == frames
    rows = average["methods"]
    judged = range(13 - frames, 13)
    expected = [psnr(panned(index - reach)[0], panned(index)[0]) for index in judged]
    assert rows["repetition"]["psnr_y"] == pytest.approx(float(np.mean(expected)), abs=1e-3)
    assert rows["repetition"]["psnr_y"] + 3 < rows["DIS medium, full size"]["psnr_y"]
    assert said["settings"]["step"] == step


def test_concealment_judges_only_what_was_lost_and_freezing_shows_the_last_frame(
    capsys: pytest.CaptureFixture[str],
    clip_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost = np.zeros(13, np.bool_)
    lost[[3, 6, 7, 8, 9, 10]] = True
    monkeypatch.setattr("benchmarks.quality.concealment.PATTERNS", 1)
    monkeypatch.setattr("benchmarks.quality.concealment.lost_frames", lambda number, rng: lost)
    out = tmp_path / "out.json"
    _, said = run(capsys, "--task", "concealment", "--data", clip_folder, "--out", out)
    (item,) = json.loads(out.read_text())["items"]
    assert (item["sent"], item["lost"], item["frames"]) == (13, 6, 1 + LONGEST_FILLED)
    shown = [(2, 3), (5, 6), (5, 7), (5, 8), (5, 9)]
    expected = float(np.mean([psnr(panned(a)[0], panned(b)[0]) for a, b in shown]))
    rows = said["averages"][0]["methods"]
    assert rows["freeze"]["psnr_y"] == pytest.approx(expected, abs=1e-3)
    assert rows["freeze"]["psnr_y"] + 3 < rows["DIS medium, full size"]["psnr_y"]


class Spy:
    """Repeats the last frame and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Planes, Planes, float]] = []

    def ahead(self, earlier: Planes, last: Planes, step: float) -> Planes:
        self.asked.append((earlier, last, step))
        return last


def test_a_burst_is_filled_from_the_two_frames_shown_before_it(
    capsys: pytest.CaptureFixture[str], clip_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy()
    lost = np.zeros(13, np.bool_)
    lost[[4, 5, 6, 8]] = True
    monkeypatch.setattr("benchmarks.quality.concealment.PATTERNS", 1)
    monkeypatch.setattr("benchmarks.quality.concealment.lost_frames", lambda number, rng: lost)
    monkeypatch.setattr(
        "benchmarks.quality.concealment.concealment_baselines", lambda: {"spy": spy}
    )
    run(capsys, "--task", "concealment", "--data", clip_folder)
    # The first is asked twice, once to warm up. Before the second burst, 6 is a made frame: 3.
    seen = [(e[0], last[0], step) for e, last, step in spy.asked]
    expected = [(2, 3, 1), (2, 3, 1), (2, 3, 2), (2, 3, 3), (3, 7, 1)]
    assert len(seen) == len(expected)
    for (earlier, last, step), (first, second, ahead) in zip(seen, expected, strict=True):
        assert step == ahead
        assert np.array_equal(earlier, panned(first)[0])
        assert np.array_equal(last, panned(second)[0])


def test_losses_follow_the_seed_and_the_name(
    capsys: pytest.CaptureFixture[str], clip_folder: Path
) -> None:
    def judged(seed: int) -> list[int]:
        printed, _ = run(capsys, "--task", "concealment", "--data", clip_folder, "--seed", seed)
        assert f"seed {seed}" in printed
        return [int(line.split("(")[1].split(")")[0]) for line in printed.splitlines()[:1]]

    assert judged(3) == judged(3)
    assert len({tuple(judged(seed)) for seed in range(12)}) > 1


def test_the_json_names_machine_settings_and_no_place_on_this_machine(
    capsys: pytest.CaptureFixture[str], set5: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.json"
    _, said = run(capsys, "--task", "sr", "--data", set5, "--limit", "1", "--out", out)
    whole = json.loads(out.read_text())
    assert whole["data"] == ["set5"]
    assert whole["machine"]["versions"]["numpy"]
    assert whole["settings"]["scale"] == 2
    assert {model["name"] for model in whole["models"]} == MODELS[2]
    assert str(tmp_path) not in out.read_text()
    assert said == {key: value for key, value in whole.items() if key != "items"}
    is_left_out = any(text.startswith("LPIPS: ") for text in whole["left_out"])
    assert is_left_out is not ("lpips" in whole["definitions"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--task", "sr", "--step", "1"), "--step belongs to --task prediction"),
        (("--task", "prediction", "--scale", "2"), "--scale belongs to --task sr"),
        (("--task", "prediction", "--step", "0"), "not a step"),
        (("--task", "denoising", "--sharpen", "0.5"), "--sharpen belongs to --task sr"),
        (("--task", "sr", "--sharpen", "0"), "not a number above 0"),
        (("--task", "sr", "--sharpen", "much"), "not a number above 0"),
        (("--task", "sr", "--limit", "-1"), "not a whole number"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main([*arguments, "--data", str(tmp_path)])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_condition_that_fits_nothing_is_refused(set5: Path) -> None:
    with pytest.raises(ConfigError, match="papers is for pictures"):
        command.main(["--task", "sr", "--data", str(set5), "--scale", "1", "--condition", "papers"])


def test_bad_data_ends_with_one_sentence_and_code_two(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no clip at all" * 50)
    assert "broken.mp4" in refused("quality", "--task", "prediction", "--data", tmp_path)


def test_the_benchmark_runs_without_torch() -> None:
    code = "import sys, benchmarks.quality.command; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    assert done.stdout == b"False\n"
