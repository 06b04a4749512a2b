"""The measurements of one run as a drawing: latency over time, and how often each value came.

Beneath it, where that is given: frames by tier and origin over the same time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import cycle

from benchmarks.latency.sightings import Measurement

WIDTH, PANEL_HEIGHT = 1000, 190
LEFT, OVER_TIME, HISTOGRAM, GAP = 56, 600, 260, 50
TOP, BOTTOM = 46, 34
STRIP, BENEATH = 44, 74
"""Height of the bars beneath a panel, and of all that stands there."""

KINDS = {
    "interpolated": "#9775fa",
    "predicted": "#f783ac",
    "repeated": "#adb5bd",
    "lite": "#2f9e44",
    "nano": "#8ce99a",
    "plain": "#ffa94d",
}
"""These look the same in every drawing; other tiers take ``OTHERS`` in turn."""
OTHERS = ("#1971c2", "#66d9e8", "#0b7285")
COLORS = ("#0b6e99", "#d9480f", "#2b8a3e", "#862e9c", "#5c4400", "#c2255c", "#495057", "#1864ab")
BINS = 60
MOST_POINTS = 1500
"""Dots drawn of one measurement; every n-th beyond it."""
_CUT = 0.995
"""The scale ends where all but this share lies below; what is above is drawn at the edge."""


Stretch = tuple[float, float, Mapping[str, int]]
"""From a second to a second: how many frames of each tier and origin."""


def draw(
    title: str,
    panels: Mapping[str, Sequence[Measurement]],
    *,
    beneath: Mapping[str, Sequence[Stretch]] | None = None,
) -> str:
    """An SVG with a row for each group of measurements that has values.

    ``beneath`` has the frames over the time of a group, by the group's name.
    """
    rows = {name: [one for one in group if one.seen] for name, group in panels.items()}
    rows = {name: group for name, group in rows.items() if group}
    parts, top = [], 40
    for name, group in rows.items():
        stretches = (beneath or {}).get(name, ())
        parts.append(_panel(name, group, top, stretches))
        top += TOP + PANEL_HEIGHT + BOTTOM + 18 * ((len(group) + 1) // 2)
        if stretches:
            parts.append(_strip(stretches, top, longest_s=_longest_s(group, stretches)))
            top += BENEATH
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" '
        f'width="{WIDTH}" height="{top}" font-family="sans-serif" font-size="12">'
    )
    background = f'<rect width="{WIDTH}" height="{top}" fill="#fff"/>'
    heading = f'<text x="{LEFT}" y="24" font-size="15" font-weight="bold">{escape(title)}</text>'
    return "\n".join([head, background, heading, *parts, "</svg>", ""])


def _panel(name: str, group: Sequence[Measurement], top: int, stretches: Sequence[Stretch]) -> str:
    limit_ms = _limit_ms(group)
    legend = 18 * ((len(group) + 1) // 2)
    y0 = top + TOP + legend
    right = LEFT + OVER_TIME + GAP
    longest_s = _longest_s(group, stretches)
    parts = [
        f'<text x="{LEFT}" y="{top + 20}" font-weight="bold">{escape(name)}</text>',
        _frame(LEFT, y0, OVER_TIME),
        _frame(right, y0, HISTOGRAM),
        _note(LEFT, y0 - 6, "ms, over time"),
        _note(right, y0 - 6, "how often each value came"),
        _note(LEFT, y0 + PANEL_HEIGHT + 16, "0 s"),
        _note(LEFT + OVER_TIME, y0 + PANEL_HEIGHT + 16, f"{longest_s:.0f} s", anchor="end"),
        _note(right, y0 + PANEL_HEIGHT + 16, "0 ms"),
        _note(right + HISTOGRAM, y0 + PANEL_HEIGHT + 16, f"{limit_ms:.0f} ms", anchor="end"),
    ]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = y0 + PANEL_HEIGHT * (1 - share)
        parts.append(
            f'<line x1="{LEFT}" x2="{LEFT + OVER_TIME}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        )
        parts.append(_note(LEFT - 6, y + 4, f"{limit_ms * share:.0f}", anchor="end"))
    highest = max(max(_bins(one, limit_ms)) for one in group)
    for index, one in enumerate(group):
        color = COLORS[index % len(COLORS)]
        parts.append(_dots(one, color, y0, limit_ms=limit_ms, longest_s=longest_s))
        parts.append(_steps(one, color, right, y0, limit_ms=limit_ms, highest=highest))
        parts.append(_legend(one, color, LEFT + 460 * (index % 2), top + 38 + 18 * (index // 2)))
    return "\n".join(parts)


def _longest_s(group: Sequence[Measurement], stretches: Sequence[Stretch]) -> float:
    ends = [_seconds(one)[-1] for one in group] + [ended_s for _, ended_s, _ in stretches]
    return max(ends) or 1.0


def _strip(stretches: Sequence[Stretch], top: int, *, longest_s: float) -> str:
    """Frames a second as stacked bars, with what each colour is."""
    names = list(dict.fromkeys(name for _, _, counts in stretches for name in counts))
    others = cycle(OTHERS)
    colors = {name: KINDS.get(name) or next(others) for name in names}
    highest = max(sum(counts.values()) / (end - begin) for begin, end, counts in stretches) or 1.0
    parts = [_note(LEFT, top - 4, f"frames a second by tier and origin, up to {highest:.0f}")]
    for begin_s, end_s, counts in stretches:
        y = float(top + STRIP)
        x = LEFT + OVER_TIME * begin_s / longest_s
        width = OVER_TIME * (end_s - begin_s) / longest_s
        for name in names:
            height = STRIP * counts.get(name, 0) / (end_s - begin_s) / highest
            y -= height
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.2f}" height="{height:.1f}" '
                f'fill="{colors[name]}"/>'
            )
    for index, name in enumerate(names):
        x = LEFT + OVER_TIME + GAP + 130 * (index % 2)
        y = top + 10 + 15 * (index // 2)
        parts.append(f'<rect x="{x}" y="{y - 9}" width="10" height="10" fill="{colors[name]}"/>')
        parts.append(_note(x + 16, y, name))
    return "\n".join(parts)


def _limit_ms(group: Sequence[Measurement]) -> float:
    values = sorted(sighting.latency_ms for one in group for sighting in one.seen)
    highest = values[min(len(values) - 1, int(len(values) * _CUT))]
    step = next(step for step in (5, 10, 20, 50, 100, 500, 10**9) if highest <= 8 * step)
    return float(step * (int(highest / step) + 1))


def _seconds(one: Measurement) -> list[float]:
    return [(sighting.at_ns - one.began_ns) / 1e9 for sighting in one.seen]


def _bins(one: Measurement, limit_ms: float) -> list[float]:
    """Shares of the pictures, by latency from 0 to the limit."""
    counts = [0.0] * BINS
    for sighting in one.seen:
        counts[min(BINS - 1, int(BINS * sighting.latency_ms / limit_ms))] += 1 / len(one.seen)
    return counts


def _dots(one: Measurement, color: str, y0: float, *, limit_ms: float, longest_s: float) -> str:
    every = -(-len(one.seen) // MOST_POINTS)
    path = []
    for seconds, sighting in list(zip(_seconds(one), one.seen, strict=True))[::every]:
        x = LEFT + OVER_TIME * seconds / longest_s
        y = y0 + PANEL_HEIGHT * (1 - min(1.0, sighting.latency_ms / limit_ms))
        # A line of no length with round ends is a dot, in fewer characters than a circle.
        path.append(f"M{x:.1f} {y:.1f}h0")
    return (
        f'<path d="{"".join(path)}" stroke="{color}" stroke-width="2.4" '
        'stroke-linecap="round" stroke-opacity=".6" fill="none"/>'
    )


def _steps(
    one: Measurement, color: str, x0: float, y0: float, *, limit_ms: float, highest: float
) -> str:
    points = []
    for index, share in enumerate(_bins(one, limit_ms)):
        y = y0 + PANEL_HEIGHT * (1 - 0.95 * share / highest)
        points += [f"{x0 + HISTOGRAM * (index + end) / BINS:.1f},{y:.1f}" for end in (0, 1)]
    return f'<polyline points="{" ".join(points)}" stroke="{color}" fill="none"/>'


def _legend(one: Measurement, color: str, x: float, y: float) -> str:
    found = one.summary
    text = f"{one.name}: p50 {found.p50:.1f}, p95 {found.p95:.1f}, max {found.max:.1f} ms"
    return (
        f'<rect x="{x}" y="{y - 9}" width="10" height="10" fill="{color}"/>'
        f'<text x="{x + 16}" y="{y}">{escape(text)}</text>'
    )


def _frame(x: float, y: float, width: float) -> str:
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{PANEL_HEIGHT}" fill="none" stroke="#999"/>'
    )


def _note(x: float, y: float, text: str, *, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y:.1f}" fill="#666" text-anchor="{anchor}">{escape(text)}</text>'
