"""From a model to TensorRT engines for this machine's GPU, to see that it builds and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streamer.clock import MonotonicClock
from streamer.infer.prebuild import build_engines
from streamer.infer.sizes import parse_picture
from streamer.infer.tensorrt_build import BuildSettings
from streamer.model import ModelManifest


def to_tensorrt(
    manifest: ModelManifest,
    sizes: Sequence[str],
    *,
    optimisation_level: int,
    report: Callable[[str], None],
) -> None:
    """Builds and self-tests an engine for each size, such as ``1280x720``, and keeps it.

    They go where the streamer looks for them. Raises ``StreamerError``: without a GPU, and where the
    parser, the builder or the self-test refuses the model.
    """
    build_engines(
        [manifest],
        [parse_picture(text) for text in sizes],
        settings=BuildSettings(optimisation_level=optimisation_level),
        clock=MonotonicClock(),
        report=report,
    )
