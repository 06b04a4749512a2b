"""The settings of data that is learnt from in runs of pictures."""

from __future__ import annotations

from dataclasses import dataclass

from export.data.motion_recipe import LARGEST_SEED, check_range
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
