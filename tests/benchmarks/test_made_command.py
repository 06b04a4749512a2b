"""``python -m benchmarks made`` on a short real run; the numbers themselves are not judged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.made import command
from benchmarks.made.maker import PAIRS
from kernels.native import NAMES
from streamer.errors import ConfigError
from tests.benchmarks.running import run
from tests.kernels.cpu_warps import NOTHING_COMPILED, runnable


@pytest.mark.skipif(not runnable(), reason=NOTHING_COMPILED)
def test_each_step_is_timed_by_both_ways_which_make_the_same_frames(tmp_path: Path) -> None:
    out = tmp_path / "made.json"
    said, result = run("made", "--size", "160x96", "--turns", 1, "--out", out)
    assert json.loads(out.read_text(encoding="utf-8")) == result
    scenario = result["scenarios"]["160x96 to 320x192"]
    assert scenario["level"] in NAMES.values()
    ways = scenario["ways"]
    for way in command.WAYS:
        assert way in said
        for kind in ("cpu_ms", "ms"):
            for spread in ways[way][kind].values():
                assert spread["n"] == PAIRS
                assert 0 <= spread["min"] <= spread["p50"] <= spread["p95"]
        assert ways[way]["ms"]["all"]["min"] > 0
        assert ways[way]["psnr_y"] > 20
    assert ways["compiled"]["psnr_y"] != ways["opencv"]["psnr_y"], "both were made the same way"
    assert [goal["at_least"] for goal in scenario["goals"]] == [command.TIMES_AS_FAST, 0.0]


def test_steps_of_a_frame_are_added_up() -> None:
    made = command.Made()
    made.add({"steps": [[(1.0, 0.5), (2.0, 1.0), (4.0, 2.0)]], "psnr_y": [40.0]})
    assert made.cpu_ms == {"look": [1.0], "guide": [2.0], "make": [4.0], "all": [7.0]}
    assert made.ms["all"] == [3.5]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--size", "640"), "'640' is not a picture's size"),
        (("--size", "641x360"), "--size 641x360 is out of range"),
        (("--scale", "5"), "--scale 5 and --turns 25 are out of range"),
        (("--turns", "0"), "--scale 2 and --turns 0 are out of range"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_starts(
    arguments: tuple[str, ...], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        command.main(list(arguments))
