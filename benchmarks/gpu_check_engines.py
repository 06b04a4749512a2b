"""Claim: an engine enlarges 1080p to 4K in under 6 ms by ONNX Runtime, in under 4 by TensorRT.

Each network that is shipped in fp16 for streams, on each backend that is installed, the one beside
the other: alone, on memory of the device, and with the copies from and to the host that frames in
host memory need. What it gives is compared with the fp32 model on the CPU first. Left out: packing
the picture and adding the residual, which are kernels of their own (``benchmarks kernels``).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.goal import Goal
from benchmarks.result import keep, out_file, write
from streamer import report
from streamer.clock import Clock, MonotonicClock
from streamer.errors import ConfigError, EngineError
from streamer.infer.agreement import check_beside_cpu
from streamer.infer.backends import BACKENDS
from streamer.infer.engine import Engine
from streamer.infer.ort_cuda import OrtCudaEngine
from streamer.infer.self_test import drawn_inputs, storage
from streamer.infer.sizes import parse_picture, sizes_for
from streamer.infer.tensorrt import TensorRtEngine
from streamer.metrics import summary_of
from streamer.model import ModelManifest, find_models

GPU_BACKENDS = ("ort-cuda", "tensorrt")
GOALS_MS = {"ort-cuda": 6.0, "tensorrt": 4.0}
"""For the network ``full``; a smaller one has to reach them all the more."""
WARM_UP = 5


def main(arguments: list[str]) -> None:
    """Measure, print a table, and end with one line of JSON; an error where nothing could be."""
    options = _parser().parse_args(arguments)
    width, height = parse_picture(options.picture)
    rows: list[dict[str, Any]] = []
    missing: dict[str, str] = {}
    for name in options.backends.split(","):
        if name not in BACKENDS:
            raise ConfigError(f"there is no backend {name!r}; name some of: {', '.join(BACKENDS)}")
        try:
            models = models_of(name, options.scale)
        except EngineError as error:
            missing[name] = str(error)
            continue
        failed: dict[str, str] = {}
        for model in models:
            try:
                rows.append(timed(name, model, width=width, height=height, rounds=options.rounds))
            except EngineError as error:
                failed[model.name] = str(error)
            else:
                # For whoever is ended before the others are done.
                keep(result_of(rows, missing, picture=options.picture), options.out)
        is_none = len(failed) == len(models)
        missing |= {name if is_none else f"{name}, {model}": why for model, why in failed.items()}
    if not rows:
        raise EngineError("; ".join(f"{name}: {why}" for name, why in missing.items()))
    print(table(rows))
    write(result_of(rows, missing, picture=options.picture), options.out)


def models_of(backend: str, scale: int) -> list[ModelManifest]:
    """What is shipped for streams of that scale and this backend runs; in fp16 where it is a GPU's.

    Raises ``EngineError`` where there are none.
    """
    shipped = [m for m in find_models(task="super_resolution", scale=scale) if m.training == "live"]
    wanted = "fp16" if backend in GPU_BACKENDS else "fp32"
    found = [m for m in BACKENDS[backend].runnable(shipped) if m.precision == wanted]
    if not found:
        raise EngineError(f"no network for x{scale} is shipped in {wanted}; choose another --scale")
    return found


def timed(
    backend: str, model: ModelManifest, *, width: int, height: int, rounds: int
) -> dict[str, Any]:
    """One network on one backend, in ms; raises ``EngineError`` where it cannot run or is wrong."""
    clock = MonotonicClock()
    engine = BACKENDS[backend].open(model)
    try:
        sizes = sizes_for(model, width=width, height=height)
        inputs = drawn_inputs(engine.manifest, sizes)
        outputs = storage(engine.manifest, sizes)
        engine.run(inputs, outputs)
        check_beside_cpu(engine, sizes)
        with_copies = taken_ms(lambda: engine.run(inputs, outputs), clock, rounds)
        alone = alone_on_device(engine, sizes)
        on_device = None if alone is None else taken_ms(alone, clock, rounds)
    finally:
        engine.close()
    return {
        "backend": backend,
        "model": model.name,
        "variant": model.variant,
        "picture": f"{width}x{height}",
        "scale": model.scale,
        "rounds": rounds,
        "with_copies_ms": summary_of(with_copies).as_dict(),
        "alone_ms": None if on_device is None else summary_of(on_device).as_dict(),
    }


def alone_on_device(engine: Engine, sizes: Mapping[str, int]) -> Callable[[], Any] | None:
    """A run on the memory of the device, waited for; nothing for an engine of the CPU.

    It looks inside: on the host's side an engine has no run without copies.
    """
    if isinstance(engine, OrtCudaEngine):
        bound = engine._bound_for(sizes)
        return lambda: bound.session.run_with_iobinding(bound.binding)
    if isinstance(engine, TensorRtEngine):
        context, stream = engine._plan(sizes)._context, engine._stream

        def run() -> None:
            context.execute_async_v3(stream.handle)
            stream.wait()

        return run
    return None


def result_of(
    rows: list[dict[str, Any]], missing: Mapping[str, str], *, picture: str
) -> dict[str, Any]:
    """What is written; goals for what ran alone on a device."""
    goals = [
        Goal(
            what=f"{row['model']} of {picture} on {row['backend']}, alone, ms",
            measured=row["alone_ms"]["p50"],
            at_most=GOALS_MS[row["backend"]],
        ).as_dict()
        for row in rows
        if row["alone_ms"] is not None
    ]
    return {
        "benchmark": "engines",
        "command": f"python -m benchmarks engines --picture {picture}",
        "machine": report.machine(),
        "missing": dict(missing),
        "scenarios": {
            "engines": {
                "claim": "1080p to 4K in under 6 ms by ONNX Runtime, in under 4 by TensorRT",
                "left_out": "packing and adding the residual",
                "goals": goals,
            }
        },
        "engines": rows,
        "table": table(rows),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: one row for each network and backend."""
    lines = ["| network | backend | picture | alone, ms | p95 | with copies, ms | p95 |"]
    lines.append("|---|---|---|---|---|---|---|")
    for row in rows:
        numbers = [
            "–" if row[kind] is None else f"{row[kind][part]:.2f}"
            for kind in ("alone_ms", "with_copies_ms")
            for part in ("p50", "p95")
        ]
        start = f"| {row['model']} | {row['backend']} | {row['picture']} | "
        lines.append(start + " | ".join(numbers) + " |")
    return "\n".join(lines)


def taken_ms(run: Callable[[], Any], clock: Clock, rounds: int) -> list[float]:
    """Of each round, the first ``WARM_UP`` runs not counted."""
    taken = []
    for number in range(WARM_UP + rounds):
        began_ns = clock.now_ns()
        run()
        if number >= WARM_UP:
            taken.append((clock.now_ns() - began_ns) / 1e6)
    return taken


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks engines", description=__doc__)
    parser.add_argument("--backends", default=",".join(GPU_BACKENDS), help="commas between")
    parser.add_argument("--picture", default="1920x1080", help="what is enlarged")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--out", type=out_file, help="also write the JSON to this file")
    return parser
