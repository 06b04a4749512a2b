"""``python -m benchmarks realtime``: what it refuses, and one short run with real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.latency.stage import gstreamer_python
from benchmarks.realtime import command
from streamer.errors import ConfigError
from tests.command import ROOT


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--only", "double,teleport"), "there is no scenario teleport"),
        (("--only", ","), "there is no scenario at all"),
        (("--only", "double", "--duration", "0.1"), "--duration 0.1"),
        (("--out", "/nowhere/at/all.json"), "the folder of /nowhere/at/all.json does not exist"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_starts(
    arguments: tuple[str, ...], says: str
) -> None:
    _needs_gstreamer()
    with pytest.raises(ConfigError, match=says):
        command.main(list(arguments))


def test_a_doubled_camera_is_seen_by_a_viewer_and_its_made_pictures_are_told_apart(
    tmp_path: Path,
) -> None:
    _needs_gstreamer()
    out = tmp_path / "realtime.json"
    options = ("--only", "double", "--duration", "3", "--discard", "1", "--out", str(out))
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "realtime", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text(encoding="utf-8"))
    assert result == json.loads(done.stdout.splitlines()[-1])
    assert "--only double" in result["command"]
    scenario = result["scenarios"]["double"]
    (found,) = scenario["measurements"]
    assert 0 < found["latency_ms"]["n"] <= found["pictures_shown"]
    assert found["cadence_ms"]["n"] == found["pictures_shown"] - 1
    # By its decoding a picture is later than by its last packet, so both are not the same clock.
    assert found["cadence_ms"] != found["cadence_decoded_ms"]
    assert found["streamer"]["frames"]["sent"] > 0
    assert {goal["what"] for goal in scenario["goals"]} >= {"frames lost in the streamer"}
    drawing = ElementTree.fromstring(out.with_suffix(".svg").read_text(encoding="utf-8"))
    assert "frames a second by tier and origin" in "".join(drawing.itertext())


def _needs_gstreamer() -> None:
    """Its RTSP server is the camera; where it is promised, its absence is a failure."""
    try:
        gstreamer_python()
    except ConfigError as error:
        if os.environ.get("STREAMER_REQUIRE_PROGRAMS") == "1":
            raise
        pytest.skip(str(error))
