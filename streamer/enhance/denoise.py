"""Takes noise away from a stream that is noisy, before it is enlarged."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.clock import Clock
from streamer.costs import Costs
from streamer.enhance.noise_watch import NoiseWatch
from streamer.frame import Planes
from streamer.infer.engine import Engine
from streamer.infer.guarded import Guarded
from streamer.metrics import Metrics
from streamer.ops.follower import Change, Follower
from streamer.ops.memory import PicturePool
from streamer.rungs import SHARE

PAUSE_NS = 1_000_000_000
RARELY = 1000
"""Where there was no time for it, it is tried again after the pause, or after so many times what it
took too long by, if that is longer: what others on the machine take may have gone."""


class Denoising:
    """Cleans the pictures of a stream that is noisy, before they are enlarged. Belongs to one thread."""

    def __init__(
        self, engine: Engine, clock: Clock, metrics: Metrics, *, watch: NoiseWatch | None = None
    ) -> None:
        """With a ``watch`` only while that sees noise, otherwise always."""
        self.engine = engine
        self._clock, self._metrics, self._watch = clock, metrics, watch
        self._follower = Follower(change_by(engine), kind=engine.manifest.residual_dtype)
        self._pool = PicturePool(0, 0)
        self._costs = Costs(clock)
        self._retry_ns = 0
        self.interval_ms: Callable[[], float | None] = lambda: None
        """How far pictures are apart; ``None`` while that is not known. Whoever knows it sets this."""

    def cleaned(self, planes: Planes, *, until_ns: int | None = None) -> Planes:
        """The picture without its noise, in other memory; itself where it is left as it is.

        With ``until_ns`` that is also where it would hardly be done by then, or would take longer on
        average than pictures are apart.
        """
        if until_ns is not None and not self._fits(until_ns):
            self.reset()
            return planes
        if self._watch is not None:
            self._watch.see(planes[0])
            if not self._watch.is_noisy:
                self._follower.reset()
                return planes
        began_ns = self._clock.now_ns()
        height, width = planes[0].shape
        if (width, height) != (self._pool.width, self._pool.height):
            self._pool = PicturePool(width, height)
            self._costs.forget()
        out = self._pool.lease()
        if not self._follower.make(planes, out):
            return planes
        self._spent(began_ns, until_ns)
        return out

    def reset(self) -> None:
        """A picture was left out, so what comes next follows nothing."""
        self._follower.reset()
        if self._watch is not None:
            self._watch.reset()

    def warm_up(self, width: int, height: int) -> None:
        """Run once at this size: a runtime's first run plans its memory and takes far longer."""
        self._follower.warm_up(width, height)

    def close(self) -> None:
        self.engine.close()

    @property
    def _most_ms(self) -> float:
        """What it may take on average."""
        interval_ms = self.interval_ms()
        return math.inf if interval_ms is None else SHARE * interval_ms

    def _fits(self, until_ns: int) -> bool:
        now_ns = self._clock.now_ns()
        left_ms = (until_ns - now_ns) / 1e6
        fits = self._costs.likely_ms() <= left_ms and self._costs.mean_ms() <= self._most_ms
        return left_ms > 0 and (fits or now_ns >= self._retry_ns)

    def _spent(self, began_ns: int, until_ns: int | None) -> None:
        ended_ns = self._clock.now_ns()
        cost_ms = (ended_ns - began_ns) / 1e6
        self._costs.add(cost_ms)
        self._metrics.time("denoise", cost_ms)
        self._metrics.count("cleaned")
        if until_ns is not None:
            over_ms = max(cost_ms - self._most_ms, (ended_ns - until_ns) / 1e6)
            self._retry_ns = ended_ns + max(PAUSE_NS, round(RARELY * over_ms * 1e6))


def change_by(engine: Engine) -> Change:
    """A network as what follows pictures takes it; it did not where the engine fell back."""

    def change(packed: NDArray[np.float32], change: NDArray[Any]) -> bool:
        engine.run({"followed": packed}, {"change": change})
        return not (isinstance(engine, Guarded) and engine.fell_back)

    return change
