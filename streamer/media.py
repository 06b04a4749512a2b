"""What is known of a stream before its first frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Color:
    """How code values turn into light; names as FFmpeg writes them."""

    matrix: str
    range: Literal["limited", "full"] = "limited"
    primaries: str = "unspecified"
    transfer: str = "unspecified"

    @property
    def black(self) -> int:
        """The luma code of black."""
        return 0 if self.range == "full" else 16

    @property
    def white(self) -> int:
        """The luma code of white."""
        return 255 if self.range == "full" else 235

    @classmethod
    def untagged(cls, height: int) -> Color:
        """The rule for input that states nothing: BT.601 below 720 lines, BT.709 from there."""
        return cls(matrix="bt601" if height < 720 else "bt709")


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
    extradata: bytes = field(default=b"", repr=False)
    """The codec's own header, where it does not come with the packets."""
    codec_parameters: Any = field(default=None, repr=False)
    """A libav stream that describes it, where the input was opened in this process; opaque
    outside ``decode`` and ``sinks``. Without one, ``codec`` and ``extradata`` say all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioInfo:
    """The audio that travels beside the picture, untouched."""

    codec: str
    rate_hz: int
    channels: int
    time_base: Fraction
    extradata: bytes = field(default=b"", repr=False)
    """The codec's own header (AudioSpecificConfig, OpusHead), where there is one."""
    codec_parameters: Any = field(default=None, repr=False)
    """As in ``VideoInfo``."""
