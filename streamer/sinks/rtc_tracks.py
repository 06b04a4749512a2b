"""Tracks that hand packets which are already encoded to aiortc, and know their RTP times."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from streamer.frame import RTP_TIME_BASE, Packet, rescale
from streamer.sinks.rtc_ring import PacketRing, RingClosed

OPUS_TIME_BASE = Fraction(1, 48_000)
"""RFC 7587, section 4.1: the clock of Opus over RTP, whatever rate it was coded from."""

TIME_BASES = {"video": RTP_TIME_BASE, "audio": OPUS_TIME_BASE}

_WRAP = 1 << 32


def ready(packet: Packet) -> av.Packet[Any]:
    """The packet as aiortc's packetiser takes it; its RTP time is ``pts``, nothing else."""
    out: av.Packet[Any] = av.Packet(bytes(packet.payload))
    time_base = TIME_BASES[packet.stream]
    out.pts = rescale(packet.pts, packet.time_base, time_base)
    out.time_base = time_base
    return out


class PacketTrack(MediaStreamTrack):
    """Hands aiortc one viewer's packets; aiortc splits them into RTP and never encodes."""

    def __init__(
        self, ring: PacketRing[av.Packet[Any]], kind: Literal["video", "audio"] = "video"
    ) -> None:
        super().__init__()
        self.kind = kind
        self._ring = ring
        self._time_base = TIME_BASES[kind]
        self._pts = 0
        """Of the packet that aiortc sends now, or sent last."""
        self._origin: int | None = None
        """The RTP timestamp of pts 0; aiortc draws it by lot."""

    async def recv(self) -> av.Packet[Any]:
        try:
            packet = await self._ring.take()
        except RingClosed:
            raise MediaStreamError from None
        self._pts = packet.pts or 0
        return packet

    def on_sent(self, timestamp: int) -> None:
        """An RTP packet of this track leaves; the first one shows where its timestamps begin."""
        if self._origin is None:
            self._origin = timestamp - self._pts

    def time_of(self, timestamp: int) -> Fraction | None:
        """The media time of an RTP timestamp that was sent lately; ``None`` before the first."""
        if self._origin is None:
            return None
        ahead = (timestamp - self._origin - self._pts) % _WRAP
        ahead -= _WRAP if ahead >= _WRAP // 2 else 0
        return (self._pts + ahead) * self._time_base

    def timestamp_at(self, media_s: Fraction) -> int:
        """The RTP timestamp, 32 bits, of a media time."""
        return ((self._origin or 0) + round(media_s / self._time_base)) % _WRAP
