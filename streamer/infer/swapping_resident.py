"""An engine on a device that serves while a better one is built, and gives way between two pictures."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from threading import Event

from streamer.infer.building import Building, Sizes
from streamer.infer.device import ResidentEngine, ResidentRun
from streamer.infer.swapping import KEPT
from streamer.model import ModelManifest

_log = logging.getLogger(__name__)

Build = Callable[[Mapping[str, int], Event], ResidentEngine]
"""An engine that is ready for these sizes and was found right at them, or ``EngineError``. The event is
set when nobody waits for it any more."""


class ResidentSwapping:
    """``serving`` until an engine for the size at hand is built; as ``Swapping``, which copies arrays.

    Belongs to one thread, which asks for ``resident`` before each picture: the pictures under way are
    done by whatever they were queued on, so nothing is waited for. Where none can be built, that is
    logged once and the size stays with ``serving``.
    """

    def __init__(self, serving: ResidentEngine, build: Build) -> None:
        """``build`` is called on another thread. Closes ``serving`` with itself."""
        self._serving = serving
        self._engine = serving
        self._sizes: Sizes = ()
        """Of the picture at hand."""
        self._built: dict[Sizes, ResidentEngine] = {}
        self._building = Building(
            build,
            discard=lambda engine: engine.close(),
            left_to=f"{serving.manifest.name} is left to {serving.backend}",
        )

    @property
    def manifest(self) -> ModelManifest:
        """Of the engine that was asked for last."""
        return self._engine.manifest

    @property
    def backend(self) -> str:
        """Of the engine that was asked for last."""
        return self._engine.backend

    def resident(self, sizes: Mapping[str, int]) -> ResidentRun:
        """Of whichever engine is to do the next picture. Raises ``EngineError``."""
        self._sizes = tuple(sorted(sizes.items()))
        ready = self._building.taken()
        if ready is not None:
            self._take(*ready)
        if self._sizes not in self._built:
            self._building.ask(self._sizes)
        self._engine = self._built.get(self._sizes, self._serving)
        return self._engine.resident(sizes)

    def retreat(self, why: str) -> bool:
        """Whether the picture at hand can be done by ``serving`` instead: what was built for its size is
        given up for good."""
        built = self._built.pop(self._sizes, None)
        if built is None:
            return False
        self._engine = self._serving
        built.close()
        self._building.refuse(self._sizes, why)
        return True

    def wait(self) -> None:
        """Until a build that was begun is over; what it made serves from the next picture on."""
        self._building.wait()

    def close(self) -> None:
        """A build that does not notice in time closes what it makes by itself."""
        self._building.close()
        for engine in (self._serving, *self._built.values()):
            engine.close()
        self._built.clear()

    def _take(self, sizes: Sizes, engine: ResidentEngine) -> None:
        while len(self._built) >= KEPT:
            self._built.pop(next(iter(self._built))).close()
        self._built[sizes] = engine
        _log.info("%s now runs on %s", engine.manifest.name, engine.backend)
