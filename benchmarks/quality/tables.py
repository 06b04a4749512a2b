"""Numbers as aligned text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.quality.scores import Judged, summary

DIGITS = {
    "psnr_y": 2,
    "psnr_rgb": 2,
    "ssim": 4,
    "ms_ssim": 4,
    "rms_rgb": 3,
    "rms_420": 3,
    "lpips": 4,
    "vmaf": 2,
    "tof": 3,
    "warping_error": 3,
    "still_change": 3,
    "ms": 1,
}
"""The measures in the order of their columns, and how many digits they are shown with."""


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; the first to the left, the others to the right."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        ).rstrip()
        for line in lines
    )


def item_line(judged: Judged) -> str:
    """One item in one line: every method's luma PSNR."""
    parts = []
    for name, values in judged.values.items():
        if (psnr_y := summary(values).get("psnr_y")) is not None:
            parts.append(f"{name} {psnr_y:.2f}")
    said = ", ".join(parts) or "nothing to judge"
    return f"{judged.group}/{judged.name} {judged.condition} ({judged.frames}): {said}"


def averages_table(average: Mapping[str, Any]) -> str:
    """One set under one condition: a row for each method."""
    methods: Mapping[str, Mapping[str, float]] = average["methods"]
    columns = [name for name in DIGITS if any(name in row for row in methods.values())]
    rows = [
        [name, *(f"{row[c]:.{DIGITS[c]}f}" if c in row else "-" for c in columns)]
        for name, row in methods.items()
    ]
    title = (
        f"{average['set']}, {average['condition']}: "
        f"{average['items']} items, {average['frames']} frames"
    )
    return f"{title}\n{aligned(['method', *columns], rows)}"
