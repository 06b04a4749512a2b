"""A motion network that can be told from arithmetic."""

from __future__ import annotations

import numpy as np

from streamer.clock import ManualClock
from streamer.infer.engine import Tensors
from streamer.model import ModelManifest, TensorSpec
from streamer.ops.motion import Floats


class Shifting:
    """Takes what a trained network does, and says that all is a cell further right, and softer."""

    backend = "test"

    def __init__(self, task: str = "interpolation") -> None:
        grid = (("pictures", 6, 2), ("motion", 5, 1), ("guide", 6, 1))
        self.seen: dict[str, Floats] = {}
        self.manifest = ModelManifest(
            name="shifting",
            task=task,
            variant="test",
            training="none",
            scale=1,
            file="",
            sha256="",
            opset=18,
            precision="fp32",
            inputs=tuple(
                TensorSpec(name=name, shape=(1, channels, f"{part}*h", f"{part}*w"))
                for name, channels, part in grid
            ),
            outputs=tuple(
                TensorSpec(name=name, shape=(1, channels, "h", "w"))
                for name, channels in (("flow", 4), ("mask", 1), ("softness", 1))
            ),
            multiple_of=16,
        )

    def run(self, inputs: Tensors, outputs: Tensors) -> None:
        self.seen = {name: array.copy() for name, array in inputs.items()}
        guide = inputs["guide"]
        outputs["flow"][...] = guide[:, :4] + np.reshape([1, 0, 1, 0], (1, 4, 1, 1))
        outputs["mask"][...] = guide[:, 4:5]
        outputs["softness"][...] = 0.5 * (1 + guide[:, 5:6])

    def close(self) -> None: ...


class SlowNetwork(Shifting):
    """Takes its time for each guide that it changes."""

    def __init__(self, clock: ManualClock, takes_ms: float) -> None:
        super().__init__("prediction")
        self._clock = clock
        self.takes_ms = takes_ms
        self.runs = 0

    def run(self, inputs: Tensors, outputs: Tensors) -> None:
        super().run(inputs, outputs)
        self._clock.advance_ms(self.takes_ms)
        self.runs += 1
