"""The table of backends, and the choice of an engine for a task on this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from streamer.errors import EngineError
from streamer.infer import ort
from streamer.infer.engine import Engine
from streamer.infer.reference import ReferenceEngine
from streamer.model import ModelManifest, find_models


@dataclass(frozen=True, slots=True)
class Backend:
    """One way to run a model: whether it can be had here, and how to open it."""

    is_installed: Callable[[], bool]
    open: Callable[[ModelManifest], Engine]


BACKENDS: dict[str, Backend] = {
    "ort-cpu": Backend(ort.is_installed, ort.OrtCpuEngine),
}
"""Fastest first; ``auto`` takes the first that is installed. ``reference`` is always there."""

NAMES = ("auto", "reference", *BACKENDS)


@dataclass(frozen=True, slots=True)
class Choice:
    """An engine, and in one sentence why it is this one."""

    engine: Engine
    reason: str


def choose_super_resolution(*, scale: int, backend: str, variant: str | None = None) -> Choice:
    """The engine for upscaling by ``scale``; never silently a lesser one.

    ``variant`` names a network (``nano``, ``lite``, ``full``) or is ``None`` for the default.
    Raises ``EngineError`` when a named backend or variant cannot be had.
    """
    if backend not in NAMES:
        raise EngineError(f"there is no backend {backend!r}; use one of: {', '.join(NAMES)}")
    models = find_models(task="super_resolution", scale=scale)
    if variant is not None:
        models = tuple(m for m in models if m.variant == variant)
        if not models:
            raise EngineError(
                f"there is no {variant!r} network for x{scale}; "
                f"there are: {_listed()}; leave out --tier to take what there is"
            )
    if backend == "reference":
        return Choice(ReferenceEngine(scale), "asked for with --backend reference")
    if not models and backend != "auto":
        raise EngineError(
            f"there is no trained network for x{scale} that {backend} could run; "
            f"there are: {_listed()}; use --backend auto for the plain upscale"
        )
    if not models:
        return Choice(
            ReferenceEngine(scale),
            f"no trained network for x{scale} is shipped yet, so the picture gets the plain "
            "bicubic upscale" + (" (unchanged at x1)" if scale == 1 else ""),
        )
    return _first_installed(models[0], backend)


def _first_installed(manifest: ModelManifest, backend: str) -> Choice:
    if backend != "auto":
        return Choice(BACKENDS[backend].open(manifest), f"asked for with --backend {backend}")
    for name, candidate in BACKENDS.items():
        if candidate.is_installed():
            return Choice(candidate.open(manifest), f"{name} is the fastest installed backend")
    return Choice(
        ReferenceEngine(manifest.scale),
        f"no runtime for {manifest.name} is installed, so the picture gets the plain bicubic "
        "upscale; run: pip install 'streamer[cpu]'",
    )


def _listed() -> str:
    found = [
        f"{m.variant} x{scale}"
        for scale in (1, 2, 3, 4)
        for m in find_models(task="super_resolution", scale=scale)
    ]
    return ", ".join(found) or "none"
