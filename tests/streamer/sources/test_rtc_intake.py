"""What becomes of a publisher's packets: order, repair, what is withheld and what is asked for."""

from __future__ import annotations

from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.rtp.packet import RtpPacket
from streamer.rtp.rtcp import SenderReport, ns_to_ntp
from streamer.sources.rtc_intake import (
    KEYFRAME_APART_MS,
    KEYFRAME_REMIND_MS,
    Arrival,
    AskAgain,
    AskForKeyframe,
    Intake,
    MaySend,
    Received,
)
from streamer.sources.rtc_repair import WAIT_MS
from tests.streamer.sources.rtp_vp8 import (
    AUDIO_SSRC,
    FRAME_TICKS,
    H264,
    MS,
    RTX,
    RTX_SSRC,
    VIDEO_SSRC,
    VP8,
    again,
    new_intake,
    numbers,
    picture,
    sound,
)

Kind = TypeVar("Kind")


def said(intake: Intake, now_ns: int, kind: type[Kind]) -> list[Kind]:
    """What of this kind is to be told to the sender."""
    return [one for one in intake.feedback(now_ns) if isinstance(one, kind)]


def begun() -> Intake:
    """An intake whose first keyframe, number 0, came at 0 ms."""
    intake = new_intake()
    assert numbers(intake.receive("video", picture(0, is_key=True), 0)) == [0]
    intake.feedback(0)
    return intake


def test_a_picture_leaves_with_its_last_packet_and_not_with_the_next_picture() -> None:
    intake = begun()
    whole = picture(1)
    first = RtpPacket(VP8, 1, FRAME_TICKS, VIDEO_SSRC, False, whole.payload)
    last = RtpPacket(VP8, 2, FRAME_TICKS, VIDEO_SSRC, True, b"\x00rest")
    assert intake.receive("video", first, MS) == []
    (arrival,) = intake.receive("video", last, 2 * MS)
    assert arrival.packet.payload == whole.payload[1:] + b"rest"
    assert arrival.packet.arrived_ns == 2 * MS
    assert arrival.codec == "vp8"


def test_the_time_for_a_picture_that_waited_for_another_begins_when_it_is_handed_on() -> None:
    intake = begun()
    assert intake.receive("video", picture(2), 33 * MS) == []
    arrivals = intake.receive("video", again(picture(1), 1), 113 * MS)
    assert [one.packet.arrived_ns for one in arrivals] == [113 * MS, 33 * MS]
    assert [one.packet.stamps_ns["released"] for one in arrivals] == [113 * MS, 113 * MS]


def test_nothing_is_given_before_the_first_keyframe_and_it_is_asked_for_once() -> None:
    intake = new_intake()
    asked = []
    for number in range(1, 31):
        now_ns = number * 33 * MS
        assert intake.receive("video", picture(number), now_ns) == []
        asked += [now_ns] * len(said(intake, now_ns, AskForKeyframe))
    assert len(asked) == 1
    assert asked[0] - 33 * MS >= KEYFRAME_APART_MS * MS  # the first one was on its way
    (key,) = intake.receive("video", picture(31, is_key=True), 1_100 * MS)
    assert key.packet.is_keyframe
    assert not key.packet.follows_loss
    assert said(intake, 9_000 * MS, AskForKeyframe) == []


def test_a_request_that_brings_nothing_is_made_again() -> None:
    intake = begun()
    intake.ask_for_keyframe()
    assert said(intake, 5 * MS, AskForKeyframe)
    intake.ask_for_keyframe()
    assert not said(intake, (KEYFRAME_APART_MS - 1) * MS, AskForKeyframe)
    assert said(intake, (KEYFRAME_APART_MS + 5) * MS, AskForKeyframe)


def test_a_lost_packet_is_asked_for_and_its_second_attempt_closes_the_gap() -> None:
    intake = begun()
    lost = picture(1)
    assert intake.receive("video", picture(2), 10 * MS) == []
    assert said(intake, 10 * MS, AskAgain) == [AskAgain(ssrc=VIDEO_SSRC, sequences=(1,))]
    ready = intake.receive("video", again(lost, 500), 30 * MS)
    assert numbers(ready) == [1, 2]
    assert not any(one.packet.follows_loss for one in ready)
    assert intake.statistics()["video"]["repaired"] == 1


