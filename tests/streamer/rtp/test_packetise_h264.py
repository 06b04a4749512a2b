"""H.264 into RTP and back, by a depacketiser written from RFC 6184 alone."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.rtp.annex_b import nal_units
from streamer.rtp.packetise import MAX_PAYLOAD_BYTES, RtpPiece
from streamer.rtp.packetise_h264 import (
    FU_A,
    STAP_A,
    H264Packetiser,
    parameter_sets,
)
from tests.streamer.server.rtsp_live import Camera

START = b"\0\0\0\1"
SPS, PPS, SEI = b"\x67\x42\xc0\x1f\x11", b"\x68\xce\x01", b"\x06\x05\x01\x02"


def units_of(pieces: Sequence[RtpPiece]) -> list[bytes]:
    """The NAL units in these payloads (RFC 6184, 5.6 to 5.8)."""
    units: list[bytes] = []
    open_unit = bytearray()
    for piece in pieces:
        payload = piece.payload
        kind = payload[0] & 0x1F
        if kind == STAP_A:
            at = 1
            while at < len(payload):
                size = int.from_bytes(payload[at : at + 2], "big")
                units.append(payload[at + 2 : at + 2 + size])
                assert size == len(units[-1]) > 0
                at += 2 + size
        elif kind == FU_A:
            starts, ends = payload[1] & 0x80, payload[1] & 0x40
            assert bool(starts) == (not open_unit)
            assert not payload[1] & 0x20
            assert not (starts and ends)
            if starts:
                open_unit.append(payload[0] & 0xE0 | payload[1] & 0x1F)
            open_unit += payload[2:]
            if ends:
                units.append(bytes(open_unit))
                open_unit.clear()
        else:
            assert 1 <= kind <= 23
            units.append(payload)
    assert not open_unit
    return units


# A unit has no start code in it and ends in the stop bit: no zero byte is its last.
UNITS = st.builds(
    lambda head, body, last: bytes((head,)) + body.replace(b"\0\0", b"\0\3") + bytes((last,)),
    st.tuples(st.integers(0, 3), st.integers(1, 23)).map(lambda pair: pair[0] << 5 | pair[1]),
    st.binary(max_size=300),
    st.integers(1, 255),
)
CODES = st.sampled_from((b"\0\0\1", START))


@given(st.lists(st.tuples(CODES, UNITS), min_size=1, max_size=12), st.integers(16, 120))
def test_every_unit_arrives_whole_and_in_order_within_the_limit(
    coded: list[tuple[bytes, bytes]], limit: int
) -> None:
    data = b"".join(code + unit for code, unit in coded)
    pieces = H264Packetiser(max_payload_bytes=limit).split(data)
    assert units_of(pieces) == [unit for _, unit in coded]
    assert max(len(piece.payload) for piece in pieces) <= limit
    assert [piece.is_marked for piece in pieces] == [False] * (len(pieces) - 1) + [True]


@given(st.binary(max_size=400))
def test_bytes_that_are_no_annex_b_are_split_without_an_error(data: bytes) -> None:
    pieces = H264Packetiser(max_payload_bytes=40).split(data)
    assert bool(pieces) == bool(nal_units(data))
    assert all(0 < len(piece.payload) <= 40 for piece in pieces)


def test_parameter_sets_travel_together_before_the_picture() -> None:
    picture = b"\x65" + bytes(range(1, 200)) * 20
    pieces = H264Packetiser().split(b"".join(START + unit for unit in (SPS, PPS, SEI, picture)))
    assert pieces[0].payload[0] & 0x1F == STAP_A
    assert units_of(pieces[:1]) == [SPS, PPS, SEI]
    assert {piece.payload[0] & 0x1F for piece in pieces[1:]} == {FU_A}
    assert len(pieces) == 1 + -(-(len(picture) - 1) // (MAX_PAYLOAD_BYTES - 2))


def test_an_aggregate_is_as_important_as_the_most_important_of_its_units() -> None:
    (piece,) = H264Packetiser().split(START + SEI + START + PPS)
    assert piece.payload[0] == 0x60 | STAP_A


def test_a_single_small_unit_is_not_aggregated() -> None:
    (piece,) = H264Packetiser().split(START + SPS)
    assert piece.payload == SPS


def test_zeros_between_units_belong_to_the_start_codes() -> None:
    assert nal_units(START + SPS + b"\0\0" + START + PPS + b"\0\0\0") == [SPS, PPS]


def test_what_a_real_encoder_makes_arrives_whole() -> None:
    camera = Camera(width=1280, height=720, bitrate_kbps=5_000)
    packetiser = H264Packetiser()
    for _ in range(5):
        (packet,) = camera.next_packets()
        pieces = packetiser.split(packet.payload)
        assert units_of(pieces) == nal_units(packet.payload)
        assert max(len(piece.payload) for piece in pieces) <= MAX_PAYLOAD_BYTES
        assert len(pieces) > 5


def test_the_description_is_taken_from_a_keyframe_only() -> None:
    sets = parameter_sets([SEI, SPS, PPS, b"\x65\x11"])
    assert sets is not None
    assert (sets.sps, sets.pps, sets.profile_level_id) == (SPS, (PPS,), "42C01F")
    assert parameter_sets([b"\x41\x11"]) is None
    assert parameter_sets([SPS, b"\x65\x11"]) is None


def test_a_limit_that_no_unit_fits_is_refused() -> None:
    with pytest.raises(ValueError, match="payloads of 8 bytes"):
        H264Packetiser(max_payload_bytes=8)
