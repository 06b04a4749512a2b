"""An engine whose broken outputs never reach the picture."""

from __future__ import annotations

import logging

import numpy as np

from streamer.clock import Clock
from streamer.errors import EngineError
from streamer.infer.engine import Engine, Tensors
from streamer.infer.watchdog import Watchdog
from streamer.metrics import Metrics
from streamer.model import RESIDUAL_ZERO, ModelManifest

_log = logging.getLogger(__name__)


class Guarded:
    """Runs an engine; where what it gives cannot be, the outputs are those of a fallback instead.

    After repeated failures the engine is not run any more, and the log says so. Belongs to one
    thread.
    """

    def __init__(
        self, engine: Engine, clock: Clock, metrics: Metrics, *, fallback: Engine | None = None
    ) -> None:
        """Without a ``fallback`` the outputs of a failure are residuals of nothing."""
        self.fell_back = False
        """Whether the latest outputs are not the engine's."""
        self._engine = engine
        self._fallback = fallback
        self._watchdog = Watchdog(engine, clock)
        self._metrics = metrics

    @property
    def manifest(self) -> ModelManifest:
        return self._engine.manifest

    @property
    def backend(self) -> str:
        return self._engine.backend

    def run(self, inputs: Tensors, outputs: Tensors) -> None:
        """Fill ``outputs``; never raises for what the engine does."""
        is_given_up = bool(self._watchdog.verdict)
        self.fell_back = is_given_up or not self._is_done(inputs, outputs)
        if not self.fell_back:
            return
        if self._fallback is not None:
            self._fallback.run(inputs, outputs)
            return
        for array in outputs.values():
            array[...] = RESIDUAL_ZERO if array.dtype == np.uint8 else 0

    def close(self) -> None:
        self._engine.close()
        if self._fallback is not None:
            self._fallback.close()

    def _is_done(self, inputs: Tensors, outputs: Tensors) -> bool:
        try:
            self._engine.run(inputs, outputs)
        except EngineError as error:
            _log.warning("%s", error)
            self._watchdog.failed(str(error))
            is_sound = False
        else:
            is_sound = self._watchdog.is_sound(outputs)
        if not is_sound:
            self._metrics.count(f"unsound.{self.manifest.name}")
        if self._watchdog.verdict:
            _log.warning("%s", self._watchdog.verdict)
        return is_sound
