"""One track as it is received: datagrams in, complete access units out."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from streamer.rtp.depacketisers import make_depacketiser
from streamer.rtp.packet import RtpPacket, Unwrapper, parse_rtp
from streamer.rtp.reception import Reception
from streamer.rtp.reorder import Ordered, Reorder
from streamer.rtp.rtcp import (
    ReceiverReport,
    SenderReport,
    build_picture_loss,
    build_receiver_report,
    ntp_to_ns,
)
from streamer.rtp.timeline import ClockReading
from streamer.rtp.unit import AccessUnit, TrackFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackStatistics:
    """What happened to the packets of one track, since it began."""

    received: int
    """Packets with the track's payload type and source, duplicates among them."""
    lost: int
    """Sequence numbers that were given up; one that comes later still counts as lost."""
    reordered: int
    """Came after a later one, early enough to be put in its place."""
    duplicated: int
    discarded: int
    """Came too late, belonged to another stream, or were no RTP."""
    refused: int
    """Payloads that made no sense, and units that came incomplete or too large."""
    units: int
    restarts: int
    """How often the sender began anew: another source, or a jump of the sequence."""


class TrackReceiver:
    """Puts one track in order and together; pure logic, used from one thread.

    Feed every datagram or interleaved block to ``receive`` and call ``due`` when the clock
    reaches ``next_due_ns``. Nothing that arrives makes it raise.
    """

    def __init__(
        self,
        format: TrackFormat,
        *,
        reorder_ns: int,
        longest_reorder_ns: int = 0,
        ssrc: int | None = None,
        cname: str = "streamer",
    ) -> None:
        """``reorder_ns`` is how long a gap is waited for: 0 over TCP. Once a packet has come later than
        that, it is ``longest_reorder_ns`` if that is longer.

        ``ssrc`` and ``cname`` are what our reports call us; a random source where not given.
        Raises ``UnsupportedFormat`` for a track that is not read here.
        """
        self._depacketiser = make_depacketiser(format)
        self._reorder = Reorder(max_wait_ns=reorder_ns, longest_wait_ns=longest_reorder_ns)
        self._reception = Reception(format.clock_rate)
        self._clock = Unwrapper()
        self._payload_type = format.payload_type
        self._ssrc = secrets.randbits(32) if ssrc is None else ssrc
        self._cname = cname
        self._received = 0
        self._foreign = 0
        self._lost_before = 0
        """Lost before a packet that was then left out."""
        self._units = 0

    @property
    def extradata(self) -> bytes:
        """The codec's own header (AudioSpecificConfig, OpusHead); empty for video."""
        return self._depacketiser.extradata

    @property
    def media_ssrc(self) -> int | None:
        """The source that is being received, for feedback to it."""
        return self._reorder.ssrc

    @property
    def statistics(self) -> TrackStatistics:
        reorder = self._reorder
        return TrackStatistics(
            received=self._received,
            lost=reorder.lost,
            reordered=reorder.reordered,
            duplicated=reorder.duplicated,
            discarded=reorder.discarded + self._foreign,
            refused=self._depacketiser.refused,
            units=self._units,
            restarts=reorder.restarts,
        )

    @property
    def next_due_ns(self) -> int | None:
        """When ``due`` has something to do; ``None`` while nothing waits."""
        return self._reorder.next_due_ns

    def receive(self, data: bytes | bytearray | memoryview, now_ns: int) -> list[AccessUnit]:
        """The units that this datagram completes, in the order they were sent."""
        packet = parse_rtp(data)
        if packet is None:
            self._foreign += 1
            return []
        return self.receive_packet(packet, now_ns)

    def receive_packet(self, packet: RtpPacket, now_ns: int) -> list[AccessUnit]:
        """As ``receive``, for a packet that is already taken apart."""
        reorder = self._reorder
        # Another payload type may share our sequence (DTMF, comfort noise) but never begins one:
        # retransmissions and parity come from a source of their own.
        if packet.payload_type != self._payload_type and packet.ssrc != reorder.ssrc:
            self._foreign += 1
            return []
        self._received += 1
        ready = reorder.push(packet, now_ns)
        if packet.ssrc == reorder.ssrc:
            self._reception.on_packet(packet, now_ns)
        return self._put_together(ready) if ready else []

    def due(self, now_ns: int) -> list[AccessUnit]:
        """The units that are free now that their missing packets are given up."""
        return self._put_together(self._reorder.due(now_ns))

    def flush(self) -> list[AccessUnit]:
        """The sender said goodbye: all that is complete, nothing waits any longer."""
        units = self._put_together(self._reorder.flush())
        last = self._depacketiser.flush()
        self._units += len(last)
        return units + last

    def on_sender_report(self, report: SenderReport, now_ns: int) -> ClockReading | None:
        """Remember it for our reports; give its clock reading to ``Timeline.on_clock_reading``.

        ``None`` where it is from another source or carries no time.
        """
        ssrc = self._reorder.ssrc
        if ssrc is not None and report.ssrc != ssrc:
            return None
        self._reception.on_sender_report(report, now_ns)
        if not report.ntp:
            return None
        return ClockReading(
            timestamp=self._clock.peek(report.rtp_timestamp),
            ntp_ns=ntp_to_ns(report.ntp),
            arrived_ns=now_ns,
        )

    def receiver_report(self, now_ns: int) -> bytes:
        """A compound packet to send: receiver report and name (RFC 3550, sections 6.4.2, 6.5)."""
        block = self._reception.report(now_ns)
        report = ReceiverReport(ssrc=self._ssrc, reports=() if block is None else (block,))
        return build_receiver_report(report, cname=self._cname)

    def picture_loss(self) -> bytes:
        """A compound packet to send: the wish for a keyframe (RFC 4585, PLI)."""
        return build_picture_loss(
            sender_ssrc=self._ssrc, media_ssrc=self._reorder.ssrc or 0, cname=self._cname
        )

    def _put_together(self, ready: list[Ordered]) -> list[AccessUnit]:
        units: list[AccessUnit] = []
        for packet, lost_before, arrived_ns, is_restart in ready:
            if is_restart:
                self._depacketiser.restart()
            if packet.payload_type != self._payload_type:
                self._foreign += 1
                self._lost_before += lost_before
                continue
            units += self._depacketiser.push(
                packet,
                timestamp=self._clock.unwrap(packet.timestamp),
                lost_before=lost_before + self._lost_before,
                arrived_ns=arrived_ns,
            )
            self._lost_before = 0
        self._units += len(units)
        return units
