"""``python -m benchmarks networks`` on a small picture; the numbers themselves are not judged."""

from __future__ import annotations

import json
from pathlib import Path

from streamer.infer import native, ort
from tests.benchmarks.running import run


def test_every_way_is_timed_and_held_against_what_is_stored(tmp_path: Path) -> None:
    out = tmp_path / "networks.json"
    said, result = run("networks", "--picture", "64x48", "--rounds", 2, "--out", out)
    assert json.loads(out.read_text(encoding="utf-8")) == result
    ways = {(way["model"], way["backend"]): way for way in result["ways"]}
    for name, is_installed in (("native", native.is_installed), ("ort-cpu", ort.is_installed)):
        if is_installed():
            assert not ways[
                "sr-nano-x2-live-int8" if name == "native" else "sr-lite-x2-live", name
            ]["wrong"]
    for way in result["ways"]:
        assert f"{way['model']:24} {way['backend']}" in said
        assert 0 < way["ms"]["min"] <= way["ms"]["p50"]
        assert way["cpu_ms"]["p50"] > 0
