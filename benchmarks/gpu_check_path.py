"""Claim: the device path costs under 1 ms beside its engine, and one card holds 50 streams of 640x360.

``python -m benchmarks.gpu_check_path``, for ``make gpu-check``. The path: a 1080p picture of the host
to 4K in device memory, as a stream does it (upload, pack, network, residual), one after the other, and
the engine alone beside it in the same run. Streams: threads of one process, each with pictures of its
own at 30 frames a second, enlarged and landed on the host; a frame that lands later than an interval
after its time is late. Left out: decoding and encoding.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from statistics import median
from threading import Barrier, Thread
from time import sleep
from typing import Any

import numpy as np

from benchmarks.goal import Goal
from benchmarks.gpu_check_engines import GPU_BACKENDS, taken_ms
from benchmarks.result import keep, out_file, write
from streamer import report
from streamer.clock import Clock, MonotonicClock
from streamer.errors import EngineError, StreamerError
from streamer.frame import Frame, Planes
from streamer.gpu.choosing import DeviceChoice, choose_on_device
from streamer.gpu.door import Gpu
from streamer.gpu.pictures import DevicePlanes
from streamer.gpu.super_resolution import DeviceSuperResolution
from streamer.infer.backends import BACKENDS
from streamer.infer.engine import Deadline
from streamer.infer.sizes import sizes_for
from streamer.media import Color
from streamer.metrics import Metrics, summary_of

GOAL_MS = 1.0
GOAL_STREAMS = 50
FPS = 30
IN_TIME = 0.99
"""Of all frames, where streams are held."""

Open = Callable[..., DeviceChoice]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints a table, and ends with one line of JSON; a sentence and 2 where nothing is installed
    that could be measured, 1 where it fails."""
    options = _parser().parse_args(arguments)
    try:
        backend = options.backend or next(n for n in GPU_BACKENDS if BACKENDS[n].is_installed())
        opened = partial(choose_on_device, backend=backend, variant=options.variant)
        result: dict[str, Any] = {"benchmark": "path", "machine": report.machine(), "missing": {}}
        goals: list[dict[str, Any]] = []
        claim = {"claim": "under 1 ms beside the engine; 50 streams", "goals": goals}
        result |= {"command": "python -m benchmarks.gpu_check_path", "scenarios": {"path": claim}}
        result["path"] = path(opened, width=1920, height=1080, rounds=200)
        goals += path_goals(result["path"])
        keep(result, options.out)
        result["streams"] = []
        for number in options.streams:
            result["streams"].append(streams(opened, number, seconds=options.seconds))
            if result["streams"][-1]["in_time"] < IN_TIME:
                break
        goals.append(streams_goal(result["streams"]))
    except StopIteration:
        sys.stderr.write(f"neither {' nor '.join(GPU_BACKENDS)} is installed\n")
        return 2
    except StreamerError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    result["table"] = table(result)
    sys.stdout.write(result["table"] + "\n")
    write(result, options.out)
    return 0


def path(opened: Open, *, width: int, height: int, rounds: int) -> dict[str, Any]:
    """Of single frames, in ms: the way of one, its engine alone, and what was allocated meanwhile."""
    clock = MonotonicClock()
    with _stage(opened, clock, lands_at_once=False) as (stage, gpu):
        stage.warm_up(width, height)
        tier, frame = stage.tiers[0], _frame(width, height)
        engine = stage.engines[tier]
        run = engine.resident(sizes_for(engine.manifest, width=width, height=height))

        def whole() -> None:
            planes = stage.process(frame, tier=tier, with_comparison=False).planes
            assert isinstance(planes, DevicePlanes)
            if planes.to_show() is None:
                raise EngineError("the picture was not made on the device; see the log")

        def alone() -> None:
            run.queue()
            gpu.compute.wait()

        for _ in range(8):
            whole()
        before = gpu.memory.allocations + gpu.pinned.allocations
        taken = {
            "whole_ms": median(taken_ms(whole, clock, rounds)),
            "alone_ms": median(taken_ms(alone, clock, rounds)),
        }
        allocated = gpu.memory.allocations + gpu.pinned.allocations - before
        label = f"{engine.manifest.name} on {engine.backend}"
    beside = taken["whole_ms"] - taken["alone_ms"]
    return {"what": label, **taken, "beside_ms": beside, "rounds": rounds, "allocated": allocated}


