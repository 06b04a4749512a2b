"""Claim: what is drawn at the camera is seen a few milliseconds later, and others wait a picture.

The camera burns its monotonic clock into each picture at the instant of drawing; a reader on the
same machine takes the same clock when the decoded picture is in its hands, and reads the counter.
Every part (camera, RTSP server or publisher, streamer, viewer) is a process of its own. Nothing is
subtracted: coding in the camera, the wire and decoding are in. The counter is rounded down, so each
value is up to 1 ms too high, never too low. Where the sender can say it, its own share (drawing to
last RTP packet) is given as wire_ms, and the rest as from_wire_ms. The start and the first seconds
after every reader sees pictures are discarded. Baselines run in the same command: libav's RTSP
demuxer and aiortc as it comes. Left out: camera sensor and screen, and the network, which is the
loopback interface.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from typing import Any

import av

from benchmarks.goal import Goal
from benchmarks.latency.ingest import ingest_rtsp, ingest_whip
from benchmarks.latency.plot import draw
from benchmarks.latency.relay import hung_sink, relay, viewers
from benchmarks.latency.restart import restart
from benchmarks.latency.sightings import Measurement
from benchmarks.latency.stage import Options, PathResult, gstreamer_version
from benchmarks.result import add_drawn_files, chosen, plot_file, write, write_plot
from streamer import report

PATHS: Mapping[str, Callable[[Options], PathResult]] = {
    "ingest-rtsp": ingest_rtsp,
    "ingest-whip": ingest_whip,
    "relay": relay,
    "viewers": viewers,
    "hung-sink": hung_sink,
    "restart": restart,
}
WITHOUT_GSTREAMER = ("ingest-whip",)


def main(arguments: list[str]) -> None:
    """Measure the paths, print tables, draw, and end with one line of JSON."""
    run(_parse(arguments))


def run(given: argparse.Namespace) -> None:
    """All that was asked for, one path after the other."""
    names = chosen(given.paths, PATHS, what="path")
    options = Options(duration_s=given.duration, discard_s=given.discard, restarts=given.restarts)
    needed = [name for name in names if name not in WITHOUT_GSTREAMER]
    gstreamer = gstreamer_version() if needed else None
    results: dict[str, PathResult] = {}
    loads: dict[str, Any] = {}
    for name in names:
        print(f"{name}: measuring ...", flush=True)
        before = os.getloadavg()[0]
        results[name] = PATHS[name](options)
        loads[name] = {"before": round(before, 2), "after": round(os.getloadavg()[0], 2)}
        print(table(name, results[name]), flush=True)
    write(_as_json(options, results, loads, gstreamer), given.out)
    if (plot := plot_file(given)) is not None:
        groups = {name: result.measurements for name, result in results.items()}
        write_plot(draw("Glass-to-glass latency", groups), plot)


def table(name: str, result: PathResult) -> str:
    """What one path gave, for people."""
    head = ("p50", "p95", "p99", "max")
    lines = [
        "",
        f"{name}: {result.claim}",
        f"  {'ms':42}{'n':>7}"
        + "".join(f"{one:>9}" for one in head)
        + f"{'loss':>9}{'wire':>8}{'after it':>10}",
    ]
    lines += [_line(one) for one in result.measurements]
    for one in result.extra.get("returns", ()):
        within = one["back_within_ms"]
        seen = "never seen again" if within is None else f"seen again after {within:.0f} ms"
        sent = one["camera_sent_after_ms"]
        asked = "sent nothing" if sent is None else f"sent its first picture after {sent:.0f} ms"
        lines.append(f"  away for {one['down_s']:.1f} s: {seen}; the camera {asked}")
    lines += map(goal_line, result.goals)
    lines += [f"  {note}" for note in result.extra.get("notes", ())]
    return "\n".join([*lines, ""])


def goal_line(goal: Goal) -> str:
    """A goal, whether it is met, and its limit."""
    limit = f"<= {goal.at_most:g}" if goal.at_most is not None else f">= {goal.at_least:g}"
    return f"  [{'met' if goal.is_met else 'MISSED'}] {goal.text} ({limit})"


def _line(one: Measurement) -> str:
    found = one.summary
    values = "".join(f"{v:9.1f}" for v in (found.p50, found.p95, found.p99, found.max))
    wire = one.extra.get("wire_ms")
    text = f"  {one.name:42}{found.n:7}{values}{100 * one.loss_ratio:8.2f}%"
    if wire:
        text += f"{wire['p50']:8.1f}{one.extra['from_wire_ms']['p50']:10.1f}"
    if "cpu_s" in one.extra:
        tiers = ", ".join(f"{tier} {number}" for tier, number in one.extra["tiers"].items())
        text += f"   cpu {one.extra['cpu_s']:.1f} s, {tiers}"
    return text


def _as_json(
    options: Options,
    results: Mapping[str, PathResult],
    loads: Mapping[str, Any],
    gstreamer: str | None,
) -> dict[str, Any]:
    machine = report.machine()
    libraries = {
        "libavformat": ".".join(map(str, av.library_versions["libavformat"])),
        **({"gstreamer": gstreamer} if gstreamer else {}),
    }
    return {
        "benchmark": "latency",
        "what": "ms from drawing a picture to having it decoded, by the burnt-in counter; "
        "nothing subtracted, up to 1 ms too high",
        "picture": {"width": options.width, "height": options.height},
        "duration_s": options.duration_s,
        "discarded_s": options.discard_s,
        "paths": {
            name: {**result.as_dict(), "load_average": loads[name]}
            for name, result in results.items()
        },
        "machine": {**machine, "versions": {**machine["versions"], **libraries}},
    }


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks latency", description=__doc__)
    parser.add_argument("--paths", default=",".join(PATHS), help="which, joined by commas")
    parser.add_argument("--duration", type=float, default=60.0, help="seconds of each measurement")
    parser.add_argument("--discard", type=float, default=5.0, help="seconds before each of them")
    parser.add_argument("--restarts", type=int, default=5, help="how often the camera is killed")
    add_drawn_files(parser)
    return parser.parse_args(arguments)
