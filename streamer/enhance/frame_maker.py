"""Frames that no source sent: made of two that it did, by flow, a network and warps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamer.frame import Plane, Planes
from streamer.infer.engine import Engine
from streamer.ops.motion import (
    MOTIONS,
    MULTIPLE,
    PICTURES,
    FlowEstimator,
    Flows,
    Guide,
    Warper,
    half,
    pack_motion,
    padded,
)

GUIDING = ("flow", "mask", "residual", "softness")
"""Outputs of a motion network that say how a frame is made."""


class FrameMaker:
    """Makes frames between two or after them; belongs to one thread.

    Look at a pair once, then ask for as many times of it as wanted. The pair that is warped may
    be larger than the pair that was looked at: super-resolved frames move like the small ones.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._estimator = FlowEstimator()
        self._inputs: dict[str, NDArray[np.float32]] = {}
        self._results: dict[str, NDArray[np.float32]] = {}
        self._warpers: dict[tuple[int, int, bool], Warper] = {}
        self._pair: tuple[Plane, Plane, Flows] | None = None

    def look(self, first: Plane, second: Plane) -> None:
        """Finds the flow between the luma of two frames, (H, W) uint8 each."""
        small = half(first), half(second)
        self._pair = (*small, self._estimator.between(*small))

    def guide(self, time: float) -> Guide:
        """What makes the frame at ``time`` of the last pair looked at; see ``ops.motion``.

        Its arrays are views, valid until the next guide is asked for.
        """
        assert self._pair is not None, "look at a pair first"
        first, second, flows = self._pair
        height, width = first.shape
        rows, columns = (height + 1) // 2, (width + 1) // 2
        self._fit(padded(height, MULTIPLE), padded(width, MULTIPLE))
        pictures, motion = self._inputs["pictures"][0], self._inputs["motion"][0]
        pack_motion(first, second, flows, time, pictures=pictures, motion=motion)
        self._engine.run(self._inputs, self._results)
        flow, mask, residual, softness = (
            self._results[name][0, :, :rows, :columns] for name in GUIDING
        )
        return Guide(flow, mask[0], residual[0], softness[0])

    def between(self, before: Planes, after: Planes, time: float) -> Planes:
        """The frame at ``time`` of the way from one to the other, 0..1, in new storage."""
        self.look(before[0], after[0])
        return self.make(before, after, self.guide(time))

    def ahead(self, earlier: Planes, last: Planes, step: float) -> Planes:
        """The frame ``step`` intervals after the last one, in new storage."""
        self.look(earlier[0], last[0])
        return self.make(earlier, last, self.guide(1.0 + step))

    def make(self, first: Planes, second: Planes, guide: Guide) -> Planes:
        """The frame that a guide describes, in new storage, of frames of any one size."""
        assert self._pair is not None, "look at a pair first"
        is_enlarged = first[0].shape[0] > 2 * self._pair[0].shape[0] + 1
        made: list[Plane] = []
        for one, other in zip(first, second, strict=True):
            warper, out = self._warper(*one.shape, is_enlarged=is_enlarged), np.empty_like(one)
            # Both chroma planes go the same way.
            if len(made) < 2:
                warper.follow(guide)
            warper.blend(one, other, out)
            if not made:
                warper.finish(guide, out)
            made.append(out)
        return (made[0], made[1], made[2])

    def _warper(self, height: int, width: int, *, is_enlarged: bool) -> Warper:
        key = (height, width, is_enlarged)
        if key not in self._warpers:
            # Luma and chroma of one size; a new size drops the old ones.
            if len(self._warpers) >= 2:
                self._warpers.clear()
            self._warpers[key] = Warper(height, width, is_enlarged=is_enlarged)
        return self._warpers[key]

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
