"""TensorRT engines built ahead, so that no stream has to wait for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streamer.clock import Clock
from streamer.errors import EngineError
from streamer.infer.batching_graph import BATCH, OneByOne, batched
from streamer.infer.batching_group import batch_sizes
from streamer.infer.batching_trial import most_places
from streamer.infer.self_test import check
from streamer.infer.sizes import in_order, sizes_for
from streamer.infer.tensorrt import TensorRtEngine
from streamer.infer.tensorrt_build import BuildSettings
from streamer.model import ModelManifest, find_models

PRECISION = "fp16"
"""What TensorRT is given: it takes the precision from the graph alone."""


def buildable(*, scale: int, variant: str | None = None) -> list[ModelManifest]:
    """The shipped models for streams of that scale that TensorRT takes, motion networks included.

    Raises ``EngineError`` where there are none.
    """
    found = [
        *find_models(task="super_resolution", scale=scale),
        *find_models(task="interpolation", scale=1),
        *find_models(task="prediction", scale=1),
    ]
    models = [m for m in found if m.precision == PRECISION and m.training != "clean"]
    chosen = [m for m in models if variant in (None, m.variant)]
    if not chosen:
        there = ", ".join(dict.fromkeys(m.variant for m in models)) or "none"
        raise EngineError(
            f"no {variant or 'network'} for x{scale} is shipped in {PRECISION}; there are: {there}; "
            "choose another --scale or --tier"
        )
    return chosen


def build_engines(
    models: Sequence[ModelManifest],
    pictures: Sequence[tuple[int, int]],
    *,
    settings: BuildSettings,
    clock: Clock,
    report: Callable[[str], None],
    streams: int = 1,
) -> None:
    """Builds, self-tests and keeps an engine of each model for each (width, height), and for each number
    of pictures at once that so many ``streams`` of that size are run in.

    What is kept already is only opened. Says of each what it took and how large it is. Raises
    ``EngineError`` at the first that cannot be had.
    """
    for manifest in models:
        model = batched(manifest)
        engine = TensorRtEngine(model, settings=settings)
        try:
            check(OneByOne(engine))
            for width, height in pictures:
                sizes = sizes_for(manifest, width=width, height=height)
                most = most_places(model, in_order(sizes))
                for places in batch_sizes(streams=streams, most=most):
                    began_ns = clock.now_ns()
                    ready = engine.prepare({**sizes, BATCH: places})
                    took_s = (clock.now_ns() - began_ns) / 1e9
                    done = f"built in {took_s:.1f} s" if ready.is_built else "was there already"
                    report(
                        f"{manifest.name} for {width}x{height}, {places} at once: {done}, "
                        f"{ready.size_bytes / 1e3:.0f} kB"
                    )
        finally:
            engine.close()
