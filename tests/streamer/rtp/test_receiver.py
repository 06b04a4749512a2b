import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.rtp.packet import RtpPacket
from streamer.rtp.receiver import TrackReceiver
from streamer.rtp.reception import Reception
from streamer.rtp.rtcp import (
    PictureLoss,
    ReceiverReport,
    ReportBlock,
    SenderReport,
    SourceDescription,
    ns_to_ntp,
    parse_compound,
)
from streamer.rtp.unit import TrackFormat
from tests.streamer.rtp.sending import MS, Sender, as_bytes
from tests.streamer.rtp.test_h264 import IDR, INTER, PPS, SPS

SECOND = 1_000_000_000
ALAW = TrackFormat(codec="pcm_alaw", clock_rate=8000, payload_type=8)


def packet(sequence: int, timestamp: int = 0, *, ssrc: int = 1, payload_type: int = 8) -> RtpPacket:
    return RtpPacket(payload_type, sequence & 0xFFFF, timestamp, ssrc, False, b"x")


def reported(receiver: TrackReceiver, now_ns: int) -> ReportBlock:
    report = parse_compound(receiver.receiver_report(now_ns))[0]
    assert isinstance(report, ReceiverReport)
    (block,) = report.reports
    return block


def sender_report(ssrc: int = 1, *, ntp: int = 0xB44DB705_20000000) -> SenderReport:
    return SenderReport(ssrc=ssrc, ntp=ntp, rtp_timestamp=160, packets=1, octets=1)


def test_a_report_before_any_packet_names_us_and_nothing_else() -> None:
    receiver = TrackReceiver(ALAW, reorder_ns=0, ssrc=42, cname="me")
    report, name = parse_compound(receiver.receiver_report(0))
    assert report == ReceiverReport(ssrc=42)
    assert name == SourceDescription(ssrc=42, cname="me")


def test_losses_are_reported_as_the_rfc_counts_them() -> None:
    receiver = TrackReceiver(ALAW, reorder_ns=0)
    # Ten are expected, two of them missing: 2 / 10 of 256 is 51 (RFC 3550, appendix A.3).
    for sequence in (65_530, 65_531, 65_533, 65_534, 65_535, 0, 2, 3):
        receiver.receive_packet(packet(sequence), 0)
    block = reported(receiver, 0)
    assert (block.fraction_lost, block.cumulative_lost) == (51, 2)
    assert block.highest_sequence == 0x10003
    # Since then nothing is lost; the sum stays.
    receiver.receive_packet(packet(4), 0)
    block = reported(receiver, 0)
    assert (block.fraction_lost, block.cumulative_lost) == (0, 2)
    # Duplicates count as received, so the sum can fall and even be negative.
    for _ in range(4):
        receiver.receive_packet(packet(4), 0)
    block = reported(receiver, 0)
    assert (block.fraction_lost, block.cumulative_lost) == (0, -2)


def test_jitter_is_the_running_mean_of_the_rfc() -> None:
    receiver = TrackReceiver(ALAW, reorder_ns=0)
    # One tick is 125 us. Transit changes: 0, +16, -16, +8 ticks.
    for sequence, ticks_late in enumerate((0, 0, 16, 0, 8)):
        now_ns = (160 * sequence + ticks_late) * 125_000
        receiver.receive_packet(packet(sequence, 160 * sequence), now_ns)
    expected = 0
    for change in (0, 16, 16, 8):
        expected += change - (expected + 8 >> 4)
    assert reported(receiver, SECOND).jitter == expected >> 4 == 2


def test_the_round_trip_of_the_figure_in_the_rfc_can_be_computed() -> None:
    # RFC 3550, figure 2: reported 0xb44db705:20000000, answered 5.25 s after it came.
    receiver = TrackReceiver(ALAW, reorder_ns=0)
    receiver.receive_packet(packet(0), 0)
    assert reported(receiver, 0).last_sender_report == 0
    receiver.on_sender_report(sender_report(), SECOND)
    block = reported(receiver, 6_250 * MS)
    assert block.last_sender_report == 0xB7052000
    assert block.delay_since_last == 0x00054000


def test_a_sender_report_gives_its_clock_in_unwrapped_ticks() -> None:
    receiver = TrackReceiver(ALAW, reorder_ns=0)
    receiver.receive_packet(packet(0, 2**32 - 160), 0)
    receiver.receive_packet(packet(1, 0), 0)
    reading = receiver.on_sender_report(sender_report(ntp=ns_to_ntp(7 * SECOND)), 5)
    assert reading is not None
    assert (reading.timestamp, reading.ntp_ns, reading.arrived_ns) == (2**32 + 160, 7 * SECOND, 5)


def test_reports_of_others_and_of_no_clock_give_none() -> None:
    receiver = TrackReceiver(ALAW, reorder_ns=0)
    receiver.receive_packet(packet(0), 0)
    assert receiver.on_sender_report(sender_report(99), 0) is None
    assert receiver.on_sender_report(sender_report(ntp=0), 0) is None


