"""Engines and streams of the check, on what every machine has: the same programs, smaller."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import gpu_check_engines, gpu_check_streams
from benchmarks.gpu_check_engines import models_of
from streamer.errors import ConfigError, EngineError
from streamer.infer.device import has_device
from tests.benchmarks.running import run


def test_engines_are_timed_after_they_were_found_right(tmp_path: Path) -> None:
    out = tmp_path / "engines.json"
    picture = ("--picture", "128x96", "--rounds", "3", "--out", str(out))
    _, result = run("engines", "--backends", "ort-cpu,ort-cuda", *picture)
    assert result == json.loads(out.read_text(encoding="utf-8"))
    assert {row["backend"] for row in result["engines"]} >= {"ort-cpu"}
    for row in result["engines"]:
        assert row["with_copies_ms"]["n"] == 3
        assert row["picture"] == "128x96"
    if not has_device():
        # On the CPU nothing is alone on a device, and no goal is judged.
        assert [row["alone_ms"] for row in result["engines"]] == [None] * len(result["engines"])
        assert result["scenarios"]["engines"]["goals"] == []
        assert "-m pip install 'onnxruntime-gpu[cuda,cudnn]'" in result["missing"]["ort-cuda"]


def test_a_gpu_is_given_the_fp16_models_of_streams() -> None:
    for backend in ("ort-cuda", "tensorrt"):
        chosen = models_of(backend, 2)
        assert {(model.precision, model.training) for model in chosen} == {("fp16", "live")}
        assert "lite" in {model.variant for model in chosen}
    with pytest.raises(EngineError, match="no network for x5"):
        models_of("ort-cuda", 5)


def test_without_any_backend_of_a_gpu_nothing_is_timed() -> None:
    if has_device():
        pytest.skip("there is a device")
    with pytest.raises(EngineError, match=r"^ort-cuda: .*; tensorrt: "):
        gpu_check_engines.main(["--picture", "128x96", "--rounds", "1"])
    with pytest.raises(ConfigError, match="there is no backend 'cuda'"):
        gpu_check_engines.main(["--backends", "cuda"])


def test_goals_are_for_what_ran_alone_on_a_device() -> None:
    alone = {"n": 1, "p50": 5.0, "p95": 5.0, "p99": 5.0, "max": 5.0}
    row = {"backend": "tensorrt", "model": "m", "picture": "1920x1080", "with_copies_ms": alone}
    rows = [{**row, "alone_ms": alone}, {**row, "backend": "ort-cuda", "alone_ms": alone}]
    told = gpu_check_engines.result_of([*rows, {**row, "alone_ms": None}], {}, picture="1920x1080")
    goals = told["scenarios"]["engines"]["goals"]
    assert [(goal["at_most"], goal["is_met"]) for goal in goals] == [(4.0, False), (6.0, True)]


def test_every_frame_of_a_drawn_scene_is_in_the_file(tmp_path: Path) -> None:
    out = tmp_path / "file.json"
    small = ("--size", "160x96", "--duration", "1", "--backend", "reference")
    _, result = run("streams", "file", *small, "--out", str(out))
    assert result == json.loads(out.read_text(encoding="utf-8"))
    whole, lost = result["scenarios"]["file"]["goals"]
    assert whole["measured"] == result["report"]["frames"]["sent"] > 0
    assert whole["is_met"]
    assert (lost["measured"], lost["is_met"]) == (0, True)
    assert result["missing"] == {}


@pytest.mark.parametrize(
    ("copied", "at_most", "each", "is_met"),
    [
        ({"warming": 4}, 0, 0.0, True),
        ({"warming": 4, "shown": 300}, 1, 1.0, True),
        ({"warming": 4, "shown": 300}, 0, 1.0, False),
        ({"to_device": 300, "shown": 300}, 1, 2.0, False),
    ],
)
def test_copies_are_counted_for_each_frame(
    *, copied: dict[str, int], at_most: int, each: float, is_met: bool
) -> None:
    told = {"copied": copied, "frames": {"decoded": 300}}
    goal = gpu_check_streams._copies(told, at_most=at_most)
    assert (goal.measured, goal.is_met) == (each, is_met)


def test_a_live_run_gives_rate_and_latency() -> None:
    _, result = run(
        "streams", "live", "--size", "160x96", "--duration", "2", "--backend", "reference"
    )
    names = [goal["what"] for goal in result["scenarios"]["live"]["goals"]]
    assert names == ["live, arrived to sent, p95 ms", "live, frames a second", "frames lost"]
    assert result["report"]["frames"]["sent"] > 0
    assert result["report"]["latency_ms"]["arrived_to_sent"]["n"] > 0


def test_what_the_program_refuses_is_passed_on() -> None:
    with pytest.raises(ConfigError, match=r"ended with 2: streamer: .*'nothing'"):
        gpu_check_streams.main(["live", "--backend", "nothing", "--duration", "1"])


def test_without_a_backend_of_a_gpu_that_is_told_as_missing() -> None:
    if has_device():
        pytest.skip("there is a device")
    name, missing = gpu_check_streams.chosen_backend(None)
    assert name == "auto"
    assert "ran without the GPU" in missing["backend of a GPU"]
    assert gpu_check_streams.chosen_backend("ort-cpu") == ("ort-cpu", {})
