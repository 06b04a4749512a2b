"""The settings of denoising data: what a cache of noisy runs holds."""

from __future__ import annotations

from dataclasses import dataclass

from export.data.motion_recipe import check_range
from export.data.run_recipe import RunDataRecipe


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseDataRecipe(RunDataRecipe):
    """How clips and images become runs of noisy pictures, and what those were before."""

    noise_share: float = 0.75
    """Stretches with sensor noise."""
    smooth_noise_share: float = 0.4
    """Of those, with noise that neighbours share, as a camera's own processing leaves it."""
    coded_share: float = 0.6
    """Stretches that go through a real codec."""
    flicker_share: float = 0.1
    """Stretches whose brightness wavers, as mains light and automatic exposure make it."""

    def __post_init__(self) -> None:
        RunDataRecipe.__post_init__(self)
        for name in ("noise", "smooth_noise", "coded", "flicker"):
            check_range(f"data.{name}_share", getattr(self, f"{name}_share"), 0.0, 1.0)
