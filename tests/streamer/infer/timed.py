"""An engine that takes as long as a test says; what it computes is real."""

from __future__ import annotations

from collections.abc import Sequence

from streamer.clock import ManualClock
from streamer.infer.engine import Tensors
from streamer.infer.ort import OrtCpuEngine
from streamer.model import ModelManifest


class Timed(OrtCpuEngine):
    """Moves the test's clock by ``costs_ms``, one after the other, the last one again and again."""

    def __init__(
        self, manifest: ModelManifest, clock: ManualClock, costs_ms: Sequence[float]
    ) -> None:
        super().__init__(manifest, threads=1)
        self._clock = clock
        self._costs_ms = costs_ms
        self.runs = 0
        self.is_closed = False

    def run(self, inputs: Tensors, outputs: Tensors) -> None:
        cost_ms = self._costs_ms[min(self.runs, len(self._costs_ms) - 1)]
        self._clock.advance_ms(cost_ms)
        self.runs += 1
        super().run(inputs, outputs)

    def close(self) -> None:
        self.is_closed = True
        super().close()
