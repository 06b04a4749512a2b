"""The latest steps on the quality ladder, as people see them."""

from __future__ import annotations

from collections import deque
from typing import Any

from streamer.clock import Clock
from streamer.metrics import Metrics
from streamer.rungs import Step

KEPT = 20


class StepLog:
    """Counts every step by its reason and keeps the newest; added to from one thread, read from any."""

    def __init__(self, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._steps: deque[Step] = deque(maxlen=KEPT)

    def add(self, step: Step) -> None:
        self._metrics.count(f"step.{step.reason}")
        if step.reason not in ("late", "backlog"):
            # Those are of one frame each, and counted; listed, they would push out the rest.
            self._steps.append(step)

    def recent(self) -> list[dict[str, Any]]:
        """Newest first; ``ago_s`` seconds ago."""
        now_ns = self._clock.now_ns()
        return [
            {
                "ago_s": round((now_ns - step.at_ns) / 1e9, 1),
                "from": step.before.name,
                "to": step.after.name,
                "reason": step.reason,
            }
            for step in reversed(list(self._steps))
        ]
