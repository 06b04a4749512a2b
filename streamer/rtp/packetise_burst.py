"""The RTP packets of one access unit, laid out once and then addressed to each receiver."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from streamer.rtp.packetise import RtpPiece

_HEAD = struct.Struct(">BBHBBHII")
"""``$``, channel, length (RFC 2326, 10.12); version, marker and type, sequence, time, SSRC."""

FRAMING_BYTES = 4
_VERSION_2 = 0x80
_MARKED = 0x80


@dataclass(frozen=True, slots=True, eq=False)
class RtpBurst:
    """Shared by all receivers: payloads with room before each for what differs between them."""

    template: bytes = field(repr=False)
    """As it travels interleaved with RTSP; the heads are zeros."""
    packets: tuple[tuple[int, int, int, int], ...] = field(repr=False)
    """Of each packet: where its head begins, RTP bytes, marker and type, ticks later."""
    ticks: int
    """Media time on the RTP clock, not yet moved by a receiver's offset."""
    is_keyframe: bool


def as_burst(
    pieces: Sequence[RtpPiece], *, payload_type: int, ticks: int, is_keyframe: bool
) -> RtpBurst:
    """Lay out the packets of one access unit."""
    room = bytes(_HEAD.size)
    parts: list[bytes] = []
    packets = []
    position = 0
    for piece in pieces:
        parts += (room, piece.payload)
        rtp_bytes = _HEAD.size - FRAMING_BYTES + len(piece.payload)
        second = (_MARKED if piece.is_marked else 0) | payload_type
        packets.append((position, rtp_bytes, second, piece.ticks_later))
        position += FRAMING_BYTES + rtp_bytes
    return RtpBurst(b"".join(parts), tuple(packets), ticks, is_keyframe)


@dataclass(slots=True)
class RtpLane:
    """One track's way to one receiver: what its RTP headers say, and what went out."""

    ssrc: int
    sequence: int
    """Of the next packet."""
    tick_offset: int
    """Added to every time, so that it says nothing of the stream's age."""
    channel: int = 0
    """Where packets are interleaved with RTSP."""
    sent_packets: int = 0
    sent_payload_bytes: int = 0

    def rtp_time(self, ticks: int) -> int:
        """The 32 bits that stand for a media time."""
        return (ticks + self.tick_offset) & 0xFFFF_FFFF

    def address(self, burst: RtpBurst) -> bytearray:
        """The whole burst for this receiver, framed for its channel; counts it as sent."""
        framed = bytearray(burst.template)
        sequence, time = self.sequence, burst.ticks + self.tick_offset
        for at, rtp_bytes, second, later in burst.packets:
            _HEAD.pack_into(
                framed,
                at,
                *(0x24, self.channel, rtp_bytes, _VERSION_2, second),
                *(sequence, (time + later) & 0xFFFF_FFFF, self.ssrc),
            )
            sequence = (sequence + 1) & 0xFFFF
        self.sequence = sequence
        self.sent_packets += len(burst.packets)
        self.sent_payload_bytes += len(framed) - len(burst.packets) * _HEAD.size
        return framed


def datagrams(framed: bytearray, burst: RtpBurst) -> Iterator[memoryview]:
    """The packets of an addressed burst one by one, without the framing."""
    view = memoryview(framed)
    for at, rtp_bytes, _, _ in burst.packets:
        yield view[at + FRAMING_BYTES : at + FRAMING_BYTES + rtp_bytes]
