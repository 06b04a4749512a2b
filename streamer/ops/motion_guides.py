"""Guides from small pictures and flows: compiled, by packed inputs and an engine, and what a network
for motion takes besides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
    pack_motion,
    padded,
    repeat_edges,
)

GUIDE_OUTPUTS = ("flow", "mask", "softness")
"""Outputs of a motion network that say how a frame is made."""


class Arithmetic(Protocol):
    """An engine that makes guides of packed pictures and motions."""

    @property
    def manifest(self) -> ModelManifest: ...

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[Any]]) -> None:
        """Fill ``outputs`` from ``inputs``."""


@dataclass(frozen=True, slots=True)
class Packed:
    """What a motion network takes of two pictures. Edges repeat."""

    pictures: Floats
    """(6, H, W) as ``pack_motion`` fills them."""
    motion: Floats
    """(5, H/2, W/2) likewise."""
    guide: Floats
    """(6, H/2, W/2): flow, mask and softness without a network."""


class Guides(Protocol):
    """Makes guides; belongs to one thread."""

    @property
    def has_network(self) -> bool:
        """Whether ``plain`` leaves one out."""

    @property
    def pictures(self) -> Floats:
        """What ``pack_motion`` fills, of the last guide that was made with them."""

    def guide(
        self, small: tuple[Plane, Plane], flows: Flows, time: float, *, with_pictures: bool
    ) -> Guide:
        """The guide of two (h, w) uint8 pictures at ``time``; valid until the next one."""

    def plain(
        self, small: tuple[Plane, Plane], flows: Flows, time: float, *, with_pictures: bool
    ) -> Guide:
        """As ``guide``, without the network that would change it."""


class Guiding(Guides, Protocol):
    """Makes guides that a network may change."""

    def fill(self, small: tuple[Plane, Plane], flows: Flows, time: float, packed: Packed) -> Guide:
        """As ``guide``, and what such a network takes, of sides that are h and w or longer. Valid
        while that is left alone."""


class CompiledGuiding:
    """What ``ReferenceMotionEngine`` says, in a third of the time: nothing is packed."""

    has_network = False

    def __init__(self, compiled: Native) -> None:
        self._calls = GuideCalls(compiled, both)
        self._maps: Floats = np.empty((GUIDE, 0, 0), np.float32)
        self._none: Floats = np.empty((0, 0), np.float32)
        self.pictures: Floats = np.empty((PICTURES, 0, 0), np.float32)

    def guide(
        self, small: tuple[Plane, Plane], flows: Flows, time: float, *, with_pictures: bool
    ) -> Guide:
        rows, columns = _cells(small[0])
        if self._maps.shape[1:] != (rows, columns):
            self._maps = np.empty((GUIDE, rows, columns), np.float32)
        if with_pictures and self.pictures.shape[1:] != (2 * rows, 2 * columns):
            self.pictures = np.empty((PICTURES, 2 * rows, 2 * columns), np.float32)
        self._calls.make(
            small,
            (flows.forward, flows.backward),
            time,
            maps=self._maps,
            pictures=self.pictures if with_pictures else None,
        )
        return self._guide(self._maps)

    plain = guide

    def fill(self, small: tuple[Plane, Plane], flows: Flows, time: float, packed: Packed) -> Guide:
        self._calls.make(
            small,
            (flows.forward, flows.backward),
            time,
            maps=packed.guide,
            pictures=packed.pictures,
            motion=packed.motion,
        )
        rows, columns = _cells(small[0])
        return self._guide(packed.guide[:, :rows, :columns])

    def _guide(self, maps: Floats) -> Guide:
        if self._none.shape != maps.shape[1:]:
            self._none = np.zeros(maps.shape[1:], np.float32)
        return Guide(maps[:4], maps[4], self._none, maps[5])


class EngineGuiding:
    """Packs pictures and motions and runs an engine on them."""

    has_network = False

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
        rows, columns = _cells(small[0])
        # A manifest speaks of the whole picture, whose half this is.
        multiple = self._engine.manifest.multiple_of // 2
        self._fit(padded(height, multiple), padded(width, multiple))
        pictures, motion = self._inputs["pictures"][0], self._inputs["motion"][0]
        pack_motion(*small, flows, time, pictures=pictures, motion=motion)
        self._engine.run(self._inputs, self._results)
        flow, mask, softness = (
            self._results[name][0, :, :rows, :columns] for name in GUIDE_OUTPUTS
        )
        return Guide(flow, mask[0], self._results["residual"][0, 0, :rows, :columns], softness[0])

    plain = guide

    def fill(self, small: tuple[Plane, Plane], flows: Flows, time: float, packed: Packed) -> Guide:
        plain = self.guide(small, flows, time, with_pictures=True)
        rows, columns = _cells(small[0])
        _put(self._inputs["pictures"][0, :, : 2 * rows, : 2 * columns], packed.pictures)
        _put(self._inputs["motion"][0, :, :rows, :columns], packed.motion)
        _put(np.stack([*plain.flow, plain.mask, plain.softness]), packed.guide)
        return plain

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
        """The fields of ``Packed`` by name, of one pair: (1, channels, rows, columns)."""

    @property
    def pictures(self) -> Floats:
        """Those among ``arrays``."""
        pictures: Floats = self.arrays["pictures"][0]
        return pictures

    def fill(self, small: tuple[Plane, Plane], flows: Flows, time: float) -> Guide:
        """Fills ``arrays`` for two (h, w) uint8 pictures; gives the guide without a network."""
        self._fit(*(padded(side, self._multiple) for side in small[0].shape))
        packed = Packed(**{name: array[0] for name, array in self.arrays.items()})
        return self._plain.fill(small, flows, time, packed)

    def _fit(self, height: int, width: int) -> None:
        if self.arrays and self.arrays["pictures"].shape[-2:] == (height, width):
            return
        self.arrays = {
            "pictures": np.empty((1, PICTURES, height, width), np.float32),
            "motion": np.empty((1, MOTIONS, height // 2, width // 2), np.float32),
            "guide": np.empty((1, GUIDE, height // 2, width // 2), np.float32),
        }


def _cells(picture: Plane) -> tuple[int, int]:
    """Rows and columns of two by two pixels; an odd side's last ones have but one."""
    height, width = picture.shape
    return (height + 1) // 2, (width + 1) // 2


def _put(layers: Floats, out: Floats) -> None:
    """Layers into larger ones, whose edges repeat."""
    height, width = layers.shape[1:]
    out[:, :height, :width] = layers
    repeat_edges(out, height, width)