def test_other_payload_types_of_the_source_count_but_are_not_read() -> None:
    receiver = TrackReceiver(ALAW, reorder_ns=0)
    units = receiver.receive_packet(packet(0), 0)
    units += receiver.receive_packet(packet(1, payload_type=101), 0)
    units += receiver.receive_packet(packet(3, payload_type=101), 0)
    units += receiver.receive_packet(packet(4), 0)
    assert [unit.follows_loss for unit in units] == [False, True]
    statistics = receiver.statistics
    assert (statistics.received, statistics.lost, statistics.discarded) == (4, 1, 2)


def test_parity_and_retransmission_do_not_look_like_a_new_sender() -> None:
    receiver = TrackReceiver(ALAW, reorder_ns=0)
    for sequence in range(9):
        receiver.receive_packet(packet(sequence), 0)
        receiver.receive_packet(packet(sequence, ssrc=2, payload_type=97), 0)
        receiver.receive_packet(packet(sequence + 1, ssrc=2, payload_type=97), 0)
    statistics = receiver.statistics
    assert (statistics.units, statistics.discarded, statistics.restarts) == (9, 18, 0)


def test_a_camera_that_starts_again_is_followed_without_a_wait() -> None:
    receiver = TrackReceiver(
        TrackFormat(codec="h264", clock_rate=90_000, payload_type=96), reorder_ns=20 * MS
    )
    first = Sender(ssrc=1)
    again = Sender(ssrc=2, sequence=9, timestamp=77)
    for sender in (first, again):
        for payload in (SPS, PPS, IDR):
            sender.send(payload, marker=payload is IDR)
        sender.timestamp += 3000
        sender.send(INTER, marker=True)
    units = [u for p in first.sent + again.sent for u in receiver.receive(as_bytes(p), 0)]
    assert [unit.is_keyframe for unit in units] == [True, False, True, False]
    assert [unit.follows_loss for unit in units] == [False, False, True, False]
    assert receiver.statistics.restarts == 1
    assert receiver.media_ssrc == 2
    assert reported(receiver, 0).ssrc == 2


def test_the_wish_for_a_keyframe_goes_to_the_source() -> None:
    receiver = TrackReceiver(ALAW, reorder_ns=0, ssrc=42)
    receiver.receive_packet(packet(0, ssrc=7), 0)
    wish = parse_compound(receiver.picture_loss())[-1]
    assert wish == PictureLoss(sender_ssrc=42, media_ssrc=7)


def test_what_waits_is_due_at_the_stated_time_and_not_before() -> None:
    receiver = TrackReceiver(ALAW, reorder_ns=20 * MS)
    receiver.receive_packet(packet(0), 0)
    assert receiver.next_due_ns is None
    assert receiver.receive_packet(packet(2), 5 * MS) == []
    assert receiver.next_due_ns == 25 * MS
    assert receiver.due(25 * MS - 1) == []
    (unit,) = receiver.due(25 * MS)
    assert unit.follows_loss
    assert unit.arrived_ns == 5 * MS


@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.0\r\n\r\n", bytes(100)])
def test_what_is_no_rtp_is_counted_and_nothing_more(data: bytes) -> None:
    receiver = TrackReceiver(ALAW, reorder_ns=0)
    assert receiver.receive(data, 0) == []
    assert receiver.statistics.discarded == 1
    assert receiver.media_ssrc is None


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 0.4, allow_subnormal=False), st.integers(0, 65_535))
def test_reported_losses_agree_with_what_was_dropped(seed: int, loss: float, first: int) -> None:
    rng = random.Random(seed)
    reception = Reception(8000)
    count = 400
    kept = [0] + [n for n in range(1, count - 1) if rng.random() >= loss] + [count - 1]
    fractions = 0.0
    for n in kept:
        reception.on_packet(packet(first + n, 160 * n), n * 20 * MS)
        if n and n % 100 == 0:
            block = reception.report(n * 20 * MS)
            assert block is not None
            fractions = max(fractions, block.fraction_lost / 256)
    block = reception.report(10**12)
    assert block is not None
    assert block.cumulative_lost == count - len(kept)
    assert block.highest_sequence == first + count - 1
    assert fractions <= 1


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(min_size=12, max_size=40).map(lambda data: b"\x80" + data), max_size=60))
def test_random_packets_never_raise_and_every_one_is_accounted_for(datagrams: list[bytes]) -> None:
    receiver = TrackReceiver(ALAW, reorder_ns=20 * MS)
    for index, data in enumerate(datagrams):
        receiver.receive(data[:1] + b"\x08" + data[2:], index * MS)
    receiver.flush()
    statistics = receiver.statistics
    assert statistics.received + statistics.discarded >= len(datagrams)
    assert statistics.units <= len(datagrams)
    assert len(parse_compound(receiver.receiver_report(0))) == 2
