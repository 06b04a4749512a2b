"""What a check leaves: JSON that ``python -m benchmarks report`` reads too, and one page of Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.gpu_check_run import Outcome, Status
from benchmarks.report import table

PASSED, FAILED, INCOMPLETE = 0, 1, 3
"""Exit codes; 2 is for a check that could not begin."""


def slug(card: str) -> str:
    """``h200`` of ``NVIDIA H200``: what its files are called."""
    name = re.sub(r"[^a-z0-9]+", "-", card.lower()).strip("-")
    return name.removeprefix("nvidia-") or "unknown"


def result_of(
    outcomes: Sequence[Outcome], *, machine: Mapping[str, Any], seconds: float
) -> dict[str, Any]:
    """Everything, as one value; scenarios of all steps are put together."""
    scenarios: dict[str, Any] = {}
    versions: dict[str, str] = {}
    for outcome in outcomes:
        scenarios |= outcome.result.get("scenarios", {})
        versions |= outcome.result.get("machine", {}).get("versions", {})
    return {
        "benchmark": "gpu-check",
        "command": "make gpu-check",
        "machine": {**machine, "versions": versions},
        "seconds": round(seconds, 1),
        "missing": list(missing(outcomes)),
        "scenarios": scenarios,
        "steps": [asdict(outcome) for outcome in outcomes],
    }


def missing(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """What did not run, and why."""
    for outcome in outcomes:
        if outcome.status is Status.NOT_RUN:
            yield f"{outcome.name}: {outcome.why}"
        for name, why in outcome.result.get("missing", {}).items():
            yield f"{outcome.name}, {name}: {why}"
        for why in outcome.result.get("skipped", ()):
            yield f"{outcome.name}: {why}"


def verdict(outcomes: Sequence[Outcome]) -> int:
    """The exit code: a failure counts for more than what is missing."""
    if any(outcome.status in (Status.FAILED, Status.TIMED_OUT) for outcome in outcomes):
        return FAILED
    return INCOMPLETE if any(missing(outcomes)) else PASSED


def write(result: Mapping[str, Any], stem: Path) -> None:
    """Both files, each all or nothing: the check may be ended at any time."""
    for path, text in (
        (stem.with_suffix(".json"), json.dumps(result, indent=2) + "\n"),
        (stem.with_suffix(".md"), page(result)),
    ):
        scratch = path.with_suffix(f"{path.suffix}.part")
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(path)


def page(result: Mapping[str, Any]) -> str:
    """Markdown: the steps, what did not run, the goals, and each step's own table."""
    machine = result["machine"]
    parts = [
        f"# {machine['gpu']}",
        (
            f"Made by `{result['command']}` in {result['seconds']:.0f} s: compute capability "
            f"{machine['capability']}, driver for CUDA {machine['driver_cuda']}, "
            f"{machine['memory_gb']:.0f} GB."
        ),
        table(("step", "", "s", ""), [_step_row(step) for step in result["steps"]]),
    ]
    if result["missing"]:
        parts += ["## Did not run", "\n".join(f"- {each}" for each in result["missing"])]
    goals = [g for one in result["scenarios"].values() for g in one.get("goals", ())]
    if goals:
        parts += ["## Goals", table(("what", "goal", "measured", "met"), map(_goal_row, goals))]
    for step in result["steps"]:
        if step["result"].get("table"):
            parts += [f"## {step['name']}", step["result"]["table"]]
        if step["tail"]:
            parts += [f"## The end of what {step['name']} said", _quoted(step["tail"])]
    return "\n\n".join(parts) + "\n"


def _step_row(step: Mapping[str, Any]) -> list[str]:
    told = step["why"]
    if "passed" in step["result"]:
        tests = step["result"]
        told = f"{tests['passed']} passed, {len(tests['failed'])} failed, "
        told += f"{len(tests['skipped'])} skipped"
        told += "".join(f"; {name}" for name in tests["failed"][:5])
    return [step["name"], step["status"], f"{step['seconds']:.1f}", told]


def _goal_row(goal: Mapping[str, Any]) -> list[str]:
    limit = f"≤ {goal['at_most']:g}" if "at_most" in goal else f"≥ {goal['at_least']:g}"
    measured = "–" if goal["measured"] is None else f"{goal['measured']:.2f}"
    return [goal["what"], limit, measured, "yes" if goal["is_met"] else "**no**"]


def _quoted(lines: Sequence[str]) -> str:
    return "```\n" + "\n".join(line.replace("```", "'''") for line in lines) + "\n```"
