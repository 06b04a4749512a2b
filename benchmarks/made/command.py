"""Claim: a made frame costs at most half of the processor time that OpenCV's way takes for it.

The three steps of a frame halfway between two: ``look`` (motion, both ways, on the decoded luma),
``guide`` (how the frame is made, without a network) and ``make`` (the enlarged pictures are warped).
Two processes make the same frames of the drawn scene in turns: one as it is, the other as on a machine
without a C++ compiler, where OpenCV does what is compiled otherwise. Told are processor time, user and
system of all threads, and time as it passed, of many frames: the least, the median, p95. What was made
is compared with what the scene shows at that moment. Left out: the network that enlarges the pictures
and the one that may change the guide of a prediction.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from subprocess import PIPE
from typing import Any

from benchmarks.goal import Goal
from benchmarks.latency.crew import Crew, Program
from benchmarks.latency.stage import STARTS_WITHIN_S
from benchmarks.realtime.settings import Outcome
from benchmarks.result import out_file, write
from streamer import report
from streamer.enhance.frame_maker import SHORTEST_SIDE
from streamer.errors import ConfigError
from streamer.infer.sizes import parse_sides
from streamer.metrics import summary_of

WAYS = ("compiled", "opencv")
STEPS = ("look", "guide", "make")
ALL = "all"
TIMES_AS_FAST = 2.0
MADE_WITHIN_S = 120.0


@dataclass(slots=True)
class Made:
    """What one way took, frame by frame, in ms."""

    cpu_ms: dict[str, list[float]] = field(
        default_factory=lambda: {step: [] for step in (*STEPS, ALL)}
    )
    ms: dict[str, list[float]] = field(default_factory=lambda: {step: [] for step in (*STEPS, ALL)})
    psnr_y: list[float] = field(default_factory=list)

    def add(self, told: Mapping[str, Any]) -> None:
        """Of one turn."""
        for steps in told["steps"]:
            for values, of_steps in zip(
                (self.cpu_ms, self.ms), zip(*steps, strict=True), strict=True
            ):
                for step, value in zip(STEPS, of_steps, strict=True):
                    values[step].append(value)
                values[ALL].append(sum(of_steps))
        self.psnr_y += told["psnr_y"]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "cpu_ms": {step: _spread(values) for step, values in self.cpu_ms.items()},
            "ms": {step: _spread(values) for step, values in self.ms.items()},
            "psnr_y": round(fmean(self.psnr_y), 3),
        }


def main(arguments: list[str]) -> None:
    """Measure, print a table, and end with one line of JSON."""
    options = _parse(arguments)
    width, height = options.size
    name = f"{width}x{height} to {options.scale * width}x{options.scale * height}"
    made, level = _in_turns(width, height, options)
    outcome = _outcome(made, level)
    print(_table(name, made, outcome), flush=True)
    write(
        {
            "benchmark": "made",
            "command": " ".join(["python", "-m", "benchmarks", "made", *arguments]),
            "turns": options.turns,
            "scenarios": {name: outcome.as_dict()},
            "machine": report.machine(),
        },
        options.out,
    )


def _in_turns(width: int, height: int, options: Any) -> tuple[dict[str, Made], str]:
    """Both ways, and what the compiled one was compiled for."""
    made = {way: Made() for way in WAYS}
    size = ("--width", width, "--height", height, "--scale", options.scale)
    with Crew() as crew:
        makers = {
            way: crew.start_module(way, "benchmarks.made.maker", way, *size, stdin=PIPE)
            for way in WAYS
        }
        ready = {
            way: maker.hear("ready", within_s=STARTS_WITHIN_S, what="making frames")
            for way, maker in makers.items()
        }
        # One at a time: beside the other each would take longer.
        for turn in range(options.turns):
            for way, maker in makers.items():
                made[way].add(_turn(maker, turn))
    return made, str(ready["compiled"]["level"])


def _turn(maker: Program, turn: int) -> Mapping[str, Any]:
    maker.tell({"turn": turn})
    return maker.hear("made", within_s=MADE_WITHIN_S, what="telling what it made", turn=turn)


def _outcome(made: Mapping[str, Made], level: str) -> Outcome:
    ours, theirs = (made[way] for way in WAYS)
    return Outcome(
        claim="a made frame costs at most half of the processor time that OpenCV's way takes for it, "
        "and is no further from what was to be seen",
        baseline="the same program without what is compiled for the processor, in turns",
        left_out="the network that enlarges the pictures, and the one that may change the guide of a "
        "prediction",
        goals=(
            Goal(
                what="processor time of a made frame by OpenCV over that by compiled code, median",
                measured=_median(theirs.cpu_ms[ALL]) / _median(ours.cpu_ms[ALL]),
                at_least=TIMES_AS_FAST,
            ),
            Goal(
                what="PSNR of the luma above that by OpenCV, mean, dB",
                measured=fmean(ours.psnr_y) - fmean(theirs.psnr_y),
                at_least=0.0,
            ),
        ),
        extra={"level": level, "ways": {way: one.as_dict() for way, one in made.items()}},
    )


def _table(name: str, made: Mapping[str, Made], outcome: Outcome) -> str:
    frames = len(made[WAYS[0]].psnr_y)
    head = "".join(f"{column:>9}" for column in ("least", "median", "p95"))
    lines = [
        f"{name}, {frames} frames each; ms of processor time",
        f"{'':6}" + "".join(f"{way:>20}{'':7}" for way in WAYS),
        f"{'':6}{head}{head}{'ratio':>9}",
    ]
    for step in (*STEPS, ALL):
        found = [_spread(made[way].cpu_ms[step]) for way in WAYS]
        cells = "".join(f"{one[key]:9.2f}" for one in found for key in ("min", "p50", "p95"))
        lines.append(f"{step:6}{cells}{found[1]['p50'] / found[0]['p50']:9.2f}")
    passed = ", ".join(f"{way} {_median(one.ms[ALL]):.2f}" for way, one in made.items())
    lines.append(f"as it passed, median: {passed} ms")
    return "\n".join([*lines, *(f"{goal.text}" for goal in outcome.goals), ""])


def _spread(values: Sequence[float]) -> dict[str, float]:
    found = summary_of(values)
    spread = {"min": min(values), "p50": found.p50, "p95": found.p95}
    return {"n": found.n, **{name: round(value, 4) for name, value in spread.items()}}


def _median(values: Sequence[float]) -> float:
    return summary_of(values).p50


def _parse(arguments: list[str]) -> Any:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks made",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--size", default="640x360", help="of the decoded pictures")
    parser.add_argument("--scale", type=int, default=2, help="how much they are enlarged: 1 to 4")
    parser.add_argument("--turns", type=int, default=25, help="of each way, eight frames each")
    parser.add_argument("--out", type=out_file, help="also write the JSON to this file")
    options = parser.parse_args(arguments)
    sides = parse_sides(options.size)
    if not all(2 * SHORTEST_SIDE <= side <= 4096 and side % 2 == 0 for side in sides):
        raise ConfigError(
            f"--size {options.size} is out of range; use even sides from {2 * SHORTEST_SIDE} to 4096"
        )
    options.size = sides
    if not (1 <= options.scale <= 4 and options.turns >= 1):
        raise ConfigError(
            f"--scale {options.scale} and --turns {options.turns} are out of range; use 1 to 4 and 1 "
            "or more"
        )
    return options
