"""From a model to TensorRT's plan for one size: parsed, strongly typed, timed on this device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from threading import Event
from typing import Any

from streamer.errors import EngineError
from streamer.infer.tensorrt_api import MOST, failure, log_of, monitor_of
from streamer.model import ModelManifest


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSettings:
    """How long and how widely the builder searches."""

    optimisation_level: int = 3
    """0 to 5; TensorRT's own default. Higher ones search longer."""
    workspace_bytes: int = 1 << 30
    """The most that a single kernel may use beside its tensors."""

    def __post_init__(self) -> None:
        if not 0 <= self.optimisation_level <= 5:
            raise EngineError(
                f"the optimisation level {self.optimisation_level} is not there; take 0 to 5"
            )
        if self.workspace_bytes < 1 << 20:
            raise EngineError(
                f"a workspace of {self.workspace_bytes} bytes is too small; take 1 MiB or more"
            )


@dataclass(frozen=True, slots=True)
class Built:
    """What the builder made, and how long each kernel took, for the next build."""

    plan: bytes
    timings: bytes


def build(
    api: Any,
    manifest: ModelManifest,
    sizes: Mapping[str, int],
    *,
    settings: BuildSettings,
    timings: bytes = b"",
    abandoned: Event | None = None,
) -> Built:
    """A plan for one size. Takes seconds to minutes, without the interpreter's lock.

    The graph alone decides the precision (strong typing): 11 knows nothing else, and 10 does the
    same when told so. Its free dimensions are fixed before the build, so that every kernel is
    timed at the size it will see. Raises ``EngineError``, also soon after ``abandoned`` is set.
    """
    log = log_of(api)
    log.take()
    try:
        builder = api.Builder(log)
    except TypeError as error:  # what pybind11 makes of a null pointer
        raise failure(api, "use this device", log.take()) from error
    flags = 1 << int(api.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    _parse(api, network, manifest)
    _fix(network, manifest, sizes)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(api.MemoryPoolType.WORKSPACE, settings.workspace_bytes)
    config.builder_optimization_level = settings.optimisation_level
    if manifest.precision == "fp32":
        # By default it rounds what goes into convolutions to 10 bits of mantissa.
        config.clear_flag(api.BuilderFlag.TF32)
    _use_timings(config, timings)
    # It has to outlive the build.
    monitor = monitor_of(api, abandoned or Event())
    config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    if abandoned is not None and abandoned.is_set():
        raise EngineError(
            f"the build of {manifest.file} was given up, as nobody waits for it any more; "
            "run: streamer engines build"
        )
    if plan is None:
        raise failure(api, f"build {manifest.file} for {_listed(sizes)}", log.take())
    return Built(bytes(memoryview(plan)), _timings(config))


def _parse(api: Any, network: Any, manifest: ModelManifest) -> None:
    log = log_of(api)
    parser = api.OnnxParser(network, log)
    if parser.parse(manifest.verified_bytes()):
        return
    found = [parser.get_error(number) for number in range(parser.num_errors)]
    said = "; ".join(f"{error.desc()} at node {error.node()}" for error in found) or log.take()
    raise EngineError(
        f"TensorRT {api.__version__} cannot read {manifest.file} ({said[:MOST]}); "
        "export the model anew, or use another --backend"
    )


def _fix(network: Any, manifest: ModelManifest, sizes: Mapping[str, int]) -> None:
    shapes = {spec.name: spec.sized(sizes) for spec in manifest.inputs}
    for number in range(network.num_inputs):
        tensor = network.get_input(number)
        if tensor.name not in shapes:
            raise EngineError(
                f"{manifest.file} takes {tensor.name!r}, its manifest names "
                f"{', '.join(shapes)}; export the model anew"
            )
        tensor.shape = shapes[tensor.name]


def _use_timings(config: Any, timings: bytes) -> None:
    """Those of an earlier build where TensorRT takes them; with none, the builder makes its own."""
    cache = config.create_timing_cache(timings)
    if not config.set_timing_cache(cache, ignore_mismatch=False) and timings:
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)


def _timings(config: Any) -> bytes:
    cache = config.get_timing_cache()
    serialized = cache.serialize() if cache is not None else None
    return b"" if serialized is None else bytes(memoryview(serialized))


def _listed(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{letter}={size}" for letter, size in sizes.items())
