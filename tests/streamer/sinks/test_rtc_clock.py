"""The clock that a viewer's tracks share, and the reports that state it."""

from __future__ import annotations

import asyncio
import inspect
from fractions import Fraction
from typing import Literal

import pytest
from aiortc import RTCRtpSender
from aiortc.rtp import RtcpSenderInfo, RtcpSrPacket

from streamer.sinks.packet_ring import PacketRing
from streamer.sinks.rtc_clock import FOLLOWS, MediaClock, state_reports
from streamer.sinks.rtc_sender import TrackSender
from streamer.sinks.rtc_tracks import TIME_BASES

SECOND = 1 << 32
"""Of NTP time."""


def test_both_tracks_are_placed_by_one_clock_though_the_picture_is_sent_later() -> None:
    clock = MediaClock()
    # At 100 s the picture of 1.0 s leaves, and the sound of 1.4 s: enhancing took 400 ms.
    assert clock.time_at(100 * SECOND, sent_s=Fraction(1), leads=True) == 1
    assert clock.time_at(100 * SECOND, sent_s=Fraction(7, 5), leads=False) == 1
    assert clock.time_at(103 * SECOND, sent_s=Fraction(22, 5), leads=False) == 4


def test_the_clock_follows_the_picture_slowly_and_a_new_beginning_at_once() -> None:
    clock = MediaClock()
    clock.time_at(100 * SECOND, sent_s=Fraction(1), leads=True)
    late = clock.time_at(101 * SECOND, sent_s=Fraction(19, 10), leads=True)
    assert float(late) == pytest.approx(2 - 0.1 / FOLLOWS, abs=1e-5)
    assert clock.time_at(110 * SECOND, sent_s=Fraction(500), leads=True) == 500
    assert clock.time_at(111 * SECOND, sent_s=Fraction(490), leads=False) == 501


def sender_of(kind: Literal["video", "audio"], pts: int, ntp: int) -> TrackSender:
    """A sender whose last burst left at ``ntp``, and whose timestamp 1,000 is that of ``pts``."""
    track = TrackSender(PacketRing(1), kind, ssrc=1, rtx_ssrc=2)
    track.lane.tick_offset = 1_000 - pts
    track.lane.sent_packets, track.lane.sent_payload_bytes = 2**32 + 7, 700
    track.last = ntp, pts * TIME_BASES[kind]
    return track


def test_a_timestamp_is_that_of_the_media_time_across_the_wrap() -> None:
    track = sender_of("audio", 48_000, 0)
    track.lane.tick_offset = 2**32 - 10 - 48_000
    assert track.timestamp_at(Fraction(1)) == 2**32 - 10
    assert track.timestamp_at(Fraction(2)) == 47_990


def test_a_report_states_the_last_burst_the_media_time_of_it_and_what_was_sent() -> None:
    async def scenario() -> None:
        clock = MediaClock()
        sent: list[RtcpSrPacket] = []

        class Sender:
            async def _send_rtcp(self, packets: list[RtcpSrPacket]) -> None:
                sent.extend(packets)

        stated = {}
        for track, ntp, pts in (
            (sender_of("video", 90_000, 100 * SECOND), 100 * SECOND, 90_000),
            (sender_of("audio", 67_200, 102 * SECOND), 102 * SECOND, 67_200),
        ):
            sender = Sender()
            state_reports(sender, track, clock)  # type: ignore[arg-type]
            info = RtcpSenderInfo(ntp_timestamp=0, rtp_timestamp=0, packet_count=0, octet_count=0)
            await sender._send_rtcp([RtcpSrPacket(ssrc=1, sender_info=info)])
            assert info.ntp_timestamp == ntp
            assert (info.packet_count, info.octet_count) == (7, 700)
            ticks = info.rtp_timestamp - 1_000 + pts
            stated[track.kind] = ticks * TIME_BASES[track.kind]
        assert stated == {"video": 1, "audio": 3}
        assert len(sent) == 2

    asyncio.run(scenario())


def test_aiortc_still_sends_its_reports_where_the_hook_takes_hold_of_them() -> None:
    source = inspect.getsource(RTCRtpSender._run_rtcp)
    assert "await self._send_rtcp(packets)" in source
