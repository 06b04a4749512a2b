"""What a run of these scenarios is asked for, and what each of them gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.goal import Goal
from benchmarks.latency.plot import Stretch
from benchmarks.latency.sightings import Measurement
from benchmarks.latency.stage import Options

DISCARD_S = 10.0
"""What the start costs, the playout gives back by 10 ms a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Options of one run."""

    duration_s: float | None = None
    """Of each scenario; ``None`` takes its own."""
    discard_s: float = DISCARD_S
    """After the viewer saw a picture; never counted."""
    data: tuple[Path, ...] = ()
    """Folders of clips; without any, scenes are drawn."""
    frames: int = 61
    """Of a clip, from its start."""

    def options(self, usual_s: float) -> Options:
        """For a scenario with a camera. Raises ``ConfigError``."""
        return Options(duration_s=self.duration_s or usual_s, discard_s=self.discard_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One scenario, measured."""

    claim: str
    baseline: str
    left_out: str
    goals: Sequence[Goal]
    measurements: Sequence[Measurement] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    over_time: Sequence[Stretch] = ()
    """Of the first measurement, for the drawing."""

    def as_dict(self) -> dict[str, Any]:
        return {
            "claim": self.claim,
            "baseline": self.baseline,
            "left_out": self.left_out,
            "measurements": [one.as_dict() for one in self.measurements],
            "goals": [goal.as_dict() for goal in self.goals],
            **self.extra,
        }
