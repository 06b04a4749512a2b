"""Access units as RTP payloads, split once for all viewers, and the tracks that aiortc sees."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

from aiortc import MediaStreamTrack

from streamer.frame import RTP_TIME_BASE, Packet, rescale
from streamer.rtp.packetise import Packetiser, RtpPiece
from streamer.rtp.packetise_audio import OpusPacketiser
from streamer.rtp.packetise_h264 import H264Packetiser

OPUS_TIME_BASE = Fraction(1, 48_000)
"""RFC 7587, section 4.1: the clock of Opus over RTP, whatever rate it was coded from."""

TIME_BASES = {"video": RTP_TIME_BASE, "audio": OPUS_TIME_BASE}

PAYLOAD_BYTES = 1_300
"""As aiortc has it. pylibsrtp takes packets of up to 1356 bytes; the RTP header with its extensions
takes 28 of those and a second attempt (RTX) two more."""

_PACKETISERS: Mapping[str, Packetiser] = {
    "video": H264Packetiser(max_payload_bytes=PAYLOAD_BYTES),
    "audio": OpusPacketiser(),
}


@dataclass(frozen=True, slots=True, eq=False)
class ReadyUnit:
    """One access unit, as every viewer is sent it."""

    pts: int
    """On the clock of its RTP."""
    pieces: tuple[RtpPiece, ...] = field(repr=False)
    size_bytes: int
    """Coded, without headers."""


def ready(packet: Packet) -> ReadyUnit:
    """The packet's RTP payloads; those of a picture are equally long, its units' last ones apart."""
    payload = bytes(packet.payload)
    pieces = _PACKETISERS[packet.stream].split(payload)
    return ReadyUnit(
        pts=rescale(packet.pts, packet.time_base, TIME_BASES[packet.stream]),
        # Opus is never split; what a publisher sends of it may be too long to be encrypted.
        pieces=tuple(piece for piece in pieces if len(piece.payload) <= PAYLOAD_BYTES),
        size_bytes=len(payload),
    )


class IdleTrack(MediaStreamTrack):
    """A track for aiortc to agree on; it never gives anything, since ``rtc_sender`` sends."""

    def __init__(self, kind: Literal["video", "audio"]) -> None:
        super().__init__()
        self.kind = kind

    async def recv(self) -> Any:
        await asyncio.get_running_loop().create_future()
