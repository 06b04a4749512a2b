"""What a run was asked for, and what every task is given."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from benchmarks.quality.extras import Extras
from benchmarks.quality.material import Item, read_shown
from benchmarks.quality.scores import Stopwatch
from streamer.frame import Planes
from streamer.model import ModelManifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Options of one run that change its numbers."""

    scale: int = 2
    conditions: tuple[str, ...] = ()
    """Empty takes each kind's own."""
    frames: int
    """Of a clip, from its start."""
    step: Fraction = Fraction(1)
    """How far to predict, in intervals."""
    seed: int = 1
    is_steady: bool = False
    """Judge every network for super-resolution once more with its flicker held back."""
    sharpness: float = 0.0
    """Judge every network for super-resolution once more sharpened so far, up to 1; 0 does not."""
    longer_side: int | None = None
    """Clips are shrunk to this before they are judged; ``None`` leaves them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What every task works with."""

    settings: Settings
    extras: Extras
    watch: Stopwatch

    def shown(self, item: Item) -> list[Planes]:
        """A clip's frames as they are judged, or a triplet's three. Raises ``ConfigError``."""
        settings = self.settings
        return read_shown(item, limit=settings.frames, longer_side=settings.longer_side)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a task has to say beside its numbers."""

    protocol: str
    models: tuple[ModelManifest, ...]
    left_out: tuple[str, ...] = ()
