"""What leaves the receiving side: complete access units; and how a track's format is described."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from streamer.errors import SourceError
from streamer.frame import Gap
from streamer.rtp.packet import RtpPacket

MAX_UNIT_BYTES = 8 << 20
"""A larger access unit is refused: four times a 4K keyframe at 100 Mbit/s."""

CODECS: Mapping[str, str] = MappingProxyType(
    {
        "H264": "h264",
        "H265": "hevc",
        "VP8": "vp8",
        "MPEG4-GENERIC": "aac",
        "MP4A-LATM": "aac",
        "OPUS": "opus",
        "PCMU": "pcm_mulaw",
        "PCMA": "pcm_alaw",
    }
)
"""libav's name of each encoding that is read here, by its name in SDP (in capitals)."""


class UnsupportedFormat(SourceError):
    """This track is not read here; libav may read it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackFormat:
    """What a session description says of one track."""

    codec: str
    """As libav calls it."""
    clock_rate: int
    payload_type: int
    channels: int = 1
    fmtp: Mapping[str, str] = field(default_factory=dict)
    """Format parameters; their names count in any case."""
    encoding: str = ""
    """Its name in SDP; needed only to tell MP4A-LATM from mpeg4-generic, which both carry AAC."""

    def __post_init__(self) -> None:
        lower = {name.lower(): value for name, value in self.fmtp.items()}
        object.__setattr__(self, "fmtp", MappingProxyType(lower))
        if not 1 <= self.clock_rate <= 1_000_000:
            raise UnsupportedFormat(
                f"a track states a clock of {self.clock_rate} Hz; 1 to 1000000 is possible: "
                "the session description is damaged"
            )

    @property
    def is_video(self) -> bool:
        return self.codec in ("h264", "hevc", "vp8")

    def number(self, name: str, default: int = 0) -> int:
        """A parameter that is a whole number; ``default`` where it is absent or is none."""
        text = self.fmtp.get(name.lower(), "")
        return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else default


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessUnit:
    """One coded picture, complete unless it says otherwise, or one complete audio frame."""

    payload: bytes
    """H.264 and H.265 with four-byte start codes, keyframes with their parameter sets; VP8 as it
    is; AAC without ADTS or LATM; one Opus packet; the samples of G.711."""
    timestamp: int
    """In ticks of the track's clock, counted on beyond 32 bits. In the order of arrival: where the
    sender uses B-frames it goes back a little now and then."""
    is_keyframe: bool
    follows_loss: bool
    """Something between the unit before and this one never came, or the one before is damaged."""
    arrived_ns: int
    """When the last of its packets arrived."""
    gaps: tuple[Gap, ...] = ()
    """Where packets of it never came; the payload is what did, for a decoder that makes up the
    rest. Only of video, and such a unit is no keyframe."""

    @property
    def is_damaged(self) -> bool:
        return bool(self.gaps)


class Depacketiser(Protocol):
    """Puts the units of one track together again; fed in sequence order, each packet once."""

    @property
    def extradata(self) -> bytes:
        """The codec's own header (AudioSpecificConfig, OpusHead); empty for video."""

    @property
    def refused(self) -> int:
        """Payloads that could not be understood, and units that came incomplete or too large."""

    def push(
        self, packet: RtpPacket, *, timestamp: int, lost_before: int, arrived_ns: int
    ) -> list[AccessUnit]:
        """The units that are complete now; ``timestamp`` is the packet's, unwrapped."""

    def flush(self) -> list[AccessUnit]:
        """The sender stops here: what was held until the next packet would come, if it is whole."""

    def restart(self) -> None:
        """The sender began anew: what is open will never be completed."""
