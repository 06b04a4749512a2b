import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.rtp.packet import RtpPacket, Unwrapper, parse_rtp

PLAIN = bytes.fromhex("80e000010000000212345678") + b"picture"


def test_the_fields_of_a_packet_are_read() -> None:
    assert parse_rtp(PLAIN) == RtpPacket(96, 1, 2, 0x12345678, True, b"picture")


def test_sources_extension_and_padding_are_left_out() -> None:
    head = bytes.fromhex("b260000100000002123456780000000a0000000b")
    extension = bytes.fromhex("bede000111223344")
    packet = parse_rtp(head + extension + b"picture" + b"\0\0\3")
    assert packet is not None
    assert packet.payload == b"picture"
    assert not packet.marker


def test_a_memoryview_is_read_as_bytes() -> None:
    packet = parse_rtp(memoryview(bytearray(PLAIN)))
    assert packet is not None
    assert packet.payload == b"picture"
    assert isinstance(packet.payload, bytes)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        PLAIN[:11],
        b"\x40" + PLAIN[1:],
        b"\x8f" + PLAIN[1:],
        b"\x90" + PLAIN[1:12] + b"\xbe\xde\xff\xff",
        b"\xa0" + PLAIN[1:12] + b"pic\0",
        b"\xa0" + PLAIN[1:12] + b"pic\xff",
        bytes.fromhex("80c80006") + bytes(24),
    ],
    ids=["empty", "short", "version", "sources", "extension", "padding 0", "padding", "rtcp"],
)
def test_what_is_no_rtp_gives_none(data: bytes) -> None:
    assert parse_rtp(data) is None


@given(st.binary(max_size=80))
def test_random_bytes_never_raise(data: bytes) -> None:
    packet = parse_rtp(data)
    assert packet is None or len(packet.payload) <= len(data) - 12


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(-(2**31) + 1, 2**31 - 1), max_size=30))
def test_a_counter_goes_on_beyond_its_width(first: int, steps: list[int]) -> None:
    unwrapper = Unwrapper()
    at = first
    assert unwrapper.unwrap(first) == first
    for step in steps:
        at += step
        assert unwrapper.peek(at & 0xFFFFFFFF) == at
        assert unwrapper.unwrap(at & 0xFFFFFFFF) == at
