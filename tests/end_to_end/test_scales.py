"""What a user is told about the network that does the work, or that there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamer.model import find_models
from tests.clips import Clips, moving
from tests.command import RunHere
from tests.programs import needs


@needs("ffmpeg")
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_a_scale_without_a_network_says_so_and_one_with_a_network_reports_it(
    scale: int, clips: Clips, streamer: RunHere, tmp_path: Path
) -> None:
    clip = clips.made("scales.mkv", *moving(frames=4), "-c:v", "libx264")
    report = tmp_path / "report.json"
    done = streamer("run", clip, "--to", "null:", "--scale", scale, "--report", report)
    assert done.code == 0
    networks = {m.variant for m in find_models(task="super_resolution", scale=scale)}
    numbers = json.loads(report.read_text())
    backends = {engine["backend"] for engine in numbers["engines"]}
    if networks:
        assert "no trained network" not in done.err
        assert len(numbers["engines"]) == len(networks)
        assert backends == {"ort-cpu"}
    else:
        assert f"streamer: no trained network for x{scale} is shipped yet" in done.err
        assert backends == {"reference"}
