"""The two things that move: a packet (encoded) and a frame (decoded)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from fractions import Fraction
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streamer.media import Color, VideoInfo

Plane: TypeAlias = NDArray[np.uint8]
"""One component, (rows, columns) uint8; rows may lie further apart than columns."""

Planes: TypeAlias = tuple[Plane, Plane, Plane]
"""Y (height, width) and U, V (height / 2, width / 2)."""

RTP_TIME_BASE = Fraction(1, 90_000)
"""The clock of video over RTP, and of our encoder where it is exact."""


class Origin(Enum):
    """How a frame came to be."""

    DECODED = "decoded"
    INTERPOLATED = "interpolated"
    PREDICTED = "predicted"
    REPEATED = "repeated"


Payload: TypeAlias = Any
"""Encoded bytes: ``bytes``, or an ``av.Packet``, whose side data then survives."""


class Gap(NamedTuple):
    """Where something of a packet is missing."""

    at: int
    """Bytes of the payload before the gap."""
    missing_bytes: int
    """About how many bytes never came; 0 where nothing of the payload stands before them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One encoded access unit, or one audio packet, and its place on the timeline."""

    payload: Payload
    pts: int
    dts: int
    time_base: Fraction
    arrived_ns: int
    is_keyframe: bool = False
    duration: int = 0
    """In ticks; 0 where unknown."""
    stream: Literal["video", "audio"] = "video"
    video: VideoInfo | None = None
    """What the picture is from this packet on, where that differs from before or may differ; the
    very same object again says that nothing changed since."""
    follows_loss: bool = False
    """Something before it never arrived: what it refers to may be damaged."""
    gaps: tuple[Gap, ...] = ()
    """Where parts of it never arrived; the payload is what did."""
    origin: Origin = Origin.DECODED
    stamps_ns: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_damaged(self) -> bool:
        return bool(self.gaps)

    @property
    def ends_gap(self) -> bool:
        """A keyframe of the picture. Sound stands alone, and every packet of it is one."""
        return self.stream == "video" and self.is_keyframe

    @property
    def time_s(self) -> Fraction:
        """Presentation time in seconds, exact."""
        return self.pts * self.time_base

    def stamped(self, name: str, now_ns: int) -> Packet:
        """The same packet with one more boundary crossing recorded."""
        return replace(self, stamps_ns={**self.stamps_ns, name: now_ns})


@dataclass(frozen=True, slots=True)
class CodedMotion:
    """Where the decoder took each block of 8x8 luma pixels from, as the stream told it."""

    vectors: NDArray[np.float32]
    """(rows, columns, 2): x and y from a block to its place in the picture before, in pixels."""
    is_inter: NDArray[np.uint8]
    """(rows, columns): 1 where there is a vector, 0 where the block came without another picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """What a decoded picture suffers from packets that never came, its own or earlier ones."""

    pictures_since: int
    """Pictures since the last one that lost something or came after one that was lost."""
    follows_loss: bool = False
    """Pictures right before it may be missing; the decoder put the one before them in their place."""
    lost_rows: tuple[tuple[int, int], ...] = ()
    """First luma row and the one after the last, of what the decoder had to make up."""
    motion: CodedMotion | None = None
    """``None`` where the decoder does not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One picture, 8-bit YUV 4:2:0 in host memory, and when to show it.

    ``planes`` are Y (height, width) and U, V (height / 2, width / 2); both sizes are even.
    See Note [Picture memory] in ``ops/memory.py`` for who owns them.
    """

    planes: Planes
    pts: int
    time_base: Fraction
    arrived_ns: int
    color: Color
    sample_aspect: Fraction = Fraction(1)
    """Width of a pixel divided by its height."""
    duration: int = 0
    origin: Origin = Origin.DECODED
    tier: str = ""
    """Which step of the quality ladder treated it; empty before ``enhance``."""
    damage: Damage | None = None
    """``None`` for a picture that is as it was sent; ``enhance`` leaves what it could not mend."""
    comparison: Planes | None = None
    """The picture above its plain upscale, twice as high, where somebody watches both."""
    stamps_ns: Mapping[str, int] = field(default_factory=dict)

    @property
    def width(self) -> int:
        return int(self.planes[0].shape[1])

    @property
    def height(self) -> int:
        return int(self.planes[0].shape[0])

    @property
    def time_s(self) -> Fraction:
        """Presentation time in seconds, exact."""
        return self.pts * self.time_base

    def stamped(self, name: str, now_ns: int) -> Frame:
        """The same frame with one more boundary crossing recorded."""
        return replace(self, stamps_ns={**self.stamps_ns, name: now_ns})


def rescale(ticks: int, source: Fraction, target: Fraction) -> int:
    """Move ``ticks`` from time base ``source`` to ``target``, half away from zero."""
    exact = ticks * source / target
    whole, rest = divmod(abs(exact.numerator), exact.denominator)
    if 2 * rest >= exact.denominator:
        whole += 1
    return whole if exact >= 0 else -whole
