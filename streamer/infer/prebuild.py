"""TensorRT engines built ahead, so that no stream has to wait for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streamer.clock import Clock
from streamer.errors import ConfigError, EngineError
from streamer.infer.self_test import check
from streamer.infer.sizes import sizes_for
from streamer.infer.tensorrt import TensorRtEngine
from streamer.infer.tensorrt_build import BuildSettings
from streamer.model import ModelManifest, find_models

PRECISION = "fp16"
"""What TensorRT is given: it takes the precision from the graph alone."""

LARGEST, SMALLEST = 8192, 32
"""Sides of a picture for which an engine makes sense."""


def parse_picture(text: str) -> tuple[int, int]:
    """Width and height of ``1280x720``; raises ``ConfigError``."""
    width, _, height = text.partition("x")
    if width.isdecimal() and height.isdecimal():
        sides = int(width) & ~1, int(height) & ~1
        if all(SMALLEST <= side <= LARGEST for side in sides):
            return sides
    raise ConfigError(
        f"{text!r} is not a picture's size; write width x height as 1280x720, each from "
        f"{SMALLEST} to {LARGEST}"
    )


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
) -> None:
    """Builds, self-tests and keeps an engine of each model for each (width, height).

    What is kept already is only opened. Raises ``EngineError`` at the first that cannot be had.
    """
    for model in models:
        engine = TensorRtEngine(model, settings=settings)
        try:
            check(engine)
            for width, height in pictures:
                began_ns = clock.now_ns()
                engine.prepare(sizes_for(model, width=width, height=height))
                took_s = (clock.now_ns() - began_ns) / 1e9
                report(f"{model.name} for {width}x{height}: ready after {took_s:.1f} s")
        finally:
            engine.close()
