"""The published tables, with this run's rows among them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.quality.material import COMPLETE
from benchmarks.quality.tables import aligned
from streamer.model import ModelManifest

FILE = Path(__file__).with_name("published.json")

OUTPUT_PIXELS = 1280 * 720

Rows = list[dict[str, Any]]


def super_resolution_table(
    averages: Sequence[Mapping[str, Any]], models: Sequence[ModelManifest], *, scale: int
) -> str:
    """Papers' rows and ours for ``scale``; empty where no standard set was judged as they do."""
    table = json.loads(FILE.read_text(encoding="utf-8"))["super_resolution"]
    sets = [a for a in averages if a["condition"] == "papers" and a["set"] in table["columns"]]
    if not sets or f"x{scale}" not in table:
        return ""
    sizes = {
        model.name: {
            "params_k": model.parameters / 1000,
            "gmacs": model.macs_per_pixel * OUTPUT_PIXELS / scale**2 / 1e9,
        }
        for model in models
    }
    columns = ["params_k", "gmacs", *table["columns"]]
    rows = table[f"x{scale}"] + _ours(sets, sizes, measure="psnr_y")
    return _printed(f"Published, x{scale}", table, rows, columns, sets, is_lower_better=False)


def interpolation_table(
    averages: Sequence[Mapping[str, Any]], models: Sequence[ModelManifest]
) -> str:
    """Papers' rows and ours; empty where no standard set of triplets was judged."""
    table = json.loads(FILE.read_text(encoding="utf-8"))["interpolation"]
    sizes = {model.name: {"params_m": model.parameters / 1e6} for model in models}
    texts = []
    for name, measure in (("ucf101_379", "psnr_rgb"), ("middlebury_other", "rms_rgb")):
        if sets := [a for a in averages if a["set"] == name and a["condition"] == "triplets"]:
            rows = [row for row in table["rows"] if name in row]
            rows += _ours(sets, sizes, measure=measure)
            title, columns = f"Published, {name}, {measure}", ["params_m", name]
            is_lower = measure == "rms_rgb"
            texts.append(_printed(title, table, rows, columns, sets, is_lower_better=is_lower))
    return "\n".join(texts)


def _ours(
    sets: Sequence[Mapping[str, Any]], sizes: Mapping[str, Mapping[str, float]], *, measure: str
) -> Rows:
    methods = dict.fromkeys(name for average in sets for name in average["methods"])
    return [
        {
            "method": f"> {method}",
            **sizes.get(method, {}),
            **{
                average["set"]: average["methods"][method][measure]
                for average in sets
                if measure in average["methods"].get(method, {})
            },
        }
        for method in methods
    ]


def _printed(
    title: str,
    table: Mapping[str, Any],
    rows: Rows,
    columns: Sequence[str],
    sets: Sequence[Mapping[str, Any]],
    *,
    is_lower_better: bool,
) -> str:
    """From worst to best by the mean gain over the first row in the judged sets that a row has."""
    names = [average["set"] for average in sets]
    sign = -1 if is_lower_better else 1

    def gain(row: Mapping[str, Any]) -> float:
        gains = [row[name] - rows[0][name] for name in names if name in row]
        return sign * fmean(gains) if gains else float("-inf")

    ordered = sorted(rows, key=gain)
    cells = [[row["method"], *(_cell(row.get(name), name) for name in columns)] for row in ordered]
    parts = [
        f"{a['set']}: {a['items']} of {COMPLETE[a['set']]}"
        for a in sets
        if a["items"] != COMPLETE[a["set"]]
    ]
    partly = f"\nNot the whole set, so not comparable: {', '.join(parts)}" if parts else ""
    return (
        f"{title} (> is this run)\n{aligned(['method', *columns], cells)}\n"
        f"{table['what']}. Source: {table['source']}.{partly}"
    )


def _cell(value: float | None, column: str) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if column in COMPLETE else f"{value:.4g}"
