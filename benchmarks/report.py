"""One page of all results: ``python -m benchmarks report`` reads the JSON files and writes Markdown."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from streamer.errors import ConfigError

RESULTS = Path(__file__).parent / "results"
PAGE = "report.md"
GROUPS = {"paths": "path", "scenarios": "scenario"}
"""Where a result file has several parts, and what one of them is called."""

HEAD = (
    "Made by `python -m benchmarks report` from the JSON files in this folder. A ratio is what was "
    "measured over the goal: at most 1 is wanted where the goal is an upper limit (≤), at least 1 "
    "where it is a lower one (≥)."
)

Result = Mapping[str, Any]


def main(arguments: list[str]) -> None:
    """Write the page beside the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks report", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON files")
    parser.add_argument("--out", type=Path, help=f"where to write, else {PAGE} in that folder")
    given = parser.parse_args(arguments)
    out: Path = given.out or given.results / PAGE
    out.write_text(page(read_results(given.results)), encoding="utf-8")
    print(f"wrote {out}")


def read_results(folder: Path) -> dict[str, tuple[Result, bool]]:
    """By file name without ending: its content, and whether a drawing lies beside it.

    Raises ``ConfigError`` where there are none, or one cannot be read.
    """
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ConfigError(f"{path.name} is not JSON ({error}); measure it again") from None
        found[path.stem] = (content, path.with_suffix(".svg").exists())
    if not found:
        raise ConfigError(
            f"{folder} holds no results; run: python -m benchmarks realtime --out ..."
        )
    return found


def page(results: Mapping[str, tuple[Result, bool]]) -> str:
    """The whole page, one chapter a file."""
    parts = ["# Results", HEAD, *_summary(results)]
    for name, (result, is_drawn) in results.items():
        parts += _chapter(name, result, is_drawn=is_drawn)
    return "\n\n".join(parts) + "\n"


def goals_of(result: Result) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every goal of a file, with the part it belongs to."""
    for group in GROUPS:
        for name, part in result.get(group, {}).items():
            for goal in part.get("goals", ()):
                yield name, goal


def ratio(goal: Mapping[str, Any]) -> float | None:
    """Of what was measured to its limit; ``None`` where there is nothing to divide by."""
    limit = goal.get("at_most", goal.get("at_least"))
    return goal["measured"] / limit if limit and goal["measured"] is not None else None


def _summary(results: Mapping[str, tuple[Result, bool]]) -> Iterator[str]:
    rows = []
    for name, (result, _) in results.items():
        goals = [goal for _, goal in goals_of(result)]
        if goals:
            met = sum(goal["is_met"] for goal in goals)
            missed = [f"{part}: {g['what']}" for part, g in goals_of(result) if not g["is_met"]]
            rows.append([f"[{name}](#{name})", f"{met} of {len(goals)}", "; ".join(missed) or "–"])
    if rows:
        yield table(("file", "goals met", "missed"), rows)


def _chapter(name: str, result: Result, *, is_drawn: bool) -> Iterator[str]:
    yield f"## {name}"
    yield _origin(name, result)
    for group in GROUPS:
        for part, content in result.get(group, {}).items():
            yield from _part(part, content)
    if "median" in result:
        yield _numbers(result["median"], "median of the rounds")
    if "latency_ms" in result:
        yield _timings(result["latency_ms"])
    if "ways" in result:
        threads = f"{result['threads']} threads" if result["threads"] else "a thread for each core"
        yield f"{result['picture']} at x{result['scale']}, {threads}:"
        yield _ways(result["ways"])
    if "averages" in result:
        yield f"{len(result.get('items', ()))} items; see the file for its averages and each of them."
    if is_drawn:
        yield f"![{name}]({name}.svg)"


def _part(name: str, part: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {name}"
    yield part["claim"][:1].upper() + part["claim"][1:] + "."
    for label, key in (("Baseline", "baseline"), ("Left out", "left_out")):
        if part.get(key):
            yield f"{label}: {part[key]}."
    if part.get("goals"):
        yield table(
            ("what", "goal", "measured", "ratio", "met"), [_goal_row(g) for g in part["goals"]]
        )
    rows = [
        [one["name"], *(_text(one["latency_ms"][key]) for key in ("n", "p50", "p95", "p99", "max"))]
        for one in part.get("measurements", ())
    ]
    if rows:
        yield table(("latency, ms", "n", "p50", "p95", "p99", "max"), rows)
    if part.get("clips"):
        yield _clips(part["clips"])


def _goal_row(goal: Mapping[str, Any]) -> list[str]:
    limit = f"≤ {goal['at_most']:g}" if "at_most" in goal else f"≥ {goal['at_least']:g}"
    measured = "never" if goal["measured"] is None else _text(goal["measured"])
    return [
        goal["what"],
        limit,
        measured,
        _text(ratio(goal)),
        "yes" if goal["is_met"] else "**no**",
    ]


def _clips(clips: list[Mapping[str, Any]]) -> str:
    head = (
        *("clip", "size", "ours, ms", "minterpolate, ms", "times faster"),
        *("its processor time by ours", "PSNR gain, dB"),
    )
    return table(
        head,
        [
            [
                one["clip"],
                one["size"],
                *(_text(one["ms"][side]) for side in ("ours", "minterpolate")),
                *(_text(one.get(key)) for key in ("faster", "cheaper")),
                f"{one['gain_db']:+.2f}",
            ]
            for one in clips
        ],
    )


def _ways(ways: Iterable[Mapping[str, Any]]) -> str:
    return table(
        ("network", "backend", "precision", "ms, p50", "shortest", "what it gives"),
        [
            [
                *(one[key] for key in ("model", "backend", "precision")),
                *(_text(one["ms"][key]) for key in ("p50", "min")),
                "**wrong here**" if one["wrong"] else "right",
            ]
            for one in ways
        ],
    )


def _timings(timings: Mapping[str, Mapping[str, float]]) -> str:
    keys = ("n", "p50", "p95", "p99", "max")
    rows = [[name, *(_text(one[key]) for key in keys)] for name, one in timings.items()]
    return table(("ms", *keys), rows)


def _numbers(values: Mapping[str, Any], title: str) -> str:
    numbers = [(key, value) for key, value in values.items() if isinstance(value, int | float)]
    return table((title, "value"), [[name, _text(value)] for name, value in numbers])


def _origin(name: str, result: Result) -> str:
    """Machine, versions and command, in one paragraph."""
    machine = result.get("machine", {})
    versions = ", ".join(f"{key} {value}" for key, value in machine.get("versions", {}).items())
    command = f"`{result['command']}`" if "command" in result else f"see README.md, `{name}.json`"
    cores = f"{machine['cores']} cores of " if "cores" in machine else ""
    return f"Command: {command}. Machine: {cores}{machine.get('cpu', 'unknown')}. {versions}."


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _text(value: float | None) -> str:
    if value is None:
        return "–"
    return str(value) if isinstance(value, int) else f"{value:.2f}"