def test_the_original_packet_closes_the_gap_as_well() -> None:
    intake = begun()
    assert intake.receive("video", picture(2), 10 * MS) == []
    assert numbers(intake.receive("video", picture(1), 12 * MS)) == [1, 2]


def test_after_a_loss_nothing_leaves_until_the_next_keyframe_which_says_so() -> None:
    intake = begun()
    for number in range(2, 6):
        assert intake.receive("video", picture(number), number * 10 * MS) == []
    given_up_ns = (20 + WAIT_MS) * MS
    assert intake.due(given_up_ns) == []
    assert said(intake, given_up_ns, AskForKeyframe) == [AskForKeyframe(ssrc=VIDEO_SSRC)]
    assert intake.receive("video", picture(6), given_up_ns + MS) == []
    assert intake.withheld == 5
    (key,) = intake.receive("video", picture(7, is_key=True), given_up_ns + 2 * MS)
    assert key.packet.follows_loss
    assert numbers([key]) == [7]
    (after,) = intake.receive("video", picture(8), given_up_ns + 3 * MS)
    assert not after.packet.follows_loss


def test_a_keyframe_right_behind_the_loss_needs_no_request() -> None:
    intake = begun()
    assert intake.receive("video", picture(2, is_key=True), 10 * MS) == []
    (key,) = intake.due((10 + WAIT_MS) * MS)
    assert key.packet.follows_loss
    assert said(intake, (10 + WAIT_MS) * MS, AskForKeyframe) == []


def test_losses_close_together_make_few_requests_for_keyframes() -> None:
    intake = begun()
    asked = 0
    sequence = 0
    for frame in range(300):  # ten seconds in which every third packet is lost for good
        sequence += 2 if frame % 3 == 0 else 1
        now_ns = (frame + 1) * 33 * MS
        intake.receive("video", picture(frame + 1, sequence=sequence), now_ns)
        intake.due(now_ns)
        asked += len(said(intake, now_ns, AskForKeyframe))
    assert 5 <= asked <= 10_000 // KEYFRAME_REMIND_MS + 1


def test_padding_and_second_attempts_nobody_asked_for_change_nothing() -> None:
    intake = begun()
    padding = RtpPacket(RTX, 1, 0, RTX_SSRC, False, b"\x00\x01")
    assert intake.receive("video", padding, MS) == []
    assert intake.receive("video", again(picture(40), 2), MS) == []
    assert numbers(intake.receive("video", picture(1), 2 * MS)) == [1]


def test_another_source_waits_until_the_first_one_is_silent() -> None:
    intake = begun()
    assert intake.receive("video", picture(50, is_key=True, ssrc=77), 10 * MS) == []
    assert numbers(intake.receive("video", picture(1), 20 * MS)) == [1]
    switched = intake.receive("video", picture(60, is_key=True, ssrc=77), 1_500 * MS)
    assert [one.packet.is_keyframe for one in switched] == [True]


def test_after_a_change_of_source_the_picture_begins_with_a_keyframe() -> None:
    intake = begun()
    assert intake.receive("video", picture(60, ssrc=77), 1_500 * MS) == []
    assert intake.receive("video", picture(61, ssrc=77), 1_530 * MS) == []
    assert said(intake, 1_531 * MS, AskForKeyframe) == [AskForKeyframe(ssrc=77)]
    assert len(intake.receive("video", picture(62, is_key=True, ssrc=77), 1_560 * MS)) == 1


def test_the_codec_may_change_with_the_payload_type() -> None:
    intake = begun()
    sps, pps, idr = b"\x67\x42\xc0\x1f\x8c\x8d\x40", b"\x68\xce\x3c\x80", b"\x65\x88\x84\x00\x10"
    ready: list[Arrival] = []
    for number, nal in enumerate((sps, pps, idr), start=1):
        packet = RtpPacket(H264, number, FRAME_TICKS, VIDEO_SSRC, nal is idr, nal)
        ready += intake.receive("video", packet, 40 * MS)
    (key,) = ready
    assert key.codec == "h264"
    assert key.packet.is_keyframe
    assert key.packet.payload == b"".join(b"\0\0\0\1" + nal for nal in (sps, pps, idr))


