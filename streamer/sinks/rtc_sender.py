"""Sends one track to one viewer: RTP headers, second attempts, and what its reports state."""

from __future__ import annotations

import secrets
import struct
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from aiortc import clock as ntp_clock
from aiortc.rtcrtpparameters import RTCRtpSendParameters
from aiortc.rtp import HeaderExtensions, HeaderExtensionsMap

from streamer.rtp.packetise import RtpPiece
from streamer.rtp.packetise_burst import RtpLane
from streamer.sinks.packet_ring import PacketRing, RingClosed
from streamer.sinks.rtc_outlet import Outlet
from streamer.sinks.rtc_tracks import TIME_BASES, ReadyUnit

HISTORY_PACKETS = 1_024
"""What may be asked for again: a large keyframe and what follows it."""

_HEAD = struct.Struct(">BBHII")
_EXTENSION_HEAD = struct.Struct(">HH")
_VERSION_2, _EXTENDED, _MARKED = 0x80, 0x10, 0x80

_Sent = tuple[int, int, RtpPiece]
"""Sequence number, timestamp and what was sent."""


class TrackSender:
    """Takes a ring's access units and sends them as soon as they come, in bursts.

    aiortc makes an object of each packet and serializes it anew for each viewer. Here the payloads
    are the same bytes for all viewers, and what the packets of a burst have in common is made once.
    """

    def __init__(
        self,
        ring: PacketRing[ReadyUnit],
        kind: Literal["video", "audio"],
        *,
        ssrc: int,
        rtx_ssrc: int,
    ) -> None:
        self.kind = kind
        self._ring = ring
        self._time_base = TIME_BASES[kind]
        # In the lower half, so that a lost beginning does not lose SRTP the count of wraps.
        self.lane = RtpLane(ssrc, secrets.randbits(15), secrets.randbits(32))
        self._rtx_lane = RtpLane(rtx_ssrc, secrets.randbits(15), self.lane.tick_offset)
        self._extensions = HeaderExtensionsMap()
        self._mid = ""
        self._payload_type = 0
        self._rtx_payload_type: int | None = None
        self._outlet: Outlet | None = None
        self._history: list[_Sent | None] = [None] * HISTORY_PACKETS
        self.last: tuple[int, Fraction] | None = None
        """When the last burst left, NTP time in 64 bits, and its media time in seconds."""

    async def run(self, parameters: RTCRtpSendParameters, outlet: Outlet) -> None:
        """Send as agreed in ``parameters``, until the ring is closed or the viewer is gone."""
        self._agree(parameters)
        self._outlet = outlet
        try:
            while True:
                await self._send(await self._ring.take(), outlet)
        except (RingClosed, ConnectionError):
            pass
        finally:
            self._outlet = None

    async def repeat(self, sequences: Sequence[int]) -> None:
        """Send again what the viewer misses, as far as it is still known (RFC 4585, 6.2.1)."""
        outlet = self._outlet
        kept = (self._history[sequence % HISTORY_PACKETS] for sequence in sequences)
        wanted = [
            one for one, sequence in zip(kept, sequences, strict=True) if one and one[0] == sequence
        ]
        while outlet is not None and wanted:
            count = await outlet.room()
            extension = self._extension(ntp_clock.current_ntp_time())
            try:
                outlet.send([self._again(one, extension) for one in wanted[:count]])
            except ConnectionError:
                return
            del wanted[:count]

    def timestamp_at(self, media_s: Fraction) -> int:
        """The RTP timestamp, 32 bits, of a media time."""
        return self.lane.rtp_time(round(media_s / self._time_base))

    def _agree(self, parameters: RTCRtpSendParameters) -> None:
        self._extensions.configure(parameters)
        self._mid = parameters.muxId
        self._payload_type = parameters.codecs[0].payloadType or 0
        for codec in parameters.codecs:
            if codec.name.lower() == "rtx" and codec.parameters.get("apt") == self._payload_type:
                self._rtx_payload_type = codec.payloadType

    async def _send(self, unit: ReadyUnit, outlet: Outlet) -> None:
        begin, pieces = 0, unit.pieces
        while begin < len(pieces):
            end = begin + await outlet.room()
            ntp = ntp_clock.current_ntp_time()
            outlet.send(self._packets(pieces[begin:end], unit.pts, self._extension(ntp)))
            self.last = ntp, unit.pts * self._time_base
            begin = end

    def _packets(self, pieces: Sequence[RtpPiece], pts: int, extension: bytes) -> list[bytes]:
        """The RTP packets of a burst; counts and remembers them as sent."""
        lane, timestamp = self.lane, self.lane.rtp_time(pts)
        packets = []
        for piece in pieces:
            sequence = lane.sequence
            lane.sequence = (sequence + 1) & 0xFFFF
            lane.sent_payload_bytes += len(piece.payload)
            self._history[sequence % HISTORY_PACKETS] = sequence, timestamp, piece
            second = self._payload_type | (_MARKED if piece.is_marked else 0)
            packets.append(
                _packet(second, sequence, timestamp, lane.ssrc, extension, piece.payload)
            )
        lane.sent_packets += len(pieces)
        return packets

    def _again(self, sent: _Sent, extension: bytes) -> bytes:
        """A second attempt, in the stream for those (RFC 4588) if there is one."""
        sequence, timestamp, piece = sent
        marked = _MARKED if piece.is_marked else 0
        if self._rtx_payload_type is None:
            return _packet(
                self._payload_type | marked,
                *(sequence, timestamp, self.lane.ssrc),
                *(extension, piece.payload),
            )
        lane = self._rtx_lane
        payload = sequence.to_bytes(2, "big") + piece.payload
        packet = _packet(
            self._rtx_payload_type | marked,
            *(lane.sequence, timestamp, lane.ssrc),
            *(extension, payload),
        )
        lane.sequence = (lane.sequence + 1) & 0xFFFF
        return packet

    def _extension(self, ntp: int) -> bytes:
        """What follows the header of all packets that leave at ``ntp``; empty if nothing does."""
        absolute = (ntp >> 14) & 0xFF_FFFF
        values = HeaderExtensions(mid=self._mid, abs_send_time=absolute)
        profile, value = self._extensions.set(values)
        return _EXTENSION_HEAD.pack(profile, len(value) >> 2) + value if value else b""


def _packet(
    second: int, sequence: int, timestamp: int, ssrc: int, extension: bytes, payload: bytes
) -> bytes:
    first = _VERSION_2 | _EXTENDED if extension else _VERSION_2
    return _HEAD.pack(first, second, sequence, timestamp, ssrc) + extension + payload
