"""Bursts that several receivers share: each gets its own headers over the same payloads."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamer.rtp.packet import parse_rtp
from streamer.rtp.packetise import RtpPiece
from streamer.rtp.packetise_burst import RtpLane, as_burst, datagrams
from streamer.rtsp.message import Interleaved, MessageParser

PIECES = st.lists(
    st.builds(RtpPiece, st.binary(min_size=1, max_size=1400), st.booleans(), st.integers(0, 9000)),
    min_size=1,
    max_size=20,
)
LANES = st.builds(
    RtpLane,
    ssrc=st.integers(1, 2**32 - 1),
    sequence=st.integers(0, 65_535),
    tick_offset=st.integers(-(2**40), 2**40),
    channel=st.integers(0, 255),
)


@given(PIECES, LANES, st.integers(-(2**40), 2**40), st.integers(96, 127))
def test_each_packet_has_the_receivers_head_and_the_shared_payload(
    pieces: list[RtpPiece], lane: RtpLane, ticks: int, payload_type: int
) -> None:
    burst = as_burst(pieces, payload_type=payload_type, ticks=ticks, is_keyframe=False)
    sequence = lane.sequence
    framed = lane.address(burst)
    for number, (data, piece) in enumerate(zip(datagrams(framed, burst), pieces, strict=True)):
        packet = parse_rtp(data)
        assert packet is not None
        assert packet.payload == piece.payload
        assert packet.marker == piece.is_marked
        assert packet.payload_type == payload_type
        assert packet.ssrc == lane.ssrc
        assert packet.sequence == (sequence + number) % 2**16
        assert packet.timestamp == (ticks + lane.tick_offset + piece.ticks_later) % 2**32
    assert lane.sequence == (sequence + len(pieces)) % 2**16
    assert lane.sent_packets == len(pieces)
    assert lane.sent_payload_bytes == sum(len(piece.payload) for piece in pieces)


@given(PIECES, LANES)
def test_framed_it_travels_between_rtsp_messages(pieces: list[RtpPiece], lane: RtpLane) -> None:
    burst = as_burst(pieces, payload_type=96, ticks=0, is_keyframe=True)
    framed = lane.address(burst)
    items = list(MessageParser().feed(framed))
    assert items == [Interleaved(lane.channel, bytes(data)) for data in datagrams(framed, burst)]


def test_two_receivers_of_one_burst_do_not_see_each_other() -> None:
    burst = as_burst(
        [RtpPiece(b"abc", is_marked=True)], payload_type=96, ticks=90, is_keyframe=True
    )
    before = burst.template
    one, other = RtpLane(1, 10, 0, 0), RtpLane(2, 20, 1000, 2)
    first, second = one.address(burst), other.address(burst)
    assert burst.template is before
    assert first != second
    assert first[16:] == second[16:] == b"abc"
    assert (one.sequence, other.sequence) == (11, 21)


def test_times_wrap_at_thirty_two_bits() -> None:
    assert RtpLane(1, 0, 2**32 - 10).rtp_time(15) == 5
