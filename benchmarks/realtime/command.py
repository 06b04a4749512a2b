"""Claim: the stream stays even, prompt and whole, and says so in another process's eyes.

Every part (camera, RTSP server, streamer, viewer, load) is a process of its own, on one machine and
over the loopback interface. The camera burns its clock and a number into each picture; the viewer
notes when each picture came, what its time stamp is, and what it reads. A made picture reads as none
or as a neighbour, and is told apart by its time stamp. What the viewer saw at the start and in the first
seconds after it is discarded; what the streamer says of itself is of its whole run. Each scenario
states its claim, its baseline and what it leaves out.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.latency.command import goal_line
from benchmarks.latency.plot import draw
from benchmarks.latency.stage import gstreamer_version
from benchmarks.quality.filters import version as ffmpeg_version
from benchmarks.realtime.between import against_minterpolate
from benchmarks.realtime.cores import Taken, speed
from benchmarks.realtime.cuts import cuts
from benchmarks.realtime.doubling import double, predict
from benchmarks.realtime.load import load
from benchmarks.realtime.loss import loss
from benchmarks.realtime.rhythm import rhythm
from benchmarks.realtime.settings import DISCARD_S, Outcome, Settings
from benchmarks.result import add_drawn_files, chosen, plot_file, write, write_plot
from streamer import report

SCENARIOS: Mapping[str, Callable[[Settings], Outcome]] = {
    "double": double,
    "predict": predict,
    "minterpolate": against_minterpolate,
    "rhythm": rhythm,
    "loss": loss,
    "load": load,
    "cuts": cuts,
}
WITHOUT_CAMERA = ("minterpolate", "cuts")


def main(arguments: list[str]) -> None:
    """Measure the scenarios, print tables, draw, and end with one line of JSON."""
    run(_parse(arguments), command=["python", "-m", "benchmarks", "realtime", *arguments])


@dataclass(frozen=True, slots=True)
class _Measured:
    """One scenario, and the load of the machine around it."""

    outcome: Outcome
    load_average: Mapping[str, float]
    cores: Mapping[str, Mapping[str, float]]
    """Before and after, see ``cores.speed``."""
    taken: float | None
    """While it ran, see ``cores.Taken``."""


def run(given: argparse.Namespace, *, command: list[str]) -> None:
    """All that was asked for, one scenario after the other."""
    names = chosen(given.only, SCENARIOS, what="scenario")
    settings = Settings(
        duration_s=given.duration,
        discard_s=given.discard,
        data=tuple(given.data),
        frames=given.frames,
    )
    needs_camera = any(name not in WITHOUT_CAMERA for name in names)
    gstreamer = gstreamer_version() if needs_camera else None
    done: dict[str, _Measured] = {}
    for name in names:
        print(f"{name}: measuring ...", flush=True)
        before, cores = os.getloadavg()[0], speed()
        taken = Taken()
        outcome = SCENARIOS[name](settings)
        share = taken.share()
        loads = {"before": round(before, 2), "after": round(os.getloadavg()[0], 2)}
        measured = done[name] = _Measured(
            outcome, loads, {"before": cores, "after": speed()}, share
        )
        print(table(name, outcome), flush=True)
        print(_cores_line(measured), flush=True)
    # Where things lie on this machine is nobody else's matter; their names say enough.
    said = [Path(part).name if Path(part).is_absolute() else part for part in command]
    write(_as_json(settings, done, gstreamer=gstreamer, command=" ".join(said)), given.out)
    drawn = {name: one.outcome for name, one in done.items() if one.outcome.measurements}
    if drawn and (plot := plot_file(given)) is not None:
        groups = {name: one.measurements for name, one in drawn.items()}
        beneath = {name: one.over_time for name, one in drawn.items()}
        write_plot(draw("Real time", groups, beneath=beneath), plot)


def table(name: str, outcome: Outcome) -> str:
    """What one scenario gave, for people."""
    lines = ["", f"{name}: {outcome.claim}", f"  against: {outcome.baseline}"]
    for one in outcome.measurements:
        found, cadence = one.summary, one.extra["cadence_ms"]
        lines.append(
            f"  {one.name}: n {found.n}, p50 {found.p50:.1f}, p95 {found.p95:.1f}, "
            f"p99 {found.p99:.1f} ms; cadence error p50 {cadence['p50']:.1f}, p95 "
            f"{cadence['p95']:.1f} ms of {cadence['n']}; {one.missing} real pictures not seen"
        )
    return "\n".join([*lines, *map(goal_line, outcome.goals), ""])


def _cores_line(measured: _Measured) -> str:
    cores, taken = measured.cores, measured.taken
    gave = (f"{one['two_at_once']:.2f} {when}" for when, one in cores.items())
    late = (f"{one['wakes_late_p95_ms']:.2f} {when}" for when, one in cores.items())
    told = "the system does not tell" if taken is None else f"{100 * taken:.0f} %"
    return (
        f"  two cores at once gave, of one: {', '.join(gave)}; "
        f"sleeps ended late by, p95 in ms: {', '.join(late)}; "
        f"other guests took of the time to run: {told}\n"
    )


def _as_json(
    settings: Settings, done: Mapping[str, _Measured], *, gstreamer: str | None, command: str
) -> dict[str, Any]:
    machine = report.machine()
    programs = {"gstreamer": gstreamer, "ffmpeg": ffmpeg_version()}
    versions = {**machine["versions"], **{name: v for name, v in programs.items() if v}}
    return {
        "benchmark": "realtime",
        "command": command,
        "duration_s": settings.duration_s,
        "discarded_s": settings.discard_s,
        "scenarios": {
            name: {
                **one.outcome.as_dict(),
                "load_average": one.load_average,
                "cores": one.cores,
                "taken_by_other_guests": one.taken,
            }
            for name, one in done.items()
        },
        "machine": {**machine, "versions": versions},
    }


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks realtime", description=__doc__)
    parser.add_argument("--only", default=",".join(SCENARIOS), help="which, joined by commas")
    parser.add_argument("--duration", type=float, help="seconds of each scenario with a camera")
    parser.add_argument(
        "--discard", type=float, default=DISCARD_S, help="seconds before each of them"
    )
    parser.add_argument(
        "--data", type=Path, action="append", default=[], help="folder of clips; may be repeated"
    )
    parser.add_argument("--frames", type=int, default=61, help="of each clip, at most")
    add_drawn_files(parser)
    return parser.parse_args(arguments)
