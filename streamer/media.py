"""What is known of a stream before its first frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from streamer.frame import Color


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInfo:
    """What is known of the picture before the first frame."""

    codec: str
    width: int
    height: int
    fps: Fraction | None
    """Nominal rate; ``None`` where the input does not say."""
    time_base: Fraction
    color: Color
    sample_aspect: Fraction = Fraction(1)
    pix_fmt: str = "yuv420p"
    frames: int = 0
    """0 where unknown."""
    duration_s: float | None = None
    is_live: bool = False
    notes: tuple[str, ...] = ()
    """What is changed on the way in, one sentence each, for the report."""
    codec_parameters: Any = None
    """What the decoder needs beside the packets; opaque outside ``decode`` and ``sinks``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioInfo:
    """The audio that travels beside the picture, untouched."""

    codec: str
    rate_hz: int
    channels: int
    time_base: Fraction
    codec_parameters: Any = field(default=None, repr=False)
