"""Packing for another machine, training there within a limit, bringing back what came of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest
from safetensors import safe_open

from export.checkpoint import read_checkpoint
from export.gpu_run import BACK_BYTES
from export.gpu_run import _ended as ended
from export.train_gpu import main
from streamer.clock import ManualClock
from tests.export.tiny import tiny_recipe

LIVE = tiny_recipe()


def write_toml(path: Path, raw: dict[str, Any]) -> Path:
    def value(entry: object) -> str:
        return json.dumps(list(entry) if isinstance(entry, tuple) else entry)

    tables = {key: entry for key, entry in raw.items() if isinstance(entry, dict)}
    lines = [f"{key} = {value(entry)}" for key, entry in raw.items() if key not in tables]
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {value(entry)}" for key, entry in table.items())]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory, data_folder: Path) -> Path:
    """What another machine has after unpacking, and two tiny recipes."""
    folder = tmp_path_factory.mktemp("gpu")
    live = write_toml(folder / "live.toml", LIVE.as_dict())
    (folder / f"{LIVE.name}.ckpt").write_bytes(b"state")
    near = ["pack", str(live), "--data", str(data_folder), "--work", str(folder)]
    assert main([*near, "--to", str(folder / "parts")]) == 0
    assert main(["unpack", str(folder / "parts"), "--to", str(folder / "there")]) == 0
    shutil.copy(live, folder / "there")
    raw = LIVE.as_dict()
    raw["name"], raw["data"]["patch"] = "sr-tiny-too-large", 200
    write_toml(folder / "there" / "large.toml", raw)
    return folder / "there"


def test_the_parcel_holds_code_data_packages_and_checkpoints(there: Path) -> None:
    for name in (
        "export/train.py",
        "export/recipes/sr_full_x2_live.toml",
        "streamer/errors.py",
        "data/train_video/alpha_1.mp4",
        "data/train_video/MANIFEST.tsv",
        "site/av/__init__.py",
        f".cache/runs/{LIVE.name}.ckpt",
    ):
        assert (there / name).is_file(), name


def run_there(there: Path, *arguments: str, out: str) -> dict[str, Any]:
    """Runs the packed code, not this checkout's; the summary, with the command's exit code."""
    command = [sys.executable, "-m", "export.train_gpu", "run", "--device", "cpu", "--out", out]
    # On a busy machine the start alone may take longer than a lent one allows.
    command += ["--grace-s", "500"]
    done = subprocess.run(
        [*command, *arguments],
        cwd=there,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=550,
        check=False,
    )
    assert done.returncode < 2, done.stderr
    summary = json.loads((there / out / "summary.json").read_text(encoding="utf-8"))
    return {"code": done.returncode, **summary["runs"]}


@pytest.fixture(scope="module")
def cut_short(there: Path) -> dict[str, Any]:
    """Two recipes when the time is over before it began; one finds no data that it could use."""
    (there / ".cache" / "runs" / f"{LIVE.name}.ckpt").unlink()
    return run_there(there, "large.toml", "live.toml", "--limit-s", "0", out="first")


def test_a_run_whose_time_is_up_has_made_one_iteration(cut_short: dict[str, Any]) -> None:
    run = cut_short["live.toml"]
    assert (run["iteration"], run["exit_code"], run["device"]) == (1, 0, "cpu")


def test_a_run_that_fails_is_told_from_its_log_while_others_go_on(
    cut_short: dict[str, Any],
) -> None:
    assert cut_short["code"] == 1
    assert cut_short["large.toml"]["exit_code"] != 0
    assert "no clip is large enough" in "".join(cut_short["large.toml"]["log_ends"])


def test_the_next_call_continues_and_its_results_come_back(
    there: Path, cut_short: dict[str, Any], tmp_path: Path
) -> None:
    assert cut_short["live.toml"]["iteration"] == 1
    summary = run_there(there, "live.toml", "--iterations", "20", out="second")
    run = summary["live.toml"]
    assert (summary["code"], run["begins"], run["iteration"]) == (0, 1, 20)
    assert 0 < run["loss"] < 1
    assert "dB" in run["validation"]
    assert run["iterations_per_s"] > 0

    assert main(["unpack", str(there / "second"), "--to", str(tmp_path)]) == 0
    state = read_checkpoint(tmp_path / f"{LIVE.name}.ckpt", LIVE)
    assert state["iteration"] == 20
    with safe_open(tmp_path / f"{LIVE.name}.safetensors", "pt") as weights:
        assert set(weights.keys()) == set(state["average"])
        for name, value in state["average"].items():
            assert (weights.get_tensor(name) == value).all()
    assert all(path.stat().st_size <= BACK_BYTES for path in (there / "second").iterdir())


def test_all_that_overstay_are_given_the_same_time_and_no_more() -> None:
    clock = ManualClock()
    until_ns = clock.now_ns()
    # Each would end well before a time of its own is over.
    children = [subprocess.Popen(["sleep", "30"]) for _ in range(2)]
    assert [ended(child, until_ns, clock) for child in children] == [-SIGKILL, -SIGKILL]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["pack", "--data", "nowhere"], "train_video"),
        (["unpack", "nowhere", "--to", "out"], "parcel.json"),
        (["run", "sr_full_x2_live", "--data", "nowhere"], "not a folder"),
        (["run", "no_such_recipe", "--data", "."], "no_such_recipe"),
        (["run", "sr_full_x2_live", "--data", ".", "--at-once", "0"], "at least 1"),
    ],
)
def test_bad_input_is_one_sentence(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: list[str],
    named: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert named in message
    assert message.count("\n") == 1
