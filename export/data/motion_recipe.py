"""The settings of motion data: what a cache of real runs holds, how made-up scenes move."""

from __future__ import annotations

from dataclasses import dataclass

from streamer.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionDataRecipe:
    """How clips become runs of neighbouring luma patches, clean and as a receiver sees them."""

    validation: tuple[str, ...] = ()
    """Clips whose name starts with one of these are held out of training."""
    frames: int = 5
    """Luma patches in an item; five give t = 1/4, 1/2 and 3/4 of a span of four steps."""
    patch: int = 224
    """Edge of a stored patch in luma pixels; training crops smaller ones out of it."""
    segments_per_clip: int = 16
    """Stretches of a clip that share frame skip, scale, noise and codec."""
    segment_frames: int = 16
    """Frames of a stretch, after skipping; a codec sees them all, an item lies anywhere in them."""
    items_per_segment: int = 26
    max_skip: int = 3
    """A step between two frames of an item is one to this many frames of the clip."""
    min_speed: float = 0.5
    """Pixels per step; an item whose 95th percentile is lower counts as still."""
    max_speed: float = 24.0
    """Pixels per step; no item's 95th percentile is higher."""
    still_share: float = 0.15
    coded_share: float = 0.35
    """Stretches that go through a real codec."""
    noise_share: float = 0.2
    """Stretches with sensor noise, drawn independently and added before the codec."""
    seed: int = 1

    def __post_init__(self) -> None:
        check_range("data.frames", self.frames, 3, 16)
        check_range("data.patch", self.patch, 16, 512)
        if self.patch % 2:
            raise ConfigError(f"data.patch is {self.patch}, it must be even")
        check_range("data.segments_per_clip", self.segments_per_clip, 1, 1000)
        check_range("data.segment_frames", self.segment_frames, self.frames, 250)
        check_range("data.items_per_segment", self.items_per_segment, 1, 1000)
        check_range("data.max_skip", self.max_skip, 1, 8)
        check_range("data.min_speed", self.min_speed, 0.0, 100.0)
        check_range("data.max_speed", self.max_speed, self.min_speed, 1000.0)
        for share in ("still_share", "coded_share", "noise_share"):
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


def check_range(key: str, value: float, low: float, high: float) -> None:
    """Raises ``ConfigError`` naming the key unless the value is within both bounds."""
    if not low <= value <= high:
        raise ConfigError(f"{key} is {value}, allowed is {low} to {high}")
