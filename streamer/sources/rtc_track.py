"""One track of a publisher: whatever comes for it, sorted out and given to its receiver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from streamer.rtp.packet import RtpPacket
from streamer.rtp.receiver import TrackReceiver
from streamer.rtp.reception import Reception
from streamer.rtp.rtcp import ReportBlock, SenderReport
from streamer.rtp.timeline import ClockReading
from streamer.rtp.unit import AccessUnit, TrackFormat
from streamer.sources.rtc_repair import WAIT_MS, Repair

OVERTAKEN_MS = 60
"""Where nothing is asked for again, a gap is waited for as long as packets overtake each other."""

SILENT_NS = 1_000_000_000
"""A source that has not been heard for so long gives way to another one."""


class TrackIntake:
    """Follows one source (SSRC) at a time; pure logic, used from one thread.

    A publisher may switch between the formats that were agreed on, each with its payload type.
    """

    def __init__(
        self,
        formats: Mapping[int, TrackFormat],
        *,
        retransmits: Mapping[int, int],
        repairs: bool,
    ) -> None:
        """``formats`` by payload type; ``retransmits`` has the payload type of a format's second
        attempts (RFC 4588) as its key and that of the format as its value. With ``repairs``,
        missing packets are asked for.
        """
        self._formats = dict(formats)
        # WebRTC has one clock per kind: 90 kHz for all video, and of sound only Opus is taken.
        self.clock_rate = next(iter(self._formats.values())).clock_rate
        self._retransmits = dict(retransmits)
        self._wait_ns = (WAIT_MS if repairs else OVERTAKEN_MS) * 1_000_000
        self._repairs = repairs
        self._heard_ns = 0
        self.ssrc: int | None = None
        self.format: TrackFormat | None = None
        self.receiver: TrackReceiver | None = None
        self.repair = Repair()
        self._reception: Reception | None = None
        self.received = 0
        self.switches = 0
        """How often another source or format was begun with."""
        self._lost_before = 0
        self._asked_before = (0, 0)

    @property
    def lost(self) -> int:
        """Packets that never came."""
        return self._lost_before + (self.receiver.statistics.lost if self.receiver else 0)

    @property
    def asked(self) -> int:
        """Packets asked for again."""
        return self._asked_before[0] + self.repair.asked

    @property
    def repaired(self) -> int:
        """Packets that came because they were asked for."""
        return self._asked_before[1] + self.repair.repaired

    @property
    def next_due_ns(self) -> int | None:
        """When ``due`` or ``missing`` may have something; ``None`` while nothing waits."""
        dues = [self.receiver.next_due_ns if self.receiver else None]
        if self._repairs:
            dues.append(self.repair.next_due_ns)
        return min((one for one in dues if one is not None), default=None)

    def receive(self, packet: RtpPacket, now_ns: int) -> list[AccessUnit]:
        """The units that this packet completes; none where it is not for us."""
        original = self._retransmits.get(packet.payload_type)
        if original is not None:
            return self._receive_again(packet, original, now_ns)
        if packet.payload_type not in self._formats or not self._may_speak(packet.ssrc, now_ns):
            return []
        is_other = self.format is None or packet.payload_type != self.format.payload_type
        if is_other and self.ssrc == packet.ssrc and not self.repair.is_ahead(packet.sequence):
            return []  # late, from before the publisher changed its format
        if is_other or self.ssrc != packet.ssrc:
            self._follow(packet)
        self._heard_ns = now_ns
        self.received += 1
        if self._reception is not None:
            self._reception.on_packet(packet, now_ns)
        return self._give(packet, now_ns)

    def due(self, now_ns: int) -> list[AccessUnit]:
        """The units that are free now that what they waited for is given up."""
        return self.receiver.due(now_ns) if self.receiver else []

    def missing(self, now_ns: int) -> list[int]:
        """The sequence numbers to ask for now."""
        return self.repair.due(now_ns) if self._repairs else []

    def on_sender_report(self, report: SenderReport, now_ns: int) -> ClockReading | None:
        """What it says of the sender's clock; ``None`` where it says nothing to us."""
        if self.receiver is None or self._reception is None or report.ssrc != self.ssrc:
            return None
        self._reception.on_sender_report(report, now_ns)
        return self.receiver.on_sender_report(report, now_ns)

    def report(self, now_ns: int) -> ReportBlock | None:
        """How the track is received, counted without second attempts.

        So the sender learns what its line loses, and can send less, also where every loss is
        repaired.
        """
        return self._reception.report(now_ns) if self._reception else None

    def _receive_again(self, packet: RtpPacket, original: int, now_ns: int) -> list[AccessUnit]:
        """A second attempt: its payload is the first one's sequence number and payload."""
        if self.ssrc is None or self.format is None or len(packet.payload) <= 2:
            return []  # shorter ones are padding, with which a browser measures the line
        if original != self.format.payload_type:
            return []
        sequence = int.from_bytes(packet.payload[:2], "big")
        if self.repair.is_ahead(sequence):
            return []  # nothing we have asked for; a first attempt will show the gap before it
        again = replace(
            packet,
            payload_type=original,
            sequence=sequence,
            ssrc=self.ssrc,
            payload=packet.payload[2:],
        )
        self._heard_ns = now_ns
        return self._give(again, now_ns)

    def _give(self, packet: RtpPacket, now_ns: int) -> list[AccessUnit]:
        assert self.receiver is not None
        self.repair.on_packet(packet.sequence, now_ns)
        return self.receiver.receive_packet(packet, now_ns)

    def _may_speak(self, ssrc: int, now_ns: int) -> bool:
        """Whether this source is the one that is followed, or may take its place."""
        return self.ssrc in (None, ssrc) or now_ns - self._heard_ns >= SILENT_NS

    def _follow(self, packet: RtpPacket) -> None:
        """Begin anew with the source and the format of ``packet``."""
        if self.ssrc != packet.ssrc or self._reception is None:
            self._reception = Reception(self.clock_rate)
        self.switches += 1
        self._lost_before = self.lost
        self._asked_before = (self.asked, self.repaired)
        self.ssrc = packet.ssrc
        self.format = self._formats[packet.payload_type]
        self.receiver = TrackReceiver(self.format, reorder_ns=self._wait_ns)
        self.repair = Repair()
