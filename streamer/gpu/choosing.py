"""Whether a stream's pictures stay on a device, and what is said where they cannot."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from streamer.errors import EngineError
from streamer.gpu.door import Gpu, ours
from streamer.gpu.health import PRECISIONS
from streamer.gpu.self_check import check_kernels
from streamer.gpu.super_resolution import DeviceSuperResolution
from streamer.infer import ort_cuda, tensorrt
from streamer.infer.device import DriverStream, ResidentEngine
from streamer.infer.ort_cuda import OrtCudaEngine
from streamer.infer.self_test import check
from streamer.infer.tensorrt import TensorRtEngine
from streamer.metrics import Metrics
from streamer.model import ModelManifest, find_models

_log = logging.getLogger(__name__)

DOORS: dict[str, tuple[Callable[[], bool], tuple[str, ...]]] = {
    "tensorrt": (tensorrt.is_installed, ("fp16",)),
    "ort-cuda": (ort_cuda.is_installed, ("fp16", "fp32")),
}
"""By backend: whether it can be had, and the precisions it is opened with, the best first."""


@dataclass(frozen=True, slots=True)
class DeviceChoice:
    """The stage whose pictures stay on the device, and its door; or neither."""

    stage: DeviceSuperResolution | None
    gpu: Gpu | None
    reason: str
    """Why it is this one, or what the user must see of a device that is there and not used; empty
    where nothing of it is asked for or installed."""


OpenDoor = Callable[[Metrics], Gpu]
OpenEngine = Callable[[str, ModelManifest, Gpu], ResidentEngine]


def open_engine(backend: str, manifest: ModelManifest, gpu: Gpu) -> ResidentEngine:
    """An engine on ``gpu.compute`` that gives what is stored with its model.

    Raises ``EngineError``.
    """
    engine: OrtCudaEngine | TensorRtEngine
    if backend == "tensorrt":
        engine = TensorRtEngine(manifest, stream=DriverStream(gpu.compute))
    else:
        engine = OrtCudaEngine(manifest, stream=gpu.compute.handle)
    try:
        check(engine)
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
    lands_at_once: Callable[[], bool] = _always,
    door: OpenDoor = Gpu,
    engine: OpenEngine = open_engine,
) -> DeviceChoice:
    """The way through device memory, where there is one; its kernels were tried.

    With ``backend`` ``auto`` a device that cannot be used is told in one sentence with the next step,
    and the CPU does it. ``auto`` takes ``ort-cuda`` first, for TensorRT builds for minutes. A backend
    that is named raises ``EngineError`` instead. ``lands_at_once`` is asked once there is a device;
    see ``DeviceSuperResolution``.
    """

    def opened(name: str, models: Sequence[ModelManifest]) -> DeviceChoice:
        return _opened(name, models, door(metrics), engine, lands_at_once)

    if backend in DOORS:
        models = _models(scale, variant, DOORS[backend][1])
        return opened(backend, models) if models else NOT_CHOSEN
    failures: list[str] = []
    for name in ("ort-cuda", "tensorrt") if backend == "auto" else ():
        is_installed, precisions = DOORS[name]
        models = _models(scale, variant, precisions)
        if not models or not is_installed():
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


def _opened(
    backend: str,
    models: Sequence[ModelManifest],
    gpu: Gpu,
    engine: OpenEngine,
    lands_at_once: Callable[[], bool],
) -> DeviceChoice:
    opened: list[ResidentEngine] = []
    try:
        check_kernels(
            gpu,
            scale=models[0].scale,
            inputs={PRECISIONS[model.inputs[0].dtype] for model in models},
            residuals={PRECISIONS[model.residual_dtype] for model in models},
        )
        opened.extend(engine(backend, model, gpu) for model in models)
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
    stage = DeviceSuperResolution(gpu, opened, lands_at_once=lands_at_once())
    return DeviceChoice(stage, gpu, reason)


def _models(scale: int, variant: str | None, precisions: Sequence[str]) -> list[ModelManifest]:
    """One model for each network of a scale, in the first precision there is; costliest first.

    Networks trained on undamaged pictures only where there are no others.
    """
    found = find_models(task="super_resolution", scale=scale)
    found = tuple(m for m in found if m.training != "clean") or found
    chosen: list[ModelManifest] = []
    for name in dict.fromkeys(m.variant for m in found if variant in (None, m.variant)):
        own = {m.precision: m for m in found if m.variant == name}
        fitting = [own[precision] for precision in precisions if precision in own]
        chosen += fitting[:1]
    return chosen
