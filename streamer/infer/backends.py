"""The table of backends, and the choice of engines for a task on this machine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Event
from typing import Literal

from streamer.clock import Clock
from streamer.errors import EngineError
from streamer.infer import native, openvino, ort, ort_cuda, tensorrt
from streamer.infer.batching import BatchingEngine
from streamer.infer.batching_graph import BATCH
from streamer.infer.batching_pool import ENGINES
from streamer.infer.choosing import Candidate, Chosen, choose_fastest, costs_together
from streamer.infer.engine import Deadline, Engine, pip_install
from streamer.infer.reference import ReferenceEngine
from streamer.infer.reference_motion import ReferenceMotionEngine
from streamer.infer.sizes import in_order
from streamer.infer.swapping import Swapping
from streamer.infer.trial import HEIGHT, WIDTH
from streamer.infer.trial_store import user_store
from streamer.model import FOLLOWING, ModelManifest, find_models


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Backend:
    """One way to run a model: whether it can be had here, and how to open it."""

    is_installed: Callable[[], bool]
    open: Callable[..., Engine]
    """With a manifest; where it ``has_threads``, also with ``threads=``."""
    precisions: tuple[str, ...]
    """Of the models that it runs at a gain, the best first; others are passed over."""
    tasks: tuple[str, ...] = ("super_resolution",)
    """Of the networks that it runs. Motion is found on the host; of its networks, which work out shapes,
    a device would leave parts to the processor."""
    has_threads: bool = False
    """Whether it computes on the processor's cores, as many as it is told."""
    has_bf16: Callable[[], bool] = _never
    """Whether it computes an fp32 model in bf16 here, as a precision of its own."""
    build: Callable[[ModelManifest, Mapping[str, int], Event], Engine] | None = None
    """Opens it for one size, where that takes so long that ``auto`` lets another serve meanwhile.
    The event is set when nobody waits for it any more. What was built once opens in a moment."""
    is_for_auto: bool = True
    """Whether ``auto`` may take it; else it runs where it is named."""
    batches: bool = False
    """Whether several pictures in one run take less time than one by one. On a CPU they do not."""

    def runnable(self, models: Sequence[ModelManifest]) -> list[ModelManifest]:
        """Those of the models it should be tried with, in each precision it computes them in."""
        taken = [m for m in models if m.precision in self.precisions and m.task in self.tasks]
        if self.has_bf16():
            exact = [model for model in taken if model.precision == "fp32"]
            taken += [replace(model, precision="bf16") for model in exact]
        return taken


ON_HOST = ("super_resolution", "interpolation", "prediction", *FOLLOWING)
"""Tasks of what runs every network on the host. Pictures are followed there."""

BACKENDS: Mapping[str, Backend] = {
    "native": Backend(
        native.is_installed,
        native.NativeEngine,
        precisions=("int8",),
        tasks=native.TASKS,
        has_threads=True,
    ),
    # Both compute fp16 convolutions in fp32 on a CPU and only cast on top of that.
    "ort-cpu": Backend(
        ort.is_installed,
        ort.OrtCpuEngine,
        precisions=("fp32", "int8"),
        tasks=ON_HOST,
        has_threads=True,
    ),
    "openvino": Backend(
        openvino.is_installed,
        openvino.OpenVinoEngine,
        precisions=("fp32", "int8"),
        tasks=ON_HOST,
        has_threads=True,
        has_bf16=openvino.has_bf16,
    ),
    "ort-cuda": Backend(
        ort_cuda.is_installed, ort_cuda.OrtCudaEngine, precisions=("fp16", "fp32"), batches=True
    ),
    "tensorrt": Backend(
        tensorrt.is_installed,
        tensorrt.TensorRtEngine,
        precisions=("fp16",),
        build=tensorrt.built,
        batches=True,
    ),
    # fp16 is nearer to what was trained, and no measurement says yet that int8 is faster.
    "tensorrt-int8": Backend(
        tensorrt.is_installed,
        tensorrt.TensorRtEngine,
        precisions=("int8-symmetric",),
        is_for_auto=False,
        batches=True,
    ),
}
"""``auto`` tries all that are installed. ``reference`` is always there."""

NAMES = ("auto", "reference", *BACKENDS)

