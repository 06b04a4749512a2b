"""Where the guide of a made frame comes from: compiled arithmetic, or an engine and what it takes."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kernels.native import Native, native
from kernels.native_motion import GuideCalls
from streamer.frame import Plane
from streamer.infer.engine import Engine
from streamer.infer.reference_motion import ReferenceMotionEngine
from streamer.ops.both import both
from streamer.ops.motion import MOTIONS, PICTURES, Floats, Flows, Guide, pack_motion, padded

GUIDING = ("flow", "mask", "residual", "softness")
"""Outputs of a motion network that say how a frame is made."""


class Guiding(Protocol):
    """Makes guides; belongs to one thread."""

    @property
    def pictures(self) -> Floats:
        """What ``pack_motion`` fills, of the last guide that was made with them."""

    def guide(
        self, small: tuple[Plane, Plane], flows: Flows, time: float, *, with_pictures: bool
    ) -> Guide:
        """The guide of two (h, w) uint8 pictures at ``time``; valid until the next one."""


def guiding_by(engine: Engine, compiled: Native | None = None) -> Guiding:
    """The cheapest way to what the engine says; ``compiled``: if not for this processor's best."""
    compiled = compiled or native()
    # Another class may say something else.
    if compiled is not None and type(engine) is ReferenceMotionEngine:
        return CompiledGuiding(compiled)
    return EngineGuiding(engine)


class CompiledGuiding:
    """What ``ReferenceMotionEngine`` says, in a third of the time: nothing is packed."""

    def __init__(self, compiled: Native) -> None:
        self._calls = GuideCalls(compiled, both)
        self._maps: Floats = np.empty((6, 0, 0), np.float32)
        self._none: Floats = np.empty((0, 0), np.float32)
        self.pictures: Floats = np.empty((PICTURES, 0, 0), np.float32)

    def guide(
        self, small: tuple[Plane, Plane], flows: Flows, time: float, *, with_pictures: bool
    ) -> Guide:
        rows, columns = ((side + 1) // 2 for side in small[0].shape)
        if self._maps.shape[1:] != (rows, columns):
            self._maps = np.empty((6, rows, columns), np.float32)
            self.pictures = np.empty((PICTURES, 2 * rows, 2 * columns), np.float32)
            self._none = np.zeros((rows, columns), np.float32)
        self._calls.make(
            small,
            (flows.forward, flows.backward),
            time,
            maps=self._maps,
            pictures=self.pictures if with_pictures else None,
        )
        return Guide(self._maps[:4], self._maps[4], self._none, self._maps[5])


class EngineGuiding:
    """Packs pictures and motions and runs an engine on them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._inputs: dict[str, NDArray[np.float32]] = {}
        self._results: dict[str, NDArray[np.float32]] = {}

    @property
    def pictures(self) -> Floats:
        pictures: Floats = self._inputs["pictures"][0]
        return pictures

    def guide(
        self, small: tuple[Plane, Plane], flows: Flows, time: float, *, with_pictures: bool
    ) -> Guide:
        del with_pictures  # they are what the engine takes
        height, width = small[0].shape
        rows, columns = (height + 1) // 2, (width + 1) // 2
        # A manifest speaks of the whole picture, whose half this is.
        multiple = self._engine.manifest.multiple_of // 2
        self._fit(padded(height, multiple), padded(width, multiple))
        pictures, motion = self._inputs["pictures"][0], self._inputs["motion"][0]
        pack_motion(*small, flows, time, pictures=pictures, motion=motion)
        self._engine.run(self._inputs, self._results)
        flow, mask, residual, softness = (
            self._results[name][0, :, :rows, :columns] for name in GUIDING
        )
        return Guide(flow, mask[0], residual[0], softness[0])

    def _fit(self, height: int, width: int) -> None:
        if self._inputs and self._inputs["pictures"].shape[-2:] == (height, width):
            return
        self._inputs = {
            "pictures": np.empty((1, PICTURES, height, width), np.float32),
            "motion": np.empty((1, MOTIONS, height // 2, width // 2), np.float32),
        }
        self._results = {
            spec.name: np.empty((1, int(spec.shape[1]), height // 2, width // 2), np.float32)
            for spec in self._engine.manifest.outputs
        }
