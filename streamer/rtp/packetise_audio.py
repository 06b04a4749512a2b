"""AAC (RFC 3640), Opus (RFC 7587) and G.711 (RFC 3551) packets into RTP payloads."""

from __future__ import annotations

from streamer.rtp.aac_config import adts_config, adts_header_bytes
from streamer.rtp.packetise import MAX_PAYLOAD_BYTES, RtpPiece

_AU_HEADER_BYTES = 4
"""AU-headers-length and one header of 13 + 3 bits, the only ones we send."""
_MAX_AU_BYTES = (1 << 13) - 1


class AacPacketiser:
    """Takes AAC access units, one at a time, bare or in ADTS, for mode AAC-hbr.

    ``config`` is the AudioSpecificConfig; empty until an ADTS header has said it.
    """

    def __init__(self, config: bytes, *, max_payload_bytes: int = MAX_PAYLOAD_BYTES) -> None:
        self.config = config
        self._limit = max_payload_bytes - _AU_HEADER_BYTES

    def split(self, data: bytes) -> list[RtpPiece]:
        """The packets of one access unit, the last one marked."""
        header_bytes = adts_header_bytes(data)
        if header_bytes:
            self.config = self.config or adts_config(data)
            data = data[header_bytes:]
        if not data or len(data) > _MAX_AU_BYTES:
            return []
        # Each fragment states the size of the whole (RFC 3640, 3.2.1.1 and 3.2.3.1).
        head = b"\x00\x10" + (len(data) << 3).to_bytes(2, "big")
        return [
            RtpPiece(head + data[begin : begin + self._limit], begin + self._limit >= len(data))
            for begin in range(0, len(data), self._limit)
        ]


class OpusPacketiser:
    """Takes Opus packets; each is a payload of its own, and is never split."""

    def split(self, data: bytes) -> list[RtpPiece]:
        # 61440 is the longest an Opus packet can be; no path takes so much in one piece anyway.
        return [RtpPiece(data, is_marked=False)] if 0 < len(data) <= 61_440 else []


class G711Packetiser:
    """Takes G.711 of any length, one byte a sample and channel; a long packet is split."""

    def __init__(self, *, channels: int, max_payload_bytes: int = MAX_PAYLOAD_BYTES) -> None:
        self._channels = channels
        self._limit = max_payload_bytes - max_payload_bytes % channels

    def split(self, data: bytes) -> list[RtpPiece]:
        """The packets, each with its own time."""
        return [
            RtpPiece(
                data[begin : begin + self._limit],
                is_marked=False,
                ticks_later=begin // self._channels,
            )
            for begin in range(0, len(data), self._limit)
        ]
