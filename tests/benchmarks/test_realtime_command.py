"""``python -m benchmarks realtime``: what it refuses, and one short run with real processes."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.realtime import command
from streamer.errors import ConfigError
from tests.benchmarks.running import run

pytestmark = pytest.mark.usefixtures("gstreamer")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--only", "double,teleport"), "there is no scenario teleport"),
        (("--only", ","), "there is no scenario at all"),
        (("--only", "double", "--duration", "0.1"), "--duration 0.1"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_starts(
    arguments: tuple[str, ...], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        command.main(list(arguments))


def test_a_doubled_camera_is_seen_by_a_viewer_and_its_made_pictures_are_told_apart(
    tmp_path: Path,
) -> None:
    out = tmp_path / "realtime.json"
    options = ("--only", "double", "--duration", "3", "--discard", "1", "--out", str(out))
    _, result = run("realtime", *options)
    assert result == json.loads(out.read_text(encoding="utf-8"))
    assert "--only double" in result["command"]
    scenario = result["scenarios"]["double"]
    (found,) = scenario["measurements"]
    assert 0 < found["latency_ms"]["n"] <= found["pictures_shown"]
    assert found["cadence_ms"]["n"] == found["pictures_shown"] - 1
    assert found["streamer"]["frames"]["sent"] > 0
    assert all(cores["two_at_once"] > 0 for cores in scenario["cores"].values())
    assert {goal["what"] for goal in scenario["goals"]} >= {"frames lost in the streamer"}
    drawing = ElementTree.fromstring(out.with_suffix(".svg").read_text(encoding="utf-8"))
    assert "frames a second by tier and origin" in "".join(drawing.itertext())


def test_pictures_that_come_in_bursts_are_seen_paced_and_as_they_come() -> None:
    options = ("--only", "rhythm", "--duration", "3", "--discard", "0.5")
    said, result = run("realtime", *options)
    scenario = result["scenarios"]["rhythm"]
    paced, straight, raw = scenario["measurements"]
    for one in (paced, straight, raw):
        assert one["name"] in said
        assert one["cadence_ms"]["n"] == one["pictures_shown"] - 1 > 0
    assert paced["streamer"]["latency_ms"]["cadence_error"]["n"] > 0
    assert "interpolated" in paced["streamer"]["frames"]
    assert scenario["stalls"]["seed"] == 1
    assert len(scenario["goals"]) == 4
    assert all(cores["wakes_late_p95_ms"] > 0 for cores in scenario["cores"].values())
