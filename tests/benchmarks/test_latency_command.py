"""``python -m benchmarks latency`` on short real runs; the numbers themselves are not judged."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.goal import Goal
from benchmarks.latency import command, stage
from benchmarks.latency.sightings import Sighting, measure
from benchmarks.latency.stage import PathResult
from streamer.errors import ConfigError
from tests.benchmarks.running import run

SUMMARY = {"n", "p50", "p95", "p99", "max"}
MS = 1_000_000


def test_webrtc_ingest_is_measured_beside_stock_aiortc(tmp_path: Path) -> None:
    out = tmp_path / "latency.json"
    said, result = run(
        "latency", "--paths", "ingest-whip", "--duration", 1, "--discard", 0.5, "--out", out
    )
    assert json.loads(out.read_text(encoding="utf-8")) == result
    assert result["duration_s"] == 1
    assert result["discarded_s"] == 0.5
    assert {"python", "av", "aiortc", "libavformat"} <= set(result["machine"]["versions"])
    path = result["paths"]["ingest-whip"]
    ours, stock = path["measurements"]
    assert ours["name"].startswith("streamer")
    assert stock["name"].startswith("aiortc")
    for one in (ours, stock):
        assert set(one["latency_ms"]) == SUMMARY
        assert one["latency_ms"]["n"] == one["frames"]["seen"] > 0
        assert one["frames"]["unreadable"] <= one["frames"]["seen"] / 2
        assert 0 < one["wire_ms"]["p50"] < one["latency_ms"]["max"]
        assert one["name"] in said
    assert [goal["at_most"] for goal in path["goals"]] == [8.0, 15.0]
    drawing = ElementTree.fromstring(out.with_suffix(".svg").read_text(encoding="utf-8"))
    assert "ingest-whip" in "".join(drawing.itertext())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--paths", "ingest-rtsp,teleport"), "there is no path teleport"),
        (("--paths", ","), "there is no path at all"),
        (("--duration", "0.1"), "--duration 0.1"),
        (("--restarts", "0"), "--restarts 0"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_starts(
    arguments: tuple[str, ...], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        command.main(list(arguments))


def test_what_was_measured_is_told_though_its_drawing_has_no_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = PathResult(claim="nothing is measured", measurements=[], goals=[])
    monkeypatch.setattr(command, "PATHS", {"ingest-whip": lambda options: nothing})
    with pytest.raises(ConfigError, match="name another file with --plot"):
        command.main(["--paths", "ingest-whip", "--plot", "/dev/full"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["paths"]["ingest-whip"]["claim"] == nothing.claim


def test_missing_parts_of_gstreamer_are_named_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "rtsp_server.py"
    broken.write_text("import a_module_that_nobody_has\n", encoding="utf-8")
    monkeypatch.setattr(stage, "SERVER", broken)
    with pytest.raises(ConfigError) as refused:
        command.main(["--paths", "ingest-rtsp"])
    assert "a_module_that_nobody_has" in str(refused.value)
    assert "apt-get install python3-gi" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_table_says_which_goals_were_missed_and_what_never_came_back() -> None:
    shown = [Sighting(n, 33 * n, (33 * n + 5) * MS) for n in range(10)]
    result = PathResult(
        claim="it comes back",
        measurements=[measure("viewer", shown, between_ns=[(0, 1 << 60)])],
        goals=[
            Goal(what="slowest return", measured=None, at_most=1500.0),
            Goal(what="p50 ms", measured=5.0, at_most=6.0),
        ],
        extra={"returns": [{"down_s": 3.0, "back_within_ms": None, "camera_sent_after_ms": 40.0}]},
    )
    text = command.table("restart", result)
    assert "[MISSED] slowest return: never (<= 1500)" in text
    assert "[met] p50 ms: 5.00 (<= 6)" in text
    assert "away for 3.0 s: never seen again; the camera sent its first picture after 40 ms" in text
