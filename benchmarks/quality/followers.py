"""A shipped network that makes each picture with the help of the last one, by the run time's own steps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.frame import Planes
from streamer.infer.engine import Engine
from streamer.ops.follower import Follower


class ShippedFollower:
    """Denoising or steadying, picture by picture of a clip."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        manifest = engine.manifest
        self._dtype = manifest.inputs[0].dtype
        self._follower = Follower(self._change, kind=manifest.residual_dtype)
        self.reset = self._follower.reset

    def clean(self, planes: Planes) -> Planes:
        """The next picture; storage of its own."""
        y, u, v = (np.empty_like(plane) for plane in planes)
        self._follower.make(planes, (y, u, v))
        return y, u, v

    def _change(self, packed: NDArray[np.float32], change: NDArray[Any]) -> bool:
        given = packed.astype(self._dtype, copy=False)
        self._engine.run({"followed": given}, {"change": change})
        return True