def test_what_the_line_loses_is_reported_though_it_was_repaired() -> None:
    intake = begun()
    for number in range(1, 102):
        if number % 10:
            intake.receive("video", picture(number), number * MS)
        if number % 10 == 1 and number > 1:
            intake.receive("video", again(picture(number - 1), number), number * MS)
    reports = said(intake, 2_000 * MS, Received)
    assert [one.kind for one in reports] == ["video"]
    block = reports[0].block
    assert block.ssrc == VIDEO_SSRC
    assert block.highest_sequence & 0xFFFF == 101
    assert 20 <= block.fraction_lost <= 30  # a tenth, of 256
    assert intake.statistics()["video"]["lost"] == 0


def test_a_publisher_is_told_at_once_and_again_how_much_it_may_send() -> None:
    intake = new_intake()
    intake.receive("video", picture(0, is_key=True), 0)
    assert said(intake, 0, MaySend) == [MaySend(ssrc=VIDEO_SSRC)]
    assert said(intake, 500 * MS, MaySend) == []
    assert said(intake, 1_000 * MS, MaySend) == [MaySend(ssrc=VIDEO_SSRC)]


def test_while_nobody_reads_nothing_is_given_and_reading_begins_with_a_keyframe() -> None:
    intake = begun()
    intake.stop_reading()
    for number in range(1, 300):
        assert intake.receive("video", picture(number), number * 33 * MS) == []
        assert said(intake, number * 33 * MS, AskForKeyframe) == []
    now_ns = 10_000 * MS
    intake.begin_reading()
    assert said(intake, now_ns, AskForKeyframe)
    assert intake.receive("video", picture(300), now_ns) == []
    (key,) = intake.receive("video", picture(301, is_key=True), now_ns + 33 * MS)
    assert not key.packet.follows_loss
    assert key.packet.time_s < 1  # the stream began when it was read, not when it was published


def test_picture_and_sound_are_aligned_by_the_senders_clock_and_not_by_arrival() -> None:
    """The sound of each instant arrives 400 ms after its picture."""
    intake = new_intake(has_audio=True)
    late_ms = 400
    pictures: dict[int, float] = {}
    sounds: dict[int, float] = {}
    for now_ms in range(0, 6_000, 20):
        now_ns = now_ms * MS
        number = now_ms // 20
        if now_ms % 1_000 == 0:
            for kind, ssrc, ticks, behind in (
                ("video", VIDEO_SSRC, 90, 0),
                ("audio", AUDIO_SSRC, 48, late_ms),
            ):
                at_ms = max(0, now_ms - behind)
                report = SenderReport(
                    ssrc=ssrc,
                    ntp=ns_to_ntp((1_700_000_000_000 + at_ms) * MS),
                    rtp_timestamp=at_ms * ticks,
                    packets=1,
                    octets=1,
                )
                intake.on_sender_report(kind, report, now_ns)  # type: ignore[arg-type]
        packet = RtpPacket(
            VP8, number, now_ms * 90, VIDEO_SSRC, True, picture(number, is_key=True).payload
        )
        for one in intake.receive("video", packet, now_ns):
            pictures[now_ms] = float(one.packet.time_s)
        if now_ms >= late_ms:
            captured_ms = now_ms - late_ms
            for one in intake.receive("audio", sound(captured_ms // 20), now_ns):
                sounds[captured_ms] = float(one.packet.time_s)
    captured_ms = 5_000
    assert sounds[captured_ms] == pytest.approx(pictures[captured_ms], abs=0.025)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([VP8, RTX, H264, 50]),
            st.integers(0, 65_535),
            st.integers(0, 2**32 - 1),
            st.sampled_from([VIDEO_SSRC, RTX_SSRC, 99]),
            st.booleans(),
            st.binary(max_size=40),
            st.integers(0, 1_200),
        ),
        max_size=80,
    )
)
def test_whatever_is_sent_the_intake_never_raises_and_always_knows_when_it_is_due(
    sent: list[tuple[int, int, int, int, bool, bytes, int]],
) -> None:
    intake = new_intake()
    now_ns = 0
    for payload_type, sequence, timestamp, ssrc, marker, payload, later_ms in sent:
        now_ns += later_ms * MS
        packet = RtpPacket(payload_type, sequence, timestamp, ssrc, marker, payload)
        ready = intake.receive("video", packet, now_ns) + intake.due(now_ns)
        intake.feedback(now_ns)
        assert all(one.packet.payload for one in ready)
        assert intake.next_due_ns is not None
        assert intake.next_due_ns > now_ns
