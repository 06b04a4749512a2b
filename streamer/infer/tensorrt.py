"""TensorRT on an NVIDIA GPU, through its own Python API: 10.12 and later, and 11."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from threading import Event
from types import ModuleType

from streamer.errors import EngineError
from streamer.infer import tensorrt_api
from streamer.infer.batching_group import KEPT_SIZES
from streamer.infer.building import Building
from streamer.infer.device import DriverStream, Stream, has_device
from streamer.infer.engine import Tensors
from streamer.infer.engine_cache import EngineCache, EngineKey, Machine, TimingsKey, user_engines
from streamer.infer.sizes import Sizes, in_order, on_host, sizes_of
from streamer.infer.tensorrt_build import BuildSettings, build
from streamer.infer.tensorrt_run import Plan
from streamer.model import ModelManifest

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """How a size came to be ready."""

    is_built: bool
    """Or else it was open, or kept from an earlier build."""
    size_bytes: int
    """Of its plan, which is what is kept."""


class TensorRtEngine:
    """A typed model run by TensorRT; each size has a plan of its own, from the cache or built.

    A plan takes up to minutes to build: ``prepare`` does so ahead, ``is_ready`` while other sizes run,
    and ``infer.swapping`` while another engine serves. Arrays are float32 on the caller's side,
    whatever the model takes: they are converted on the way to page-locked memory, where they are copied
    in any case.
    """

    backend = "tensorrt"

    def __init__(
        self,
        manifest: ModelManifest,
        *,
        stream: Stream | None = None,
        settings: BuildSettings | None = None,
        cache: EngineCache | None = None,
        abandoned: Event | None = None,
    ) -> None:
        """Opens package and device, and no plan yet; closes the stream with itself.

        A build ends soon after ``abandoned`` is set. Raises ``EngineError``.
        """
        self.manifest = on_host(manifest)
        self._model = manifest
        self._api = tensorrt_api.load()
        self._stream = stream or DriverStream()
        self._settings = settings or BuildSettings()
        self._cache = cache or user_engines()
        self._abandoned = abandoned
        self._machine = _machine(self._api, self._stream)
        self._plans: dict[Sizes, Plan] = {}
        self._unopened: dict[Sizes, bytes | None] = {}
        """Plans that ``is_ready`` found or had built; ``None`` where what is kept is of no use."""
        self._building = Building[bytes](
            self._build,
            discard=lambda plan: None,
            left_to=f"{manifest.name} on {self.backend} runs fewer pictures at once",
        )
        self._builds = 0

    def run(self, inputs: Tensors, outputs: Tensors) -> None:
        """Fill ``outputs``. The first run of a size opens its plan, or builds it: see ``prepare``.

        Raises ``EngineError``.
        """
        self._stream.enter()
        self._plan(sizes_of(self._model, inputs)).run(inputs, outputs)

    def prepare(self, sizes: Mapping[str, int]) -> Ready:
        """Makes a size ready to run: from the cache in a moment, else built. Raises ``EngineError``."""
        self._stream.enter()
        built = self._builds
        plan = self._plan(sizes)
        return Ready(is_built=self._builds > built, size_bytes=plan.size_bytes)

    def is_ready(self, sizes: Mapping[str, int]) -> bool:
        """Whether a size can be run without being built first; where not, it is built on another thread.

        One that cannot be had never is, which is logged once. Takes no time worth mentioning, but
        where something is kept, which is read once.
        """
        wanted = in_order(sizes)
        made = self._building.taken()
        if made is not None:
            self._unopened[made[0]] = made[1]
        if wanted in self._plans or self._is_there(wanted):
            return True
        self._building.ask(wanted)
        return False

    def resident(self, sizes: Mapping[str, int]) -> Plan:
        """For pictures on the device: a plan whose ``queue`` runs on the engine's stream.

        The first time of a size opens its plan, or builds it. Raises ``EngineError``.
        """
        self._stream.enter()
        return self._plan(sizes)

    def close(self) -> None:
        """Gives back all device memory; from any thread, while nothing runs."""
        self._building.close()
        # A device that was lost has nothing to give back.
        with suppress(EngineError):
            self._stream.enter()
            while self._plans:
                self._plans.popitem()[1].close()
            self._stream.close()

    def _plan(self, sizes: Mapping[str, int]) -> Plan:
        wanted = in_order(sizes)
        plan = self._plans.pop(wanted, None)
        if plan is None:
            while len(self._plans) >= KEPT_SIZES:
                self._plans.pop(next(iter(self._plans))).close()
            plan = self._promised(sizes) or self._kept(sizes) or self._built(sizes)
        # Put behind all others: the first one is the one that was not used for longest.
        self._plans[wanted] = plan
        return plan

    def _is_there(self, wanted: Sizes) -> bool:
        """Whether a plan is there for a size and only to be opened. That there is a file says nothing:
        whoever trusts one that is damaged builds it where all streams wait."""
        key = self._key(dict(wanted))
        # Once: in a folder that cannot be written to, what is of no use stays there.
        if wanted not in self._unopened and self._cache.holds(key):
            self._unopened[wanted] = self._cache.recall(key)
        return self._unopened.get(wanted) is not None

    def _promised(self, sizes: Mapping[str, int]) -> Plan | None:
        """The plan by which ``is_ready`` said so. Raises ``EngineError`` where it cannot be opened: who
        asked is not to wait for a build, which begins when it is asked again."""
        blob = self._unopened.pop(in_order(sizes), None)
        if blob is None:
            return None
        try:
            return self._opened(blob, sizes)
        except EngineError:
            self._cache.forget(self._key(sizes))
            self._unopened[in_order(sizes)] = None
            raise

    def _kept(self, sizes: Mapping[str, int]) -> Plan | None:
        """The plan out of the cache, if it can be used."""
        key = self._key(sizes)
        blob = self._cache.recall(key)
        if blob is None:
            return None
        try:
            return self._opened(blob, sizes)
        except EngineError as error:
            _log.info("a kept engine cannot be used and is built anew: %s", error)
            self._cache.forget(key)
            return None

    def _built(self, sizes: Mapping[str, int]) -> Plan:
        self._builds += 1
        return self._opened(self._build(sizes, self._abandoned), sizes)

    def _build(self, sizes: Mapping[str, int], abandoned: Event | None) -> bytes:
        """A plan, which is kept; from any thread."""
        self._stream.enter()
        timings_key = TimingsKey(machine=self._machine)
        timings = self._cache.recall(timings_key) or b""
        _log.info("TensorRT builds %s for %s, once; this takes a while", self._model.file, sizes)
        built = build(
            self._api,
            self._model,
            sizes,
            settings=self._settings,
            timings=timings,
            abandoned=abandoned,
        )
        self._cache.keep(self._key(sizes), built.plan)
        if built.timings != timings:
            self._cache.keep(timings_key, built.timings)
        return built.plan

    def _opened(self, blob: bytes, sizes: Mapping[str, int]) -> Plan:
        return Plan(self._api, blob, self._model, sizes, self._stream)

    def _key(self, sizes: Mapping[str, int]) -> EngineKey:
        specs = (*self._model.inputs, *self._model.outputs)
        return EngineKey(
            machine=self._machine,
            model_sha256=self._model.sha256,
            precision=self._model.precision,
            shapes={spec.name: spec.sized(sizes) for spec in specs},
            workspace_bytes=self._settings.workspace_bytes,
            optimisation_level=self._settings.optimisation_level,
        )


def _machine(api: ModuleType, stream: Stream) -> Machine:
    facts = stream.facts
    return Machine(
        tensorrt=api.__version__,
        cuda=facts.cuda,
        driver=facts.driver,
        capability=facts.capability,
        gpu=facts.name,
    )


def built(manifest: ModelManifest, sizes: Mapping[str, int], abandoned: Event) -> TensorRtEngine:
    """An engine that is ready for these sizes; takes up to minutes, or until ``abandoned`` is set.

    Raises ``EngineError``.
    """
    engine = TensorRtEngine(manifest, abandoned=abandoned)
    try:
        engine.prepare(sizes)
    except EngineError:
        engine.close()
        raise
    return engine


def is_installed() -> bool:
    """Whether the package is there and a device to run it on; loads neither where one is missing."""
    return tensorrt_api.is_there() and has_device()
