"""The settings of motion data: what a cache of triples holds, how made-up scenes move."""

from __future__ import annotations

from dataclasses import dataclass

from export.data.bounds import LARGEST_SEED, check_range
from streamer.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionDataRecipe:
    """How clips become triples: two pictures as a receiver sees them and a third, which is wanted."""

    validation: tuple[str, ...] = ()
    """Clips whose name starts with one of these are held out of training."""
    patch: int = 288
    """Edge of what is kept of a picture, in luma pixels, a multiple of 8; its flow was found on the
    whole picture, since on patches it errs in another way."""
    longest_sides: tuple[int, ...] = (512, 640, 640, 640, 800, 960)
    """Pictures are shrunk to one of these, drawn with even odds."""
    segments_per_clip: int = 20
    """Stretches of a clip that share frame skip, size, camera, noise and codec."""
    segment_frames: int = 9
    triples_per_segment: int = 5
    """Each gives one patch, or two that lie apart."""
    max_skip: int = 3
    """A step between two frames is one to this many frames of the clip, fewer being likelier."""
    camera_share: float = 0.5
    """Stretches seen through a window that moves, turns and zooms evenly. Without them a network
    learns that backgrounds stand, as most clips' do, and spoils pans by 0.3 dB."""
    coded_share: float = 0.3
    """Stretches that go through a real codec."""
    noise_share: float = 0.12
    """Stretches with sensor noise, drawn independently and added before the codec."""
    scenes: int = 520
    """Triples of made-up scenes besides."""
    seed: int = 1

    def __post_init__(self) -> None:
        check_range("data.patch", self.patch, 32, 512)
        if self.patch % 8:
            raise ConfigError(f"data.patch is {self.patch}, it must be a multiple of 8")
        if not self.longest_sides:
            raise ConfigError("data.longest_sides is empty, it must name at least one size")
        for side in self.longest_sides:
            check_range("data.longest_sides", side, self.patch, 8192)
        check_range("data.segments_per_clip", self.segments_per_clip, 1, 1000)
        check_range("data.segment_frames", self.segment_frames, 5, 250)
        check_range("data.triples_per_segment", self.triples_per_segment, 1, 1000)
        check_range("data.max_skip", self.max_skip, 1, 8)
        check_range("data.scenes", self.scenes, 0, 10**6)
        check_range("data.seed", self.seed, 0, LARGEST_SEED)
        for share in ("camera_share", "coded_share", "noise_share"):
            check_range(f"data.{share}", getattr(self, share), 0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneRecipe:
    """How scenes with known motion are made up of still pictures; shares are of all scenes."""

    max_speed: float = 16.0
    """Pixels per frame of a layer's centre in the middle of the scene; squares of evenly drawn
    numbers below it, so that slow layers are the most."""
    max_layers: int = 4
    """Moving layers, the background included."""
    still_share: float = 0.15
    """Backgrounds that stand, as behind a camera on a tripod."""
    wobble_share: float = 0.15
    """Layers that also bend, as cloth and water do."""
    blur_share: float = 0.15
    """Scenes with motion blur, averaged over up to eight instants: the costly ones."""
    flicker_share: float = 0.15
    overlay_share: float = 0.3
    """Scenes with text, logo or lines that stand before everything."""
    coded_share: float = 0.15
    noise_share: float = 0.2

    def __post_init__(self) -> None:
        check_range("scenes.max_speed", self.max_speed, 0.0, 200.0)
        check_range("scenes.max_layers", self.max_layers, 1, 16)
        for name in ("still", "wobble", "blur", "flicker", "overlay", "coded", "noise"):
            check_range(f"scenes.{name}_share", getattr(self, f"{name}_share"), 0.0, 1.0)
