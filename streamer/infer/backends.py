"""The table of backends, and the choice of an engine for a task on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from streamer.clock import Clock
from streamer.errors import EngineError
from streamer.infer import ort
from streamer.infer.engine import Engine
from streamer.infer.reference import ReferenceEngine
from streamer.infer.trial import Trial, fastest, try_engines
from streamer.model import ModelManifest, find_models


@dataclass(frozen=True, slots=True)
class Backend:
    """One way to run a model: whether it can be had here, and how to open it."""

    is_installed: Callable[[], bool]
    open: Callable[[ModelManifest], Engine]
    precisions: tuple[str, ...]
    """What it runs at a gain; models of other precisions are passed over."""

    def runnable(self, models: Sequence[ModelManifest]) -> list[ModelManifest]:
        """Those of the models it should be tried with."""
        return [model for model in models if model.precision in self.precisions]


BACKENDS: dict[str, Backend] = {
    # ONNX Runtime computes fp16 convolutions in fp32 on a CPU and only casts on top of that.
    "ort-cpu": Backend(ort.is_installed, ort.OrtCpuEngine, precisions=("fp32", "int8")),
}
"""Fastest first; ``auto`` takes the first that is installed. ``reference`` is always there."""

NAMES = ("auto", "reference", *BACKENDS)


@dataclass(frozen=True, slots=True)
class Choice:
    """The engines of the quality ladder, best first, and in one sentence why they are these."""

    engines: tuple[Engine, ...]
    reason: str


def choose_super_resolution(
    *, scale: int, backend: str, clock: Clock, variant: str | None = None
) -> Choice:
    """The engines for upscaling by ``scale``; never silently a lesser one.

    ``variant`` names the one network to use (``nano``, ``lite``, ``full``); with ``None`` all that
    are shipped make up the ladder; those trained on undamaged pictures only where there are no
    others. Where a network is shipped in several precisions that the backend
    runs, each is tried for a moment and the fastest that agrees with fp32 is taken. Raises
    ``EngineError`` when a named backend or variant cannot be had.
    """
    if backend not in NAMES:
        raise EngineError(f"there is no backend {backend!r}; use one of: {', '.join(NAMES)}")
    models = _for_streams(scale)
    if variant is not None:
        models = tuple(m for m in models if m.variant == variant)
        if not models:
            raise EngineError(
                f"there is no {variant!r} network for x{scale}; "
                f"there are: {_listed()}; leave out --tier to take what there is"
            )
    if backend == "reference":
        return Choice((ReferenceEngine(scale),), "asked for with --backend reference")
    if not models and backend != "auto":
        raise EngineError(
            f"there is no trained network for x{scale} that {backend} could run; "
            f"there are: {_listed()}; use --backend auto for the plain upscale"
        )
    if not models:
        return Choice(
            (ReferenceEngine(scale),),
            f"no trained network for x{scale} is shipped yet, so the picture gets the plain "
            "bicubic upscale" + (" (unchanged at x1)" if scale == 1 else ""),
        )
    return _on_backend(models, backend, clock)


def _for_streams(scale: int) -> tuple[ModelManifest, ...]:
    """What is shipped for a scale, of one kind of training.

    A "clean" network takes what a codec left for detail and enlarges it.
    """
    models = find_models(task="super_resolution", scale=scale)
    return tuple(m for m in models if m.training != "clean") or models


def _on_backend(models: tuple[ModelManifest, ...], backend: str, clock: Clock) -> Choice:
    names = BACKENDS if backend == "auto" else (backend,)
    for name in names:
        runnable = BACKENDS[name].runnable(models)
        if not runnable and backend != "auto":
            raise EngineError(
                f"{name} runs {' and '.join(BACKENDS[name].precisions)}, and {models[0].variant} "
                f"x{models[0].scale} is there in {_precisions(models)} only; use --backend auto"
            )
        if runnable and (backend != "auto" or BACKENDS[name].is_installed()):
            variants = dict.fromkeys(model.variant for model in runnable)
            tried = [
                _fastest_precision([m for m in runnable if m.variant == variant], name, clock)
                for variant in variants
            ]
            return Choice(
                tuple(engine for engine, _ in tried), "; ".join(text for _, text in tried)
            )
    return Choice(
        (ReferenceEngine(models[0].scale),),
        f"nothing that is installed runs {models[0].name} in {_precisions(models)}, so the picture "
        "gets the plain bicubic upscale; run: pip install 'streamer[cpu]'",
    )


def _fastest_precision(
    models: Sequence[ModelManifest], name: str, clock: Clock
) -> tuple[Engine, str]:
    """One network in its precisions, on one backend; fp32 says what is right."""
    exact = next((m for m in models if m.precision == "fp32"), models[0])
    reference = BACKENDS[name].open(exact)
    others = [BACKENDS[name].open(m) for m in models if m is not exact]
    if not others:
        return reference, f"{exact.name} is there in {exact.precision} only"
    trials = try_engines(reference, others, clock)
    best = fastest(trials)
    for trial in trials:
        if trial is not best:
            trial.engine.close()
    said = ", ".join(_said(trial) for trial in trials)
    return best.engine, f"{exact.variant} tried here at 640x360: {said}"


def _said(trial: Trial) -> str:
    precision = trial.engine.manifest.precision
    wrong = "" if trial.is_right else ", wrong on this processor"
    return f"{precision} {trial.cost_ms:.1f} ms{wrong}"


def _precisions(models: Sequence[ModelManifest]) -> str:
    return " and ".join(dict.fromkeys(model.precision for model in models))


def _listed() -> str:
    found = [
        f"{variant} x{scale}"
        for scale in (1, 2, 3, 4)
        for variant in dict.fromkeys(m.variant for m in _for_streams(scale))
    ]
    return ", ".join(found) or "none"
