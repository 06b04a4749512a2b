"""The settings of steadying data: what a cache of enlarged runs holds."""

from __future__ import annotations

from dataclasses import dataclass

from export.data.motion_recipe import check_range
from export.data.run_recipe import RunDataRecipe


@dataclass(frozen=True, slots=True, kw_only=True)
class EnlargedDataRecipe(RunDataRecipe):
    """How clips and images become runs of enlarged pictures, and what those were before they were
    shrunk and coded."""

    blur_share: float = 0.05
    """Stretches blurred before they are shrunk."""
    noise_share: float = 0.15
    """Stretches with sensor noise, which is taken away."""
    clean_share: float = 0.3
    """Stretches that no codec touches."""
    extremes_share: float = 0.1
    """Stretches of full range, and as many with a black bar."""

    def __post_init__(self) -> None:
        RunDataRecipe.__post_init__(self)
        for name in ("blur", "noise", "clean", "extremes"):
            check_range(f"data.{name}_share", getattr(self, f"{name}_share"), 0.0, 1.0)
