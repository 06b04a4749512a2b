"""Audio that travels whole, one packet each: Opus (RFC 7587) and G.711 (RFC 3551)."""

from __future__ import annotations

import struct

from streamer.rtp.packet import RtpPacket
from streamer.rtp.unit import AccessUnit, TrackFormat


class WholePackets:
    """The depacketiser of codecs whose packets are their payloads."""

    def __init__(self, extradata: bytes = b"") -> None:
        self.extradata = extradata
        self.refused = 0
        self._follows_loss = False

    def push(
        self, packet: RtpPacket, *, timestamp: int, lost_before: int, arrived_ns: int
    ) -> list[AccessUnit]:
        """As in ``Depacketiser``."""
        follows_loss = self._follows_loss or lost_before > 0
        if not packet.payload:
            self._follows_loss = follows_loss
            return []
        self._follows_loss = False
        return [
            AccessUnit(
                payload=packet.payload,
                timestamp=timestamp,
                is_keyframe=True,
                follows_loss=follows_loss,
                arrived_ns=arrived_ns,
            )
        ]

    def flush(self) -> list[AccessUnit]:
        """As in ``Depacketiser``; nothing is ever held."""
        return []

    def restart(self) -> None:
        """As in ``Depacketiser``."""
        self._follows_loss = True


def opus_channels(format: TrackFormat) -> int:
    """How many to play: SDP always says 2 (RFC 7587, section 7), ``sprop-stereo`` what is sent."""
    return 2 if format.fmtp.get("sprop-stereo") == "1" else min(format.channels, 2)


def opus_head(channels: int) -> bytes:
    """OpusHead (RFC 7845, section 5.1) with nothing to skip: a live stream has no beginning."""
    return b"OpusHead" + struct.pack("<BBHIhB", 1, channels, 0, 48_000, 0, 0)
