from aiortc.rtp import RTCP_RTPFB_NACK, RtcpPacket, RtcpRtpfbPacket
from hypothesis import given
from hypothesis import strategies as st

from streamer.rtp.rtcp import (
    Bye,
    PictureLoss,
    ReceiverReport,
    ReportBlock,
    SenderReport,
    SourceDescription,
    build_bye,
    build_missing,
    build_picture_loss,
    build_receiver_report,
    build_sender_report,
    ns_to_ntp,
    ntp_to_ns,
    parse_compound,
)

UINT32 = st.integers(0, 2**32 - 1)
BLOCKS = st.builds(
    ReportBlock,
    ssrc=UINT32,
    fraction_lost=st.integers(0, 255),
    cumulative_lost=st.integers(-(2**23), 2**23 - 1),
    highest_sequence=UINT32,
    jitter=UINT32,
    last_sender_report=UINT32,
    delay_since_last=UINT32,
)
SENDER_REPORTS = st.builds(
    SenderReport,
    ssrc=UINT32,
    ntp=st.integers(0, 2**64 - 1),
    rtp_timestamp=UINT32,
    packets=UINT32,
    octets=UINT32,
    reports=st.lists(BLOCKS, max_size=3).map(tuple),
)
# The report that RFC 3550, figure 2 begins with: 10 November 1995, 11:33:25.125 UTC.
FIGURE_2_NTP = 0xB44DB705_20000000
FIGURE_2_NS = 816_003_205_125_000_000


def test_ntp_time_is_that_of_the_figure_in_the_rfc() -> None:
    assert ntp_to_ns(FIGURE_2_NTP) == FIGURE_2_NS
    assert ns_to_ntp(FIGURE_2_NS) == FIGURE_2_NTP


def test_ntp_time_goes_on_after_2036() -> None:
    assert ntp_to_ns(0) == 2_085_978_496 * 1_000_000_000
    assert ns_to_ntp(2_085_978_496 * 1_000_000_000) == 0


@given(st.integers(0, 4_000_000_000 * 10**9))
def test_every_nanosecond_comes_back_from_ntp(ns: int) -> None:
    assert ntp_to_ns(ns_to_ntp(ns)) == ns


def test_a_sender_report_is_read_from_its_bytes() -> None:
    data = bytes.fromhex(
        "81c8000c" "11111111" "b44db70520000000" "00000fa0" "00000064" "00002710"
        "22222222" "40fffffe" "0001002a" "00000007" "b7052000" "00054000"
    )  # fmt: skip
    (report,) = parse_compound(data)
    assert report == SenderReport(
        ssrc=0x11111111,
        ntp=FIGURE_2_NTP,
        rtp_timestamp=4000,
        packets=100,
        octets=10_000,
        reports=(
            ReportBlock(
                ssrc=0x22222222,
                fraction_lost=64,
                cumulative_lost=-2,
                highest_sequence=0x1002A,
                jitter=7,
                last_sender_report=0xB7052000,
                delay_since_last=0x54000,
            ),
        ),
    )


@given(SENDER_REPORTS, st.text(min_size=1, max_size=40))
def test_a_sender_report_is_built_and_read_back(report: SenderReport, cname: str) -> None:
    found, name = parse_compound(build_sender_report(report, cname=cname))
    assert found == report
    assert name == SourceDescription(ssrc=report.ssrc, cname=cname)


@given(UINT32, st.lists(BLOCKS, max_size=3).map(tuple), st.integers(1, 9))
def test_a_receiver_report_is_built_and_read_back(
    ssrc: int, blocks: tuple[ReportBlock, ...], letters: int
) -> None:
    report = ReceiverReport(ssrc=ssrc, reports=blocks)
    data = build_receiver_report(report, cname="n" * letters)
    assert len(data) % 4 == 0
    assert parse_compound(data) == [report, SourceDescription(ssrc=ssrc, cname="n" * letters)]


def test_a_goodbye_names_the_source_and_the_reason() -> None:
    found = parse_compound(build_bye(5, cname="me", reason="teardown"))
    assert found[-1] == Bye(ssrcs=(5,), reason="teardown")
    assert isinstance(found[0], ReceiverReport)


def test_the_wish_for_a_keyframe_names_its_source() -> None:
    found = parse_compound(build_picture_loss(sender_ssrc=1, media_ssrc=2, cname="me"))
    assert found[-1] == PictureLoss(sender_ssrc=1, media_ssrc=2)


def test_kinds_that_are_not_known_are_passed_over() -> None:
    application = bytes.fromhex("80cc0002000000016e616d65")
    assert parse_compound(application + build_bye(5, cname="me"))[-1] == Bye(ssrcs=(5,))


def test_what_comes_before_damage_is_kept() -> None:
    data = build_receiver_report(ReceiverReport(ssrc=9), cname="me")
    assert parse_compound(data + b"\x81\xc9\xff\xff") == parse_compound(data)


@given(st.binary(max_size=200))
def test_random_bytes_never_raise(data: bytes) -> None:
    assert len(parse_compound(data)) <= len(data)
    assert len(parse_compound(b"\x83\xca" + data)) <= len(data) + 2


@given(SENDER_REPORTS, st.integers(0, 150), st.integers(0, 255), st.integers(0, 150))
def test_mutated_reports_never_raise(report: SenderReport, at: int, value: int, cut: int) -> None:
    data = bytearray(build_sender_report(report, cname="camera") + build_bye(7, cname="camera"))
    data[at % len(data)] = value
    assert len(parse_compound(bytes(data))) <= 5
    parse_compound(bytes(data[:cut]))


@given(st.integers(0, 65_535), st.sets(st.integers(0, 400), min_size=1, max_size=40))
def test_what_is_missing_is_asked_for_also_across_the_wrap(first: int, steps: set[int]) -> None:
    sequences = [(first + step) & 0xFFFF for step in sorted(steps)]
    data = build_missing(sender_ssrc=7, media_ssrc=9, sequences=sequences)
    (packet,) = RtcpPacket.parse(data)
    assert packet == RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=7, media_ssrc=9, lost=sequences)


def test_packets_that_follow_each_other_are_asked_for_together() -> None:
    data = build_missing(sender_ssrc=7, media_ssrc=9, sequences=range(100, 117))
    assert data[12:] == bytes((0, 100, 0xFF, 0xFF))