MADE = {"interpolation": "between two", "prediction": "after the last one"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How a stream is going to use its engines."""

    clock: Clock
    deadline: Deadline | None = None
    """Of the stream's frames: with it, engines that run several pictures at once are shared with the
    other streams of this process."""
    threads: int | None = None
    """Of those that compute on cores; ``None`` is all that this process may use."""
    is_live: bool = True
    """Whether its frames have deadlines."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The engines of the quality ladder, best first, and in one sentence why they are these."""

    engines: tuple[Engine, ...]
    reason: str
    costs_ms: Mapping[str, float] = field(default_factory=dict)
    """What one picture of ``trial.PICTURE`` takes in each, by variant, nothing else being done; of
    engines that compute on the processor's cores."""

    @property
    def pixel_ns(self) -> Mapping[str, float]:
        """The same in ns per pixel of the input."""
        return {
            variant: 1e6 * cost_ms / (WIDTH * HEIGHT) for variant, cost_ms in self.costs_ms.items()
        }


def choose_super_resolution(
    *,
    scale: int,
    backend: str,
    use: Use,
    variant: str | None = None,
) -> Choice:
    """The engines for upscaling by ``scale``; never silently a lesser one.

    ``variant`` names the one network to use (``nano``, ``lite``, ``medium``); with ``None`` all that
    are shipped make up the ladder; those trained on undamaged pictures only where there are no
    others. A network that can be run in several ways is tried for a moment in each, or was at an
    earlier start; the fastest that passes its self-test is taken. Raises ``EngineError`` when a
    named backend or variant cannot be had.
    """
    _check_name(backend)
    models = shipped_for_streams(scale)
    if variant is not None:
        models = tuple(m for m in models if m.variant == variant)
        if not models:
            raise EngineError(
                f"there is no {variant!r} network for x{scale}; "
                f"there are: {_listed()}; leave out the tier to take what there is"
            )
    if backend == "reference":
        return Choice((ReferenceEngine(scale),), "asked for with --backend reference")
    if models:
        chosen = _chosen(models, backend, use)
        if not chosen.engines:
            return Choice((ReferenceEngine(scale),), chosen.reason)
        return replace(chosen, costs_ms=_costs(chosen.engines, use))
    if backend != "auto":
        raise EngineError(
            f"there is no trained network for x{scale} that {backend} could run; "
            f"there are: {_listed()}; use --backend auto for the plain upscale"
        )
    return Choice(
        (ReferenceEngine(scale),),
        f"no trained network for x{scale} is shipped yet, so the picture gets the plain "
        "bicubic upscale" + (" (unchanged at x1)" if scale == 1 else ""),
    )


def choose_motion(
    *, task: Literal["interpolation", "prediction"], backend: str, use: Use
) -> Choice:
    """The engines for made frames, best first; the last one is the reference, which needs none.

    Chosen as for super-resolution, but a backend of a device leaves it to what ``auto`` takes, and the
    reference stands in where no network is shipped, whichever backend is named: it makes a frame of its
    own. So it does between two frames of a live stream. Raises ``EngineError`` when a named backend of the
    host cannot run a network that is shipped.
    """
    _check_name(backend)
    reference = ReferenceMotionEngine()
    models = find_models(task=task, scale=1)
    if backend == "reference":
        return Choice((reference,), "asked for with --backend reference")
    if not models:
        return Choice(
            (reference,),
            f"no trained network for {task} is shipped yet, so frames {MADE[task]} are made from "
            "motion alone",
        )
    if task == "interpolation" and use.is_live:
        # The next real frame waits for them.
        reason = (
            f"live, frames {MADE[task]} are made from motion alone: a network takes 4 ms of each"
        )
        return Choice((reference,), reason)
    backend = _on_host(backend)
    if backend != "auto" and task not in BACKENDS[backend].tasks:
        return Choice((reference,), f"{backend} runs no networks for {task}")
    chosen = _chosen(models, backend, use)
    return Choice((*chosen.engines, reference), chosen.reason)


def choose_following(*, task: str, backend: str, use: Use) -> Choice:
    """The engine for one of ``FOLLOWING``: one, or none where nothing here runs its network.

    On the host alone; a backend of a device leaves it to what ``auto`` takes. Raises ``EngineError`` when
    a named backend cannot run the network.
    """
    _check_name(backend)
    if backend == "reference":
        return Choice((), "asked for with --backend reference")
    models = find_models(task=task, scale=1)
    if not models:
        return Choice((), f"no trained network for {task} is shipped")
    return _chosen(models, _on_host(backend), use)


def _on_host(backend: str) -> str:
    """The one that runs a network of the host where that backend is asked for."""
    return backend if backend == "auto" or BACKENDS[backend].has_threads else "auto"


def _check_name(backend: str) -> None:
    if backend not in NAMES:
        raise EngineError(f"there is no backend {backend!r}; use one of: {', '.join(NAMES)}")


def shipped_for_streams(scale: int) -> tuple[ModelManifest, ...]:
    """Networks for a scale; those trained on undamaged pictures, which take what a codec left for detail
    and enlarge it, only where there are no others."""
    models = find_models(task="super_resolution", scale=scale)
    return tuple(m for m in models if m.training != "clean") or models


def _chosen(models: Sequence[ModelManifest], backend: str, use: Use) -> Choice:
    """An engine for each network that can be run; none, with the reason, only for ``auto``."""
    candidates = _candidates(models, backend, use)
    if not candidates:
        return Choice(
            (),
            f"nothing that is installed runs {models[0].name} in {_precisions(models)}, so it is "
            f"done without a network; run: {pip_install('onnxruntime')}",
        )
    chosen: list[Chosen] = []
    reasons: list[str] = []
    hopeless: frozenset[str] = frozenset()
    # From the cheapest on: what is hopeless with it need not be tried with one that takes ten times
    # as long.
    for variant in reversed(dict.fromkeys(candidate.manifest.variant for candidate in candidates)):
        own = [candidate for candidate in candidates if candidate.manifest.variant == variant]
        try:
            one = _fastest(own, hopeless, use)
        except EngineError as error:
            if backend != "auto":
                for earlier in chosen:
                    earlier.engine.close()
                raise
            reasons.insert(0, f"{variant} is not used: {error}")
            continue
        chosen.insert(0, one)
        reasons.insert(0, one.reason)
        # A device gains with the size of a network.
        hopeless |= {c.label for c in own if BACKENDS[c.backend].has_threads} & one.hopeless
    engines = (one.engine for one in chosen)
    if backend == "auto":
        engines = (_improving(engine, models, use) for engine in engines)
    return Choice(tuple(engines), "; ".join(reasons))


def _fastest(own: Sequence[Candidate], hopeless: Collection[str], use: Use) -> Chosen:
    """Of one network's candidates; the hopeless ones only where no other is right."""
    choose = partial(choose_fastest, store=user_store(), clock=use.clock, cores=use.threads)
    likely = [candidate for candidate in own if candidate.label not in hopeless]
    if not likely or len(likely) == len(own):
        return choose(own)
    try:
        chosen = choose(likely)
    except EngineError:
        return choose(own)
    said = f"{chosen.reason}, others took twice as long with a smaller network"
    return replace(chosen, reason=said)


def _costs(engines: Sequence[Engine], use: Use) -> Mapping[str, float]:
    """What each takes here; nothing where one waits for other streams or is going to be replaced."""
    for engine in engines:
        backend = BACKENDS.get(engine.backend)
        if isinstance(engine, Swapping) or backend is None or not backend.has_threads:
            return {}
    return costs_together(engines, store=user_store(), clock=use.clock, cores=use.threads)


def _improving(engine: Engine, models: Sequence[ModelManifest], use: Use) -> Engine:
    """The engine, to be replaced by one that takes long to build where there is such a backend."""
    for name, backend in BACKENDS.items():
        if backend.build is not None and backend.is_installed():
            for model in backend.runnable(models):
                if model.variant == engine.manifest.variant:
                    if not backend.batches or use.deadline is None:
                        return Swapping(engine, partial(backend.build, model))
                    return Swapping(engine, partial(_built, name, model, use.clock, use.deadline))
    return engine


def _shared(name: str, clock: Clock, deadline: Deadline, manifest: ModelManifest) -> Engine:
    """A lease on the engine that all streams with this model and backend have in common."""
    return ENGINES.lease(
        (name, manifest.sha256, manifest.precision),
        lambda: BatchingEngine(BACKENDS[name].open, manifest, clock),
        deadline,
    )


def _built(
    name: str,
    manifest: ModelManifest,
    clock: Clock,
    deadline: Deadline,
    sizes: Mapping[str, int],
    abandoned: Event,
) -> Engine:
    """As ``_shared``, for a backend that builds for each size. Larger batch sizes are built when streams
    come for them, while this one serves."""
    build = BACKENDS[name].build
    assert build is not None

    def open_one(model: ModelManifest) -> Engine:
        return build(model, {**sizes, BATCH: 1}, abandoned)

    return ENGINES.lease(
        (name, manifest.sha256, manifest.precision, *in_order(sizes)),
        lambda: BatchingEngine(open_one, manifest, clock),
        deadline,
    )


def _candidates(models: Sequence[ModelManifest], backend: str, use: Use) -> list[Candidate]:
    """The ways to run each model. Raises ``EngineError`` where a named backend knows none."""
    names = [
        name
        for name, one in BACKENDS.items()
        if backend == name
        or (backend == "auto" and one.is_for_auto and one.build is None and one.is_installed())
    ]

    def opener(name: str) -> Callable[[ModelManifest], Engine]:
        if use.deadline is not None and BACKENDS[name].batches:
            return partial(_shared, name, use.clock, use.deadline)
        if BACKENDS[name].has_threads:
            return partial(BACKENDS[name].open, threads=use.threads)
        return BACKENDS[name].open

    candidates = [
        Candidate(name, model, opener(name))
        for name in names
        for model in BACKENDS[name].runnable(models)
    ]
    if not candidates and backend != "auto":
        raise EngineError(
            f"{backend} runs {' and '.join(BACKENDS[backend].precisions)}, and {models[0].variant} "
            f"x{models[0].scale} is there in {_precisions(models)} only; use --backend auto"
        )
    return candidates


def _precisions(models: Sequence[ModelManifest]) -> str:
    return " and ".join(dict.fromkeys(model.precision for model in models))


def _listed() -> str:
    found = [
        f"{variant} x{scale}"
        for scale in (1, 2, 3, 4)
        for variant in dict.fromkeys(m.variant for m in shipped_for_streams(scale))
    ]
    return ", ".join(found) or "none"
