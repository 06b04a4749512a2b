"""Where the guide of a made frame comes from: arithmetic alone, or a trained network that changes it."""

from __future__ import annotations

import numpy as np

from kernels.native import native
from streamer.frame import Plane
from streamer.infer.engine import Engine
from streamer.infer.reference_motion import ReferenceMotionEngine
from streamer.ops.motion import Floats, Flows, Guide
from streamer.ops.motion_guides import (
    GUIDE_OUTPUTS,
    CompiledGuiding,
    EngineGuiding,
    Guides,
    Guiding,
    NetworkInputs,
)

LATEST = 3.0
"""Of the times that prediction is trained on; what is further ahead is left to arithmetic."""


def guiding_by(engine: Engine) -> Guides:
    """The cheapest way to what the engine says."""
    if any(spec.name == "guide" for spec in engine.manifest.inputs):
        return NetworkGuiding(engine, _unchanged(ReferenceMotionEngine()))
    return _unchanged(engine)


def _unchanged(engine: Engine) -> Guiding:
    compiled = native()
    # Another class may say something else.
    if compiled is not None and type(engine) is ReferenceMotionEngine:
        return CompiledGuiding(compiled)
    return EngineGuiding(engine)


class NetworkGuiding:
    """What a trained network makes of the guide that arithmetic finds."""

    has_network = True

    def __init__(self, engine: Engine, plain: Guiding) -> None:
        self._engine, self._plain = engine, plain
        self._is_between = engine.manifest.task == "interpolation"
        # A manifest speaks of the whole picture, whose half this is.
        self._inputs = NetworkInputs(plain, engine.manifest.multiple_of // 2)
        self._seen: Guides | NetworkInputs = plain
        """Has the latest pictures."""
        self._results: dict[str, Floats] = {}

    @property
    def pictures(self) -> Floats:
        return self._seen.pictures

    def plain(
        self, small: tuple[Plane, Plane], flows: Flows, time: float, *, with_pictures: bool
    ) -> Guide:
        """As ``guide`` without the network, in a fifth of its time."""
        if with_pictures:
            self._seen = self._plain
        return self._plain.guide(small, flows, time, with_pictures=with_pictures)

    def guide(
        self, small: tuple[Plane, Plane], flows: Flows, time: float, *, with_pictures: bool
    ) -> Guide:
        if not self._is_known(time):
            return self.plain(small, flows, time, with_pictures=with_pictures)
        plain = self._inputs.fill(small, flows, time)
        self._seen = self._inputs
        rows, columns = plain.mask.shape
        size = self._inputs.arrays["guide"].shape[-2:]
        if not self._results or self._results["mask"].shape[-2:] != size:
            self._results = {
                spec.name: np.empty((1, int(spec.shape[1]), *size), np.float32)
                for spec in self._engine.manifest.outputs
            }
        self._engine.run(self._inputs.arrays, self._results)
        flow, mask, softness = (
            self._results[name][0, :, :rows, :columns] for name in GUIDE_OUTPUTS
        )
        return Guide(flow, mask[0], plain.residual, softness[0])

    def _is_known(self, time: float) -> bool:
        """Whether the network was trained on it. A stream that interpolates also predicts, at cuts
        and losses, and no network was trained on both."""
        return time < 1.0 if self._is_between else 1.0 <= time <= LATEST
