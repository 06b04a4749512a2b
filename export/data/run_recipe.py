"""The settings of data that is learnt from in runs of pictures: noisy ones, and enlarged ones."""

from __future__ import annotations

from dataclasses import dataclass, fields

from export.data.bounds import LARGEST_SEED, check_range
from streamer.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDataRecipe:
    """How clips and images become runs of patches."""

    validation: tuple[str, ...] = ()
    """Clips whose name starts with one of these are held out of training."""
    patch: int = 96
    """Edge of what is kept of a picture, in luma pixels, a multiple of 4; its motion was found on the
    whole picture."""
    run: int = 8
    """Pictures in a row, each made with the help of the one before."""
    segments_per_clip: int = 10
    """Stretches of a clip that were damaged alike."""
    segment_frames: int = 12
    patches_per_segment: int = 10
    image_segments: int = 1
    """Stretches made of each image: a window that moves, or stands."""
    seed: int = 1

    def __post_init__(self) -> None:
        check_range("data.patch", self.patch, 32, 512)
        if self.patch % 4:
            raise ConfigError(f"data.patch is {self.patch}, it must be a multiple of 4")
        check_range("data.run", self.run, 2, 64)
        check_range("data.segments_per_clip", self.segments_per_clip, 1, 1000)
        check_range("data.segment_frames", self.segment_frames, self.run, 250)
        check_range("data.patches_per_segment", self.patches_per_segment, 1, 1000)
        check_range("data.image_segments", self.image_segments, 0, 1000)
        check_range("data.seed", self.seed, 0, LARGEST_SEED)
        for name in (one.name for one in fields(self)):
            if name.endswith("_share"):
                check_range(f"data.{name}", getattr(self, name), 0.0, 1.0)


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
