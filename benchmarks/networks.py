"""Claim: int8 convolutions of our own take less time than what other runtimes need that are right.

Every network that live streams use for a scale, in every way that is installed to run it on the cores,
in turns on one picture after the other, so that what the machine's other guests take is shared. Each
way is held against the outputs that are stored with the model first: where it is wrong on this
processor it is timed all the same, and marked. Wall time of a run, and processor time of all threads.
Left out: packing the picture and adding the residual.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from typing import Any

from benchmarks.result import out_file, write
from kernels.native import native
from streamer import report
from streamer.clock import MonotonicClock
from streamer.errors import EngineError
from streamer.infer.backends import BACKENDS, shipped_for_streams
from streamer.infer.engine import Engine
from streamer.infer.self_test import check, drawn_inputs, storage
from streamer.infer.sizes import parse_picture
from streamer.metrics import percentile
from streamer.model import ModelManifest


@dataclass(slots=True)
class _Way:
    engine: Engine
    wrong: str
    """Why it fails its self-test; empty where it passes."""
    ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        manifest = self.engine.manifest
        return {
            "model": manifest.name,
            "backend": self.engine.backend,
            "precision": manifest.precision,
            "wrong": self.wrong,
            "ms": {"min": min(self.ms), "p50": percentile(sorted(self.ms), 0.5)},
            "cpu_ms": {"min": min(self.cpu_ms), "p50": percentile(sorted(self.cpu_ms), 0.5)},
        }


def main(arguments: list[str]) -> None:
    """Measure, print a table, and end with one line of JSON."""
    options = _parse(arguments)
    width, height = parse_picture(options.picture)
    models = shipped_for_streams(options.scale)
    ways = [way for model in models for way in _ways(model, options.threads)]
    _time(ways, {"h": height // 2, "w": width // 2}, options.rounds)
    rows = [way.told() for way in ways]
    for way in ways:
        way.engine.close()
    print(f"{'network':24} {'backend':10} {'':6} {'p50, ms':>8} {'min':>7} {'cpu p50':>8}")
    for row in rows:
        took, cpu = row["ms"], row["cpu_ms"]
        print(
            f"{row['model']:24} {row['backend']:10} {row['precision']:6} {took['p50']:8.1f} "
            f"{took['min']:7.1f} {cpu['p50']:8.1f}{'  wrong here' if row['wrong'] else ''}"
        )
    compiled = native()
    write(
        {
            "benchmark": "networks",
            "picture": options.picture,
            "scale": options.scale,
            "threads": options.threads,
            "rounds": options.rounds,
            "compiled": compiled.name if compiled else None,
            "ways": rows,
            "machine": report.machine(),
        },
        options.out,
    )


def _parse(arguments: list[str]) -> Any:
    parser = argparse.ArgumentParser(prog="python -m benchmarks networks", description=__doc__)
    parser.add_argument("--picture", default="640x360", help="what is enlarged")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--threads", type=int, help="all cores unless told otherwise")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--out", type=out_file, help="also write the JSON to this file")
    return parser.parse_args(arguments)


def _ways(model: ModelManifest, threads: int | None) -> list[_Way]:
    found = []
    for backend in BACKENDS.values():
        if not backend.has_threads or not backend.is_installed():
            continue
        for manifest in backend.runnable([model]):
            try:
                engine = backend.open(manifest, threads=threads)
            except EngineError as error:
                print(error)
                continue
            try:
                check(engine)
                found.append(_Way(engine, ""))
            except EngineError as error:
                found.append(_Way(engine, str(error)))
    return found


def _time(ways: list[_Way], sizes: dict[str, int], rounds: int) -> None:
    clock = MonotonicClock()
    for number in range(rounds + 1):
        for way in ways:
            inputs = drawn_inputs(way.engine.manifest, sizes)
            outputs = storage(way.engine.manifest, sizes)
            cpu_ns, began_ns = time.process_time_ns(), clock.now_ns()
            way.engine.run(inputs, outputs)
            took_ns, cpu_ns = clock.now_ns() - began_ns, time.process_time_ns() - cpu_ns
            # The first run plans memory.
            if number:
                way.ms.append(took_ns / 1e6)
                way.cpu_ms.append(cpu_ns / 1e6)