def path_goals(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of ``path``."""
    beside = Goal(
        what="the device path beside its engine, 1080p to 4K, ms",
        measured=told["beside_ms"],
        at_most=GOAL_MS,
    )
    allocated = Goal(
        what="allocations on the device path, once sizes are known",
        measured=told["allocated"],
        at_most=0,
    )
    return [beside.as_dict(), allocated.as_dict()]


def streams(
    opened: Open, number: int, *, seconds: float, width: int = 640, height: int = 360
) -> dict[str, Any]:
    """How many of the frames of so many streams landed in time, and how long they took, in ms."""
    clock, frames = MonotonicClock(), round(seconds * FPS)
    together, taken = Barrier(number), [list[float]() for _ in range(number)]
    failures: list[str] = []

    def play(one: int) -> None:
        try:
            with _stage(opened, clock, lands_at_once=True) as (stage, _):
                stage.warm_up(width, height)
                together.wait()
                taken[one] += _played(stage, _frame(width, height, seed=one), clock, frames, one)
        except StreamerError as error:
            failures.append(str(error))
            together.abort()
        except RuntimeError:
            # Another one could not be opened.
            return

    threads = [Thread(target=play, args=(one,), daemon=True) for one in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise EngineError(f"{number} streams at once: {failures[0]}")
    all_ms = [one for each in taken for one in each]
    in_time = sum(one <= 1000 / FPS for one in all_ms) / len(all_ms)
    took = summary_of(all_ms)
    return {
        "number": number,
        "frames": took.n,
        "in_time": in_time,
        "p50": took.p50,
        "p95": took.p95,
    }


def _played(
    stage: DeviceSuperResolution, frame: Frame, clock: Clock, frames: int, one: int
) -> list[float]:
    """From each frame's time until its picture is there, in ms; streams begin apart from each other."""
    began_ns = clock.now_ns() + one * 10**9 // FPS // 7
    taken = []
    for number in range(frames):
        due_ns = began_ns + number * 10**9 // FPS
        sleep(max(0.0, (due_ns - clock.now_ns()) / 1e9))
        sent = stage.process(
            frame, tier=stage.tiers[0], with_comparison=False, deadline_ns=due_ns + 10**9 // FPS
        )
        sent.planes[0][0, 0]
        taken.append((clock.now_ns() - due_ns) / 1e6)
    return taken


def streams_goal(told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The most that were held."""
    held = max((each["number"] for each in told if each["in_time"] >= IN_TIME), default=0)
    return Goal(
        what="streams of 640x360 to 1280x720 at 30 fps that one card holds, without codecs",
        measured=held,
        at_least=GOAL_STREAMS,
    ).as_dict()


def table(result: Mapping[str, Any]) -> str:
    """Markdown."""
    told = result["path"]
    alone = f"{told['alone_ms']:.2f}; {told['allocated']} allocations"
    lines = [
        f"{told['what']}, 1080p to 4K, ms a frame: {told['whole_ms']:.2f}, the engine alone {alone}.",
        "",
        "| streams of 640x360 | frames | in time | p50 ms | p95 ms |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {each['number']} | {each['frames']} | {100 * each['in_time']:.1f} % "
        f"| {each['p50']:.1f} | {each['p95']:.1f} |"
        for each in result["streams"]
    ]
    return "\n".join(lines)


@contextmanager
def _stage(
    opened: Open, clock: Clock, *, lands_at_once: bool
) -> Iterator[tuple[DeviceSuperResolution, Gpu]]:
    """Raises ``EngineError`` where there is no device path."""
    choice = opened(
        scale=2,
        metrics=Metrics(),
        clock=clock,
        deadline=Deadline(),
        lands_at_once=lambda: lands_at_once,
    )
    if choice.stage is None or choice.gpu is None:
        raise EngineError(choice.reason or "no network is shipped for this device")
    try:
        yield choice.stage, choice.gpu
    finally:
        choice.stage.close()


def _frame(width: int, height: int, *, seed: int = 0) -> Frame:
    numbers = np.random.default_rng(seed)
    shapes = (height, width), (height // 2, width // 2), (height // 2, width // 2)
    y, u, v = (numbers.integers(16, 235, shape, np.uint8) for shape in shapes)
    planes: Planes = y, u, v
    return Frame(
        planes=planes,
        pts=0,
        time_base=Fraction(1, FPS),
        arrived_ns=0,
        color=Color.untagged(height),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_check_path", description=__doc__
    )
    parser.add_argument("--backend", choices=GPU_BACKENDS, help="instead of the first installed")
    parser.add_argument("--variant", default="lite", help="the network")
    parser.add_argument(
        "--streams", type=int, nargs="+", default=[10, 25, 50], help="ends at the first not held"
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="of each number of streams")
    parser.add_argument("--out", type=out_file, help="also write the JSON to this file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
