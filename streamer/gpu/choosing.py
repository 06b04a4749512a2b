"""Whether a stream's pictures stay on a device, and what is said where they cannot."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Any

from streamer.clock import Clock
from streamer.errors import EngineError
from streamer.gpu.batching import BothWays, DeviceBatching, DeviceLease
from streamer.gpu.door import Gpu
from streamer.gpu.health import PRECISIONS
from streamer.gpu.self_check import check_kernels
from streamer.gpu.super_resolution import DeviceSuperResolution
from streamer.infer.agreement import check_beside_cpu
from streamer.infer.backends import BACKENDS, shipped_for_streams
from streamer.infer.batching_graph import BATCH, BatchManifest, OneByOne, batched
from streamer.infer.batching_pool import ENGINES
from streamer.infer.device import DriverStream, ResidentEngine, ours
from streamer.infer.engine import Deadline
from streamer.infer.ort_cuda import OrtCudaEngine
from streamer.infer.self_test import check
from streamer.infer.sizes import in_order
from streamer.infer.swapping_resident import ResidentSwapping
from streamer.infer.tensorrt import TensorRtEngine
from streamer.metrics import Metrics
from streamer.model import ModelManifest

_log = logging.getLogger(__name__)

DOORS = {name: backend for name, backend in BACKENDS.items() if not backend.has_threads}
"""The backends that do not compute on the processor's cores."""


@dataclass(frozen=True, slots=True)
class DeviceChoice:
    """The stage whose pictures stay on the device, and its door; or neither."""

    stage: DeviceSuperResolution | None
    gpu: Gpu | None
    reason: str
    """Why it is this one, or what the user must see of a device that is there and not used; empty
    where nothing of it is asked for or installed."""


OpenDoor = Callable[[Metrics], Gpu]
OpenEngine = Callable[[str, BatchManifest, Gpu, Event], BothWays]


def open_engine(
    backend: str, model: BatchManifest, gpu: Gpu, abandoned: Event
) -> OrtCudaEngine | TensorRtEngine:
    """An engine on ``gpu.compute`` that gives what is stored with its model.

    A build of TensorRT ends soon after ``abandoned`` is set. Raises ``EngineError``.
    """
    engine: OrtCudaEngine | TensorRtEngine
    if backend.startswith("tensorrt"):
        engine = TensorRtEngine(model, stream=DriverStream(gpu.compute), abandoned=abandoned)
    else:
        engine = OrtCudaEngine(model, stream=gpu.compute.handle)
    try:
        check(OneByOne(engine))
    except EngineError:
        engine.close()
        raise
    return engine


def _always() -> bool:
    return True


def choose_on_device(
    *,
    scale: int,
    backend: str,
    variant: str | None,
    metrics: Metrics,
    clock: Clock,
    deadline: Deadline | None = None,
    lands_at_once: Callable[[], bool] = _always,
    door: OpenDoor = Gpu,
    engine: OpenEngine = open_engine,
) -> DeviceChoice:
    """The way through device memory, where there is one; its kernels were tried.

    With ``backend`` ``auto`` a device that cannot be used is told in one sentence with the next step,
    and the CPU does it. ``auto`` begins with ``ort-cuda``, for TensorRT builds for minutes; where that
    is installed too, its engines are built meanwhile and take over. A backend that is named raises
    ``EngineError`` instead. Streams of this process share engines, by each one's ``deadline``.
    ``lands_at_once`` is asked once there is a device; see ``DeviceSuperResolution``.
    """
    deadline = deadline or Deadline()

    def opened(name: str, models: Sequence[ModelManifest]) -> DeviceChoice:
        engines = SharedEngines(door(metrics), clock, deadline, engine)
        better = "tensorrt" if (backend, name) == ("auto", "ort-cuda") else ""
        if better and not DOORS[better].is_installed():
            better = ""
        return _opened(name, models, engines, better, lands_at_once)

    if backend in DOORS:
        models = _models(scale, variant, DOORS[backend].precisions)
        return opened(backend, models) if models else NOT_CHOSEN
    failures: list[str] = []
    for name in ("ort-cuda", "tensorrt") if backend == "auto" else ():
        models = _models(scale, variant, DOORS[name].precisions)
        if not models or not DOORS[name].is_installed():
            continue
        try:
            return opened(name, models)
        except EngineError as error:
            failures.append(f"{name}: {error}")
    if not failures:
        return NOT_CHOSEN
    reason = f"the GPU is not used, the CPU does it: {'; '.join(dict.fromkeys(failures))}"
    _log.warning("%s", reason)
    return DeviceChoice(None, None, reason)


