"""Claim: sending a picture to a WebRTC viewer takes half the processor time that stock aiortc takes.

One process sends pictures that were coded before, another holds the viewers, who are aiortc's in both
cases and decode nothing. The two ways take turns, with the same pictures at the same rate. Told is
the time of the sending thread, user and system, for each picture and viewer: less what the same
process took for as long before a viewer joined (feeding the pictures at their times), and the whole.
The calls that send, and those that set how, are counted by strace in runs of their own, which are not
timed. Left out: coding, and what the viewers take. On the loopback interface a part of receiving is
done in the sender's call, alike for both.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from subprocess import PIPE
from typing import Any

from benchmarks.goal import Goal
from benchmarks.latency.crew import Crew, Program
from benchmarks.latency.stage import STARTS_WITHIN_S, pass_on
from benchmarks.realtime.settings import Outcome
from benchmarks.result import out_file, write
from streamer import report
from streamer.errors import ConfigError
from streamer.infer.sizes import parse_sides

WAYS = ("streamer", "aiortc")
OURS, STOCK = WAYS
MOST_OF_STOCK = 0.5
"""Of stock aiortc's processor time."""
SETTLES_S = 1.0
CALLS = ("sendto", "sendmsg", "sendmmsg", "setsockopt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One way with so many viewers, once."""

    whole_ms: float
    """Of the thread, for each picture and viewer."""
    feeding_ms: float
    """Of the thread before a viewer joined, for each picture."""
    sending_ms: float
    """What the viewers added, for each picture and viewer."""
    kbps: float
    received_per_s: float
    """Pictures at the viewer who got the fewest."""


def main(arguments: list[str]) -> None:
    """Measure, print a table, and end with one line of JSON."""
    options = _parse(arguments)
    print(
        f"{options.size} at {options.fps} fps, {options.kbps} kbit/s; "
        "ms and calls for each picture and viewer"
    )
    print(
        f"{'viewers':>7}  {'way':10}{'ms':>10}{'whole ms':>10}{'send':>8}{'set':>8}{'received/s':>12}"
    )
    scenarios = {_name(number): _compared(number, options).as_dict() for number in options.viewers}
    write(
        {
            "benchmark": "sending",
            "command": " ".join(["python", "-m", "benchmarks", "sending", *arguments]),
            "picture": {"size": options.size, "fps": options.fps, "kbps": options.kbps},
            "seconds": options.seconds,
            "rounds": options.rounds,
            "scenarios": scenarios,
            "machine": report.machine(),
        },
        options.out,
    )


def _compared(number: int, options: Any) -> Outcome:
    """Both ways in turns, so that what else the machine does meets both."""
    runs: dict[str, list[Run]] = {way: [] for way in WAYS}
    for _ in range(options.rounds):
        for way in WAYS:
            runs[way].append(_timed(way, number, options))
    calls = {way: _counted(way, number, options) for way in WAYS}
    for way in WAYS:
        print(_line(number, way, runs[way], calls[way]), flush=True)
    ratios, whole = (
        [
            getattr(ours, name) / getattr(stock, name)
            for ours, stock in zip(runs[OURS], runs[STOCK], strict=True)
        ]
        for name in ("sending_ms", "whole_ms")
    )
    goal = Goal(
        what=f"thread time for each picture and viewer, of aiortc's, {_name(number)}, median of the rounds",
        measured=median(ratios),
        at_most=MOST_OF_STOCK,
    )
    print(
        f"{'':9}of aiortc's {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), "
        f"of its whole thread {median(whole):.2f}\n",
        flush=True,
    )
    return Outcome(
        claim="sending a picture to a WebRTC viewer takes half the processor time that stock aiortc "
        "takes for what is coded already",
        baseline="aiortc's RTCRtpSender with a track of coded packets for each viewer, in turns",
        left_out="coding, feeding the pictures at their times, and the viewers",
        goals=(goal,),
        extra={
            "ratio_rounds": [round(one, 3) for one in ratios],
            "ratio_of_whole_thread": round(median(whole), 3),
            "ways": {way: _way(runs[way], calls[way]) for way in WAYS},
        },
    )


def _timed(way: str, number: int, options: Any) -> Run:
    with Crew() as crew:
        sender = crew.start_module(
            "sender", "benchmarks.sending.sender", *_sent(way, options), stdin=PIPE
        )
        sender.hear("ready", within_s=STARTS_WITHIN_S, what="sending")
        alone = _measured(sender, 0, options.seconds)
        viewers = _joined(crew, sender, number)
        crew.run_for(SETTLES_S)
        before = _received(viewers)
        found = _measured(sender, 1, options.seconds)
        after = _received(viewers)
        span_s = (after[0] - before[0]) / 1e9
        fewest = min(b - a for a, b in zip(before[1], after[1], strict=True))
        whole_ms, feeding_ms = (one["thread_ms"] / one["pictures"] for one in (found, alone))
        return Run(
            whole_ms=whole_ms / number,
            feeding_ms=feeding_ms,
            sending_ms=(whole_ms - feeding_ms) / number,
            kbps=found["bytes"] * 8 / 1000 / found["seconds"],
            received_per_s=fewest / span_s,
        )


def _counted(way: str, number: int, options: Any) -> Mapping[str, float] | None:
    """Calls for each picture and viewer; ``None`` where strace is missing or may not trace."""
    # With -D the program is the sender, strace its child: whoever ends the one ends both.
    strace = shutil.which("strace")
    if strace is None:
        return None
    with tempfile.TemporaryDirectory() as folder, Crew() as crew:
        log = Path(folder) / "calls"
        tracing = (
            "-D",
            "-f",
            "--seccomp-bpf",
            "-ttt",
            "-e",
            f"trace={','.join(CALLS)}",
            "-o",
            str(log),
        )
        sender = crew.start(
            "traced sender",
            *(strace, *tracing, sys.executable, "-m", "benchmarks.sending.sender"),
            *_sent(way, options),
            stdin=PIPE,
        )
        sender.wait_for(
            lambda: sender.told("ready") or not sender.is_running,
            within_s=STARTS_WITHIN_S,
            what="sending",
        )
        if not sender.is_running:
            return None
        _joined(crew, sender, number)
        crew.run_for(SETTLES_S)
        found = _measured(sender, 1, min(2.0, options.seconds))
        counted = Counter(_calls(log, found["began_wall_s"], found["ended_wall_s"]))
    return {name: counted[name] / found["pictures"] / number for name in ("send", "set")}


def _calls(log: Path, began_s: float, ended_s: float) -> Iterator[str]:
    """``send`` and ``set`` for each call of the span, as strace wrote them down."""
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        _, instant_s, call = line.split(maxsplit=2)
        if not began_s <= float(instant_s) < ended_s:
            continue
        name = call.partition("(")[0]
        # What wakes the event loop goes through a pair of sockets, to no address.
        if name in CALLS[:3] and "sa_family=AF_INET" in call:
            yield "send"
        elif name == "setsockopt":
            yield "set"


def _joined(crew: Crew, sender: Program, number: int) -> Program:
    """Viewers who have all seen a picture."""
    viewers = crew.start_module("viewers", "benchmarks.sending.viewers", number, stdin=PIPE)
    pass_on("offers", viewers, sender)
    pass_on("answers", sender, viewers)

    def all_see() -> bool:
        told = viewers.told("pictures")
        return told is not None and all(told["pictures"])

    viewers.wait_for(all_see, within_s=STARTS_WITHIN_S, what="seeing a picture")
    return viewers


def _measured(sender: Program, number: int, seconds: float) -> Mapping[str, Any]:
    """What the sender says of its next seconds."""
    sender.tell({"event": "measure", "number": number, "seconds": seconds})
    within_s = seconds + STARTS_WITHIN_S
    found = sender.hear("measured", within_s=within_s, what="telling what it took", number=number)
    if not found["pictures"]:
        raise ConfigError("no picture was sent meanwhile; measure for longer with --seconds")
    return found


def _received(viewers: Program) -> tuple[int, Sequence[int]]:
    told = viewers.told("pictures")
    assert told is not None
    return int(told["at_ns"]), told["pictures"]


def _way(runs: Sequence[Run], calls: Mapping[str, float] | None) -> dict[str, Any]:
    return {
        **{
            name: round(median(getattr(run, name) for run in runs), 4)
            for name in ("sending_ms", "whole_ms", "feeding_ms")
        },
        "sending_ms_rounds": [round(run.sending_ms, 4) for run in runs],
        "kbps": round(median(run.kbps for run in runs)),
        "received_per_s": round(min(run.received_per_s for run in runs), 1),
        "calls": None if calls is None else {name: round(n, 2) for name, n in calls.items()},
    }


def _line(number: int, way: str, runs: Sequence[Run], calls: Mapping[str, float] | None) -> str:
    found = _way(runs, calls)
    counted = (f"{'?' if calls is None else round(calls[name], 1):>8}" for name in ("send", "set"))
    return (
        f"{number:7}  {way:10}{found['sending_ms']:10.3f}{found['whole_ms']:10.3f}{''.join(counted)}"
        f"{found['received_per_s']:12.1f}"
    )


def _name(number: int) -> str:
    return "1 viewer" if number == 1 else f"{number} viewers"


def _sent(way: str, options: Any) -> tuple[str, ...]:
    width, height = map(str, parse_sides(options.size))
    return (
        *(way, "--width", width, "--height", height),
        *("--fps", str(options.fps), "--kbps", str(options.kbps)),
    )


def _parse(arguments: list[str]) -> Any:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks sending",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--size", default="1280x720", help="of the pictures")
    parser.add_argument("--fps", type=int, default=60)
    parser.add_argument("--kbps", type=int, default=11_000)
    parser.add_argument("--viewers", default="1,4", help="how many, one after the other")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each round")
    parser.add_argument("--rounds", type=int, default=3, help="of both ways, in turns")
    parser.add_argument("--out", type=out_file, help="also write the JSON to this file")
    options = parser.parse_args(arguments)
    try:
        options.viewers = [int(number) for number in options.viewers.split(",")]
    except ValueError as error:
        raise ConfigError(f"--viewers is a list ({error}); write it as --viewers 1,4") from None
    if not all(1 <= number <= 100 for number in options.viewers):
        raise ConfigError(f"--viewers {options.viewers} is out of range; use 1 to 100")
    if not all(side >= 64 and side % 2 == 0 for side in parse_sides(options.size)):
        raise ConfigError(f"--size {options.size} is out of range; use even sides from 64 on")
    if not (1 <= options.fps <= 240 and options.seconds >= 0.5 and options.rounds >= 1):
        raise ConfigError(
            f"--fps {options.fps}, --seconds {options.seconds:g} and --rounds {options.rounds} are out "
            "of range; use 1 to 240, 0.5 or more and 1 or more"
        )
    return options
