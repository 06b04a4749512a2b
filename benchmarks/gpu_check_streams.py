"""Claim: the whole program runs on this machine: a file to a file, and a scene live for a minute.

``file`` enhances every frame of a drawn scene that was coded as H.264, counts what the file holds,
and how often a picture was copied between host and device: never on a card that decodes and encodes
H.264, once a frame where it does not encode. ``live`` enlarges 1080p at 30 frames a
second to 4K at 60, encoded and thrown away, and gives the latency from arrived to sent. Either is a
program of its own, as a user starts it, on the first backend of a GPU that is installed; where there
is none, on what ``auto`` takes, which then says nothing about a GPU and is told as missing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import av

from benchmarks.goal import Goal
from benchmarks.gpu_check_engines import GPU_BACKENDS
from benchmarks.result import out_file, write
from streamer import report
from streamer.errors import ConfigError, SinkError
from streamer.gpu.encoding import encoder_on_device
from streamer.infer.backends import BACKENDS
from streamer.infer.sizes import parse_picture

FPS = 30
SLACK_MS = 15.0
"""Of latency, beyond the half interval that interpolation waits."""
CLOSING_S = 60.0
"""More than its duration a program may take before it is given up."""
SIZES = {"file": "640x360", "live": "1920x1080"}
DURATIONS_S = {"file": 10.0, "live": 60.0}


def main(arguments: list[str]) -> None:
    """Run one of both, and end with one line of JSON."""
    options = _parser().parse_args(arguments)
    width, height = parse_picture(options.size or SIZES[options.kind])
    seconds = options.duration or DURATIONS_S[options.kind]
    backend, missing = chosen_backend(options.backend)
    with tempfile.TemporaryDirectory() as folder:
        clip, made = Path(folder) / "clip.mp4", Path(folder) / "made.mkv"
        source = f"synthetic:{width}x{height}@{FPS}?seed=7"
        if options.kind == "file":
            plain = ("--to", str(clip), "--scale", "1")
            _run(f"{source}&pace=fast", *plain, backend="reference", seconds=seconds)
            larger = ("--to", str(made), "--scale", "2")
            told = _run(str(clip), *larger, backend=backend, seconds=seconds)
            goals = [*_file_goals(made, width, height, told), _lost(told)]
            if told["engines"][0]["device"] == "cuda":
                missing |= _cpus_part(told)
                goals += [_copies(told, at_most=0 if encoder_on_device() else 1)]
        else:
            more = ("--to", "null:", "--fps", "x2", "--scale", "2")
            told = _run(source, *more, backend=backend, seconds=seconds)
            goals = [*_live_goals(told), _lost(told)]
    result = {
        "benchmark": f"streams, {options.kind}",
        "command": f"python -m benchmarks streams {options.kind}",
        "machine": report.machine(),
        "missing": missing,
        "scenarios": {
            options.kind: {
                "claim": f"{width}x{height} at {FPS} fps, {seconds:g} s, --backend {backend}",
                "goals": [goal.as_dict() for goal in goals],
            }
        },
        "report": told,
        "table": table(told),
    }
    print(result["table"])
    write(result, options.out)


def chosen_backend(asked: str | None) -> tuple[str, dict[str, str]]:
    """The backend, and what is missing where it is none of a GPU."""
    if asked is not None:
        return asked, {}
    for name in GPU_BACKENDS:
        if BACKENDS[name].is_installed():
            return name, {}
    why = f"neither {' nor '.join(GPU_BACKENDS)} is installed, so this ran without the GPU"
    return "auto", {"backend of a GPU": why}


def table(told: dict[str, Any]) -> str:
    """Markdown: engines, tiers and latency of a run."""
    engines = ", ".join(f"{one['model']} on {one['backend']}" for one in told["engines"])
    lines = [f"{engines or 'no network'}; frames by tier: {told['tiers']}", ""]
    lines += ["| ms | n | p50 | p95 | p99 | max |", "|---|---|---|---|---|---|"]
    for name, one in told["latency_ms"].items():
        numbers = " | ".join(f"{one[part]:.2f}" for part in ("p50", "p95", "p99", "max"))
        lines.append(f"| {name} | {one['n']} | {numbers} |")
    return "\n".join(lines)


def _run(source: str, *options: str, backend: str, seconds: float) -> dict[str, Any]:
    """The report of a run; raises ``ConfigError`` with what the program refused with."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "report.json"
        command = [sys.executable, "-m", "streamer", "run", source, *options]
        command += ["--backend", backend, "--duration", str(seconds)]
        done = subprocess.run(
            [*command, "--report", str(out), "--port", "0"],
            stderr=subprocess.PIPE,
            text=True,
            timeout=seconds + CLOSING_S,
            check=False,
        )
        said = done.stderr.strip().splitlines() or ["it says nothing"]
        if done.returncode:
            raise ConfigError(f"streamer run ended with {done.returncode}: {said[-1]}")
        told: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        return told


def _file_goals(made: Path, width: int, height: int, told: dict[str, Any]) -> list[Goal]:
    """That every frame is in the file at twice the size; raises ``SinkError`` where it is not one."""
    try:
        with av.open(str(made)) as container:
            sizes = [(frame.width, frame.height) for frame in container.decode(video=0)]
    except OSError as error:
        raise SinkError(f"what was made cannot be read ({error}); see what it said") from error
    return [
        Goal(
            what="frames of the right size in the file, of those decoded",
            measured=sizes.count((2 * width, 2 * height)),
            at_least=max(1, told["frames"]["decoded"]),
        )
    ]


def _live_goals(told: dict[str, Any]) -> list[Goal]:
    return [
        Goal(
            what="live, arrived to sent, p95 ms",
            measured=told["latency_ms"]["arrived_to_sent"]["p95"],
            at_most=1000 / FPS / 2 + SLACK_MS,
        ),
        Goal(
            what="live, frames a second", measured=told["fps"]["out"] or 0.0, at_least=2 * FPS - 1
        ),
    ]


def _copies(told: dict[str, Any], *, at_most: int) -> Goal:
    """Of whole pictures, for each frame; warming up counts for nothing."""
    copied = sum(number for name, number in told["copied"].items() if name != "warming")
    each = copied / max(1, told["frames"]["decoded"])
    what = "copies between host and device, of each frame of the file"
    return Goal(what=what, measured=each, at_most=at_most)


def _cpus_part(told: dict[str, Any]) -> dict[str, str]:
    """What the card did not do of decoding and encoding, and why."""
    parts = {} if encoder_on_device() else {"encoder of the card": "it has none for H.264"}
    return parts | ({"decoder of the card": told["notice"]} if told["notice"] else {})


def _lost(told: dict[str, Any]) -> Goal:
    return Goal(what="frames lost", measured=sum(told["frames"]["dropped"].values()), at_most=0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks streams", description=__doc__)
    parser.add_argument("kind", choices=list(SIZES))
    parser.add_argument("--backend", help="instead of the first of a GPU that is installed")
    parser.add_argument("--size", help="of the scene, before it is enlarged")
    parser.add_argument("--duration", type=float, help="seconds")
    parser.add_argument("--out", type=out_file, help="also write the JSON to this file")
    return parser
