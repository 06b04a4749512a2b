"""The page of all results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import report
from streamer.errors import ConfigError

SUMMARY = {"n": 9, "p50": 1.5, "p95": 2.0, "p99": 2.5, "max": 3.0}


def goal(**others: Any) -> dict[str, Any]:
    return {"what": "p95 ms", "measured": 3.0, "at_most": 2.0, "is_met": False, **others}


def result(*goals: dict[str, Any]) -> dict[str, Any]:
    return {
        "benchmark": "realtime",
        "command": "python -m benchmarks realtime",
        "scenarios": {
            "double": {
                "claim": "it is even",
                "baseline": "half an interval",
                "goals": list(goals),
                "measurements": [{"name": "x2", "latency_ms": SUMMARY}],
            }
        },
        "machine": {"cpu": "Z80", "cores": 2, "versions": {"av": "18.1.0"}},
    }


def test_the_page_has_goal_measured_value_ratio_machine_and_command(tmp_path: Path) -> None:
    kept = goal(what="share | of all", measured=4.0, at_least=2.0, is_met=True)
    del kept["at_most"]
    (tmp_path / "realtime.json").write_text(json.dumps(result(goal(), kept)), encoding="utf-8")
    (tmp_path / "realtime.svg").write_text("<svg/>", encoding="utf-8")
    report.main(["--results", str(tmp_path)])
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "| p95 ms | ≤ 2 | 3.00 | 1.50 | **no** |" in page
    assert "| share / of all | ≥ 2 | 4.00 | 2.00 | yes |" in page
    assert "| [realtime](#realtime) | 1 of 2 | double: p95 ms |" in page
    assert "| x2 | 9 | 1.50 | 2.00 | 2.50 | 3.00 |" in page
    assert "2 cores of Z80. av 18.1.0." in page
    assert "`python -m benchmarks realtime`" in page
    assert "Baseline: half an interval." in page
    assert "![realtime](realtime.svg)" in page


def test_what_never_happened_has_no_ratio_and_a_goal_of_nothing_neither() -> None:
    assert report.ratio(goal(measured=None)) is None
    assert report.ratio(goal(at_most=0.0)) is None
    assert report.ratio(goal()) == pytest.approx(1.5)


def test_the_results_of_this_repository_make_a_page() -> None:
    page = report.page(report.read_results(report.RESULTS))
    assert "## latency" in page
    assert "## throughput" in page


def test_every_file_of_this_repository_says_something_on_it() -> None:
    for name, found in report.read_results(report.RESULTS).items():
        chapter = report.page({name: found}).split(f"## {name}\n\n")[1]
        # More than where it comes from.
        assert "\n\n" in chapter.strip(), name


@pytest.mark.parametrize(
    ("files", "says"),
    [({}, "holds no results"), ({"cut.json": '{"benchmark"'}, r"cut\.json is not JSON")],
)
def test_a_folder_without_readable_results_is_refused(
    tmp_path: Path, files: dict[str, str], says: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=says):
        report.read_results(tmp_path)
