"""How well a track is received, counted as RFC 3550, appendices A.1, A.3 and A.8 do."""

from __future__ import annotations

from streamer.rtp.packet import RtpPacket
from streamer.rtp.reorder import MAX_DROPOUT, MAX_MISORDER
from streamer.rtp.rtcp import ReportBlock, SenderReport

_NEVER = -1


class Reception:
    """The numbers of a receiver report; fed with packets as they arrive, in any order."""

    __slots__ = (
        "_bad_sequence",
        "_base",
        "_clock_rate",
        "_cycles",
        "_expected_before",
        "_highest",
        "_jitter_16",
        "_received",
        "_received_before",
        "_report_arrived_ns",
        "_report_middle",
        "_ssrc",
        "_transit",
    )

    def __init__(self, clock_rate: int) -> None:
        self._clock_rate = clock_rate
        self._ssrc = _NEVER
        self._report_middle = 0
        self._report_arrived_ns = 0
        self._begin(0)

    def _begin(self, sequence: int) -> None:
        self._base = sequence
        self._highest = sequence
        self._cycles = 0
        self._bad_sequence = _NEVER
        self._received = 0
        self._received_before = 0
        self._expected_before = 0
        self._transit = _NEVER
        self._jitter_16 = 0

    def on_packet(self, packet: RtpPacket, now_ns: int) -> None:
        """Count a packet of the track; its duplicates too, as the RFC has it."""
        sequence = packet.sequence
        if packet.ssrc != self._ssrc:
            self._ssrc = packet.ssrc
            self._report_middle = 0
            self._begin(sequence)
        step = (sequence - self._highest) & 0xFFFF
        if step < MAX_DROPOUT:
            if sequence < self._highest:
                self._cycles += 0x10000
            self._highest = sequence
        elif step <= 0x10000 - MAX_MISORDER:
            if sequence != self._bad_sequence:
                self._bad_sequence = (sequence + 1) & 0xFFFF
                return
            self._begin(sequence)
        self._received += 1
        # Both clocks only need to tick alike: the difference of two transit times is what counts.
        arrival = now_ns * self._clock_rate // 1_000_000_000
        transit = (arrival - packet.timestamp) & 0xFFFFFFFF
        if self._transit != _NEVER:
            change = (transit - self._transit) & 0xFFFFFFFF
            if change & 0x80000000:
                change = 0x100000000 - change
            self._jitter_16 += change - (self._jitter_16 + 8 >> 4)
        self._transit = transit

    def on_sender_report(self, report: SenderReport, now_ns: int) -> None:
        """Remember when the sender last reported, for the round trip that it computes."""
        self._report_middle = report.ntp >> 16 & 0xFFFFFFFF
        self._report_arrived_ns = now_ns

    def report(self, now_ns: int) -> ReportBlock | None:
        """The block for a receiver report, counted since the last one; ``None`` without packets."""
        if not self._received:
            return None
        highest = self._cycles + self._highest
        expected = highest - self._base + 1
        lost = expected - self._received
        expected_now = expected - self._expected_before
        lost_now = expected_now - (self._received - self._received_before)
        self._expected_before = expected
        self._received_before = self._received
        is_losing = expected_now > 0 and lost_now > 0
        delay = 0
        if self._report_middle:
            delay = (now_ns - self._report_arrived_ns) * 65_536 // 1_000_000_000
        return ReportBlock(
            ssrc=self._ssrc,
            fraction_lost=min(255, lost_now * 256 // expected_now) if is_losing else 0,
            cumulative_lost=max(-0x800000, min(0x7FFFFF, lost)),
            highest_sequence=highest & 0xFFFFFFFF,
            jitter=self._jitter_16 >> 4,
            last_sender_report=self._report_middle,
            delay_since_last=min(max(delay, 0), 0xFFFFFFFF),
        )
