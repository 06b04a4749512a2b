"""The clock that a viewer's tracks share, and the reports that state it."""

from __future__ import annotations

import asyncio
import inspect
from fractions import Fraction

import pytest
from aiortc import RTCRtpSender
from aiortc.rtp import RtcpSenderInfo, RtcpSrPacket

from streamer.frame import RTP_TIME_BASE
from streamer.sinks.rtc_clock import FOLLOWS, MediaClock, align_reports
from streamer.sinks.rtc_ring import PacketRing
from streamer.sinks.rtc_tracks import OPUS_TIME_BASE, PacketTrack, ready
from tests.streamer.sinks.sounds import opus_packet, video_packet

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


def test_a_track_knows_the_media_time_of_its_timestamps_across_the_wrap() -> None:
    async def scenario() -> None:
        ring = PacketRing[object](4)
        ring.open()
        track = PacketTrack(ring, "audio")  # type: ignore[arg-type]
        assert track.time_of(5) is None
        for pts in (48_000, 96_000):
            ring.push(ready(opus_packet(pts)), is_keyframe=True)
        await track.recv()
        track.on_sent(2**32 - 10)
        await track.recv()
        track.on_sent(47_990)
        assert track.time_of(2**32 - 10) == 1
        assert track.time_of(47_990) == 2
        assert track.timestamp_at(Fraction(2)) == 47_990
        assert track.timestamp_at(Fraction(1)) == 2**32 - 10

    asyncio.run(scenario())


def test_a_report_keeps_its_instant_and_states_the_media_time_of_it() -> None:
    async def scenario() -> None:
        clock = MediaClock()
        sent: list[RtcpSrPacket] = []

        class Sender:
            async def _send_rtcp(self, packets: list[RtcpSrPacket]) -> None:
                sent.extend(packets)

        stated = {}
        for kind, pts, ntp in (("video", 90_000, 100 * SECOND), ("audio", 67_200, 102 * SECOND)):
            ring = PacketRing[object](4)
            ring.open()
            track = PacketTrack(ring, kind)  # type: ignore[arg-type]
            packet = video_packet(pts) if kind == "video" else opus_packet(pts)
            ring.push(ready(packet), is_keyframe=True)
            await track.recv()
            track.on_sent(1_000)
            sender = Sender()
            align_reports(sender, track, clock)  # type: ignore[arg-type]
            info = RtcpSenderInfo(
                ntp_timestamp=ntp, rtp_timestamp=1_000, packet_count=1, octet_count=1
            )
            await sender._send_rtcp([RtcpSrPacket(ssrc=1, sender_info=info)])
            assert sent[-1].sender_info.ntp_timestamp == ntp
            time_base = RTP_TIME_BASE if kind == "video" else OPUS_TIME_BASE
            ticks = sent[-1].sender_info.rtp_timestamp - 1_000 + pts
            stated[kind] = ticks * time_base
        assert stated == {"video": 1, "audio": 3}

    asyncio.run(scenario())


def test_aiortc_still_sends_its_reports_where_the_hook_takes_hold_of_them() -> None:
    source = inspect.getsource(RTCRtpSender._run_rtcp)
    assert "await self._send_rtcp(packets)" in source
    assert "ntp_timestamp=self.__ntp_timestamp" in source
