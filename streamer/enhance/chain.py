"""The steps of a tier, for one frame after the other, on the enhance worker."""

from __future__ import annotations

from streamer.clock import Clock
from streamer.enhance.super_resolution import SuperResolution
from streamer.frame import Frame
from streamer.infer.engine import Engine
from streamer.metrics import Metrics
from streamer.schedule import TierLadder


class Chain:
    """Chooses what a frame can still afford, and does it."""

    lookahead_frames = 0

    def __init__(
        self, super_resolution: SuperResolution, ladder: TierLadder, clock: Clock, metrics: Metrics
    ) -> None:
        self._super_resolution = super_resolution
        self._ladder = ladder
        self._clock = clock
        self._metrics = metrics

    @property
    def engines(self) -> tuple[Engine, ...]:
        """The networks that upscale, best first, for reports."""
        return tuple(self._super_resolution.engines.values())

    def limit(self, tier: str) -> None:
        """Take ``tier`` at best from now on. Raises ``ConfigError`` for one there is not."""
        self._ladder.limit(tier)

    def process(
        self, frame: Frame, *, deadline_ns: int | None, with_comparison: bool
    ) -> list[Frame]:
        """The frames that are ready now, in pts order; ``deadline_ns`` is for the enhancing."""
        tier = self._ladder.choose(deadline_ns)
        began_ns = self._clock.now_ns()
        enhanced = self._super_resolution.process(
            frame, tier=tier.name, with_comparison=with_comparison
        )
        ended_ns = self._clock.now_ns()
        cost_ms = (ended_ns - began_ns) / 1e6
        if enhanced.tier == tier.name:
            tier.costs.add(cost_ms)
        self._metrics.time("super_resolve", cost_ms)
        self._metrics.count(f"tier.{enhanced.tier}")
        return [enhanced.stamped("enhanced", ended_ns)]

    def close(self) -> None:
        self._super_resolution.close()
