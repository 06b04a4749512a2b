"""Guides from small pictures and flows: compiled, by packed inputs and an engine, and what a network
for motion takes besides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kernels.native import Native
from kernels.native_motion import GuideCalls
from streamer.frame import Plane
from streamer.model import ModelManifest
from streamer.ops.both import both
from streamer.ops.motion import (
    GUIDE,
    MOTIONS,
    PICTURES,
    Floats,
    Flows,
    Guide,
    coarser,
    motions_at,
    pack_motion,
    padded,
    repeat_edges,
)

GUIDING = ("flow", "mask", "softness")
"""Outputs of a motion network that say how a frame is made."""


class Arithmetic(Protocol):
    """An engine that makes guides of packed pictures and motions."""

    @property
    def manifest(self) -> ModelManifest: ...

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[Any]]) -> None:
        """Fill ``outputs`` from ``inputs``."""


class Guiding(Protocol):
    """Makes guides; belongs to one thread."""

    @property
    def pictures(self) -> Floats:
        """What ``pack_motion`` fills, of the last guide that was made with them."""

    def guide(
        self, small: tuple[Plane, Plane], flows: Flows, time: float, *, with_pictures: bool
    ) -> Guide:
        """The guide of two (h, w) uint8 pictures at ``time``; valid until the next one."""


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

    def __init__(self, engine: Arithmetic) -> None:
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
        flow, mask, softness = (self._results[name][0, :, :rows, :columns] for name in GUIDING)
        return Guide(flow, mask[0], self._results["residual"][0, 0, :rows, :columns], softness[0])

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


class NetworkInputs:
    """Packs what a motion network takes: both pictures brought near by either flow, the motions
    that are told, and the guide that arithmetic makes of them, which the network changes."""

    def __init__(self, plain: Guiding, multiple: int) -> None:
        """``plain`` makes guides without a network; sides of the pictures become multiples."""
        self._multiple, self._plain = multiple, plain
        self.arrays: dict[str, Floats] = {}
        """``pictures`` (1, 6, H, W) and ``motion`` (1, 5, H/2, W/2) as ``pack_motion`` fills them,
        ``guide`` (1, 6, H/2, W/2): flow, mask and softness without a network. Edges repeat."""

    @property
    def pictures(self) -> Floats:
        """As ``pack_motion`` fills them, without what was repeated for the multiple."""
        return self._plain.pictures

    def fill(self, small: tuple[Plane, Plane], flows: Flows, time: float) -> Guide:
        """Fills ``arrays`` for two (h, w) uint8 pictures; gives the guide without a network."""
        plain = self._plain.guide(small, flows, time, with_pictures=True)
        height, width = small[0].shape
        rows, columns = plain.mask.shape
        self._fit(padded(height, self._multiple), padded(width, self._multiple))
        pictures, motion, guide = (self.arrays[name][0] for name in ("pictures", "motion", "guide"))
        seen = self.pictures[:, : 2 * rows, : 2 * columns]
        pictures[:, : seen.shape[1], : seen.shape[2]] = seen
        repeat_edges(pictures, *seen.shape[1:])
        coarse = Flows(coarser(flows.forward), coarser(flows.backward))
        for n, told in enumerate(motions_at(coarse, time)):
            motion[2 * n : 2 * n + 2, :rows, :columns] = told.transpose(2, 0, 1)
        repeat_edges(motion[:4], rows, columns)
        motion[4] = time
        guide[:4, :rows, :columns] = plain.flow
        guide[4, :rows, :columns] = plain.mask
        guide[5, :rows, :columns] = plain.softness
        repeat_edges(guide, rows, columns)
        return plain

    def _fit(self, height: int, width: int) -> None:
        if self.arrays and self.arrays["pictures"].shape[-2:] == (height, width):
            return
        self.arrays = {
            "pictures": np.empty((1, PICTURES, height, width), np.float32),
            "motion": np.empty((1, MOTIONS, height // 2, width // 2), np.float32),
            "guide": np.empty((1, GUIDE, height // 2, width // 2), np.float32),
        }