NOT_CHOSEN = DeviceChoice(None, None, "")


@dataclass(frozen=True, slots=True)
class SharedEngines:
    """Opens engines for a stream, or takes part in those that others have open."""

    gpu: Gpu
    clock: Clock
    deadline: Deadline
    open_engine: OpenEngine

    def leased(self, backend: str, manifest: ModelManifest) -> ResidentEngine:
        """For pictures of all sizes. Raises ``EngineError``."""
        return self._shared(("device", backend, manifest.sha256), backend, manifest, {}, Event())

    def built(
        self, backend: str, manifest: ModelManifest, sizes: Mapping[str, int], abandoned: Event
    ) -> ResidentEngine:
        """One that is built for a size of picture and gives there what the fp32 model gives on the
        processor; on another thread than the stream's. Larger batch sizes are built when streams come
        for them, while it serves. Raises ``EngineError``."""
        key = ("device", backend, manifest.sha256, *in_order(sizes))
        return self._shared(key, backend, manifest, sizes, abandoned)

    def _shared(
        self,
        key: tuple[Any, ...],
        backend: str,
        manifest: ModelManifest,
        sizes: Mapping[str, int],
        abandoned: Event,
    ) -> ResidentEngine:
        def open_one() -> DeviceBatching:
            model, gpu = batched(manifest), self.gpu.another()
            try:
                engine = self.open_engine(backend, model, gpu, abandoned)
                try:
                    if sizes:
                        engine.resident({**sizes, BATCH: 1})
                        check_beside_cpu(OneByOne(engine), sizes)
                    return DeviceBatching(engine, model, gpu, self.clock)
                except EngineError:
                    engine.close()
                    raise
            except EngineError:
                gpu.close()
                raise

        return DeviceLease(ENGINES.share(key, open_one), self.gpu, self.deadline)


def _opened(
    backend: str,
    models: Sequence[ModelManifest],
    engines: SharedEngines,
    better: str,
    lands_at_once: Callable[[], bool],
) -> DeviceChoice:
    """On ``backend``, until there is an engine of the ``better`` one, where one is named."""
    gpu, opened = engines.gpu, list[ResidentEngine]()
    try:
        check_kernels(
            gpu,
            scale=models[0].scale,
            inputs={PRECISIONS[model.inputs[0].dtype] for model in models},
            residuals={PRECISIONS[model.residual_dtype] for model in models},
        )
        for model in models:
            serving = engines.leased(backend, model)
            is_taken = better and model.precision in DOORS[better].precisions
            build = partial(engines.built, better, model)
            opened.append(ResidentSwapping(serving, build) if is_taken else serving)
        with ours():
            device = f"{gpu.device.name}, {gpu.device.memory.free >> 20} MiB free"
    except EngineError:
        for one in opened:
            with suppress(EngineError):
                one.close()
        gpu.close()
        raise
    names = ", ".join(model.name for model in models)
    reason = f"{names} on {backend}; pictures stay on the device ({device})"
    stage = DeviceSuperResolution(
        gpu, opened, lands_at_once=lands_at_once(), deadline=engines.deadline
    )
    return DeviceChoice(stage, gpu, reason)


def _models(scale: int, variant: str | None, precisions: Sequence[str]) -> list[ModelManifest]:
    """One model for each network of a scale, in the first precision there is; costliest first."""
    found = shipped_for_streams(scale)
    chosen: list[ModelManifest] = []
    for name in dict.fromkeys(m.variant for m in found if variant in (None, m.variant)):
        own = {m.precision: m for m in found if m.variant == name}
        fitting = [own[precision] for precision in precisions if precision in own]
        chosen += fitting[:1]
    return chosen
