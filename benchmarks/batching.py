"""Claim: streams that share an engine in batches hold their rate where one by one they do not.

So many streams, each a thread with a picture of its own at a steady rate, go through one engine:
``own``, where each has an engine to itself as without sharing, and shared with a window, in ms or
``learnt``. Told are pictures a second, how long a picture took from due to done (p50, p95), how many
came too late or were left out because the one before was not done, and how many one run held. Left
out: all of a stream but its network; packing, adding and codecs run beside it in a real one. On a CPU
sharing gains nothing and is not used there; it is measured to see that it works.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from statistics import median
from threading import Barrier, Thread
from time import sleep
from typing import Any

from benchmarks.result import out_file, write
from streamer import report
from streamer.clock import Clock, MonotonicClock
from streamer.errors import ConfigError, EngineError
from streamer.infer.backends import BACKENDS, shipped_for_streams
from streamer.infer.batching import BatchingEngine
from streamer.infer.engine import Deadline, Engine
from streamer.infer.self_test import drawn_inputs, storage
from streamer.infer.sizes import parse_picture, sizes_for
from streamer.metrics import percentile
from streamer.model import ModelManifest

OWN, LEARNT = "own", "learnt"


@dataclass(slots=True)
class _Stream:
    """One stream: its engine, its picture, and what became of each time it was due."""

    engine: Engine
    deadline: Deadline
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    took_ms: list[float] = field(default_factory=list)
    late: int = 0
    left_out: int = 0
    error: EngineError | None = None

    def play(self, clock: Clock, first_ns: int, *, interval_ns: int, until_ns: int) -> None:
        """A picture at every interval from ``first_ns`` on; those that cannot begin are left out."""
        due_ns = first_ns
        try:
            while due_ns < until_ns:
                sleep(max(0, due_ns - clock.now_ns()) / 1e9)
                self.deadline.ns = due_ns + interval_ns
                self.engine.run(self.inputs, self.outputs)
                done_ns = clock.now_ns()
                self.took_ms.append((done_ns - due_ns) / 1e6)
                self.late += done_ns > due_ns + interval_ns
                missed = max(0, (done_ns - due_ns) // interval_ns)
                self.left_out += missed
                due_ns += (1 + missed) * interval_ns
        except EngineError as error:
            self.error = error


def main(arguments: list[str]) -> None:
    """Measure each number of streams in each way, print a table, and end with one line of JSON."""
    options = _parse(arguments)
    usual_s = sys.getswitchinterval()
    # As the program does: with Python's 5 ms, a stream waits for the others' Python.
    sys.setswitchinterval(0.0005)
    try:
        _measure(options)
    finally:
        sys.setswitchinterval(usual_s)


def _measure(options: Any) -> None:
    manifest = _model(options)
    clock = MonotonicClock()
    rows = []
    print(f"{manifest.name} on {options.backend}, {options.size} at {options.fps:g} fps each")
    print("streams  way      pictures/s   p50 ms   p95 ms   late  left out  a run")
    for number in options.streams:
        for way in options.ways:
            row = _measured(manifest, options, clock, number=number, way=way)
            rows.append(row)
            print(
                f"{number:7}  {way:7} {row['pictures_per_s']:11.1f} {row['p50_ms']:8.2f} "
                f"{row['p95_ms']:8.2f} {row['late']:6} {row['left_out']:9} {row['a_run']:6.2f}"
            )
    result = {
        "benchmark": "batching",
        "model": manifest.name,
        "backend": options.backend,
        "size": options.size,
        "fps": options.fps,
        "seconds": options.seconds,
        "rows": rows,
        "machine": report.machine(),
    }
    write(result, options.out)


def _measured(
    manifest: ModelManifest, options: Any, clock: Clock, *, number: int, way: str
) -> dict[str, Any]:
    """One table row. Raises ``EngineError`` where a run failed."""
    with ExitStack() as opened:
        streams, door = _opened(manifest, options, clock, opened, number=number, way=way)
        before = _pictures_and_runs(door)
        interval_ns = round(1e9 / options.fps)
        # All are due at different times, as cameras are.
        begins_ns = clock.now_ns() + interval_ns
        until_ns = begins_ns + round(options.seconds * 1e9)
        together = Barrier(number)

        def play(stream: _Stream, place: int) -> None:
            together.wait()
            first_ns = begins_ns + place * interval_ns // number
            stream.play(clock, first_ns, interval_ns=interval_ns, until_ns=until_ns)

        threads = [Thread(target=play, args=(s, n)) for n, s in enumerate(streams)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ended_ns = clock.now_ns()
        after = _pictures_and_runs(door)
    for stream in streams:
        if stream.error is not None:
            raise stream.error
    took_ms = sorted(ms for stream in streams for ms in stream.took_ms)
    runs = after - before
    return {
        "streams": number,
        "way": way,
        "pictures_per_s": len(took_ms) / ((ended_ns - begins_ns) / 1e9),
        "n": len(took_ms),
        "p50_ms": median(took_ms),
        "p95_ms": percentile(took_ms, 0.95),
        "late": sum(stream.late for stream in streams),
        "left_out": sum(stream.left_out for stream in streams),
        "a_run": len(took_ms) / runs if door is not None and runs else 1.0,
    }


def _opened(
    manifest: ModelManifest,
    options: Any,
    clock: Clock,
    opened: ExitStack,
    *,
    number: int,
    way: str,
) -> tuple[list[_Stream], BatchingEngine | None]:
    """Streams whose engines have all run once; shared ones know of each other then."""
    open_one = BACKENDS[options.backend].open
    width, height = parse_picture(options.size)
    sizes = sizes_for(manifest, width=width, height=height)
    door = None
    if way != OWN:
        window_ns = None if way == LEARNT else round(float(way) * 1e6)
        door = opened.enter_context(
            closing(BatchingEngine(open_one, manifest, clock, window_ns=window_ns))
        )
    streams = []
    for _ in range(number):
        deadline = Deadline()
        engine = open_one(manifest) if door is None else door.lease(deadline)
        opened.enter_context(closing(engine))
        inputs = drawn_inputs(engine.manifest, sizes)
        stream = _Stream(engine, deadline, inputs, storage(engine.manifest, sizes))
        # In the past, so that it does not wait for those who were opened before.
        deadline.ns = 0
        engine.run(stream.inputs, stream.outputs)
        streams.append(stream)
    return streams, door


def _pictures_and_runs(door: BatchingEngine | None) -> int:
    return 0 if door is None else sum(door.runs.values())


def _model(options: Any) -> ModelManifest:
    """The network for streams in the first precision that the backend gains by."""
    shipped = [m for m in shipped_for_streams(2) if m.variant == options.variant]
    backend = BACKENDS[options.backend]
    by_precision = {m.precision: m for m in backend.runnable(shipped)}
    wanted = options.precision or next((p for p in backend.precisions if p in by_precision), "")
    if wanted not in by_precision:
        raise ConfigError(
            f"{options.backend} runs {options.variant} x2 in {' and '.join(by_precision) or 'nothing'}"
            f", not in {wanted or 'any precision'}; name another --variant, --precision or --backend"
        )
    return by_precision[wanted]


def _parse(arguments: Sequence[str]) -> Any:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks batching",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--backend", choices=list(BACKENDS), default="ort-cpu")
    parser.add_argument("--variant", default="lite")
    parser.add_argument("--precision", help="instead of the first that the backend gains by")
    parser.add_argument("--size", default="640x360", help="of a picture, before it is enlarged")
    parser.add_argument("--fps", type=float, default=30.0, help="of each stream")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each row")
    parser.add_argument("--streams", default="1,2,4", help="how many, one row each")
    parser.add_argument(
        "--ways", default=f"{OWN},0,{LEARNT},2", help="own, learnt, or windows in ms"
    )
    parser.add_argument("--out", type=out_file, help="also write the JSON to this file")
    options = parser.parse_args(arguments)
    try:
        options.streams = [int(number) for number in options.streams.split(",")]
        options.ways = options.ways.split(",")
        windows = [float(way) for way in options.ways if way not in (OWN, LEARNT)]
    except ValueError as error:
        raise ConfigError(
            f"--streams and --ways are lists ({error}); write them as --streams 1,8,50 "
            f"--ways {OWN},0,{LEARNT},2"
        ) from error
    if min(options.streams) < 1 or min(windows, default=0) < 0:
        raise ConfigError("there is no such number of streams or window; take 1 or more, 0 or more")
    if not (options.fps > 0 and options.seconds > 0):
        raise ConfigError("--fps and --seconds are more than 0; leave them out for 30 and 5")
    return options
