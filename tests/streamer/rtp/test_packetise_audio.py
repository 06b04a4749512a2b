"""Sound into RTP payloads, taken apart again as the RFCs say."""

from __future__ import annotations

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.rtp.aac_config import adts_config, adts_header_bytes
from streamer.rtp.packetise import MAX_PAYLOAD_BYTES
from streamer.rtp.packetise_audio import (
    AacPacketiser,
    G711Packetiser,
    OpusPacketiser,
)
from tests.streamer.server.rtsp_live import aac, sound


def adts(unit: bytes, *, rate_index: int = 3, channels: int = 2) -> bytes:
    """``unit`` behind an ADTS header of AAC-LC, seven bytes long (ISO 13818-7, 6.2)."""
    size = len(unit) + 7
    return (
        bytes(
            (
                0xFF,
                0xF1,
                1 << 6 | rate_index << 2 | channels >> 2,
                (channels & 3) << 6 | size >> 11,
                size >> 3 & 0xFF,
                (size & 7) << 5 | 0x1F,
                0xFC,
            )
        )
        + unit
    )


@given(st.binary(min_size=1, max_size=8191), st.integers(40, 1400))
def test_an_aac_unit_arrives_whole_and_every_fragment_says_how_long_it_is(
    unit: bytes, limit: int
) -> None:
    packetiser = AacPacketiser(b"\x11\x90", max_payload_bytes=limit)
    # A unit that looks like ADTS would be taken for it; the encoder's never do.
    unit = unit if not adts_header_bytes(unit) else b"\0" + unit[1:]
    pieces = packetiser.split(unit)
    for piece in pieces:
        assert piece.payload[:2] == b"\x00\x10"  # one header of 16 bits
        assert int.from_bytes(piece.payload[2:4], "big") == len(unit) << 3
        assert len(piece.payload) <= limit
    assert b"".join(piece.payload[4:] for piece in pieces) == unit
    assert [piece.is_marked for piece in pieces] == [False] * (len(pieces) - 1) + [True]


def test_a_unit_longer_than_thirteen_bits_can_say_is_left_out() -> None:
    assert AacPacketiser(b"\x11\x90").split(bytes(8192)) == []
    assert AacPacketiser(b"\x11\x90").split(b"") == []


@pytest.mark.parametrize(("rate_hz", "channels"), [(48_000, 2), (44_100, 1), (16_000, 1)])
def test_adts_says_the_same_as_the_encoder_and_is_taken_off(rate_hz: int, channels: int) -> None:
    stream = aac(rate_hz=rate_hz, channels=channels)
    index = {48_000: 3, 44_100: 4, 16_000: 8}[rate_hz]
    packetiser = AacPacketiser(b"")
    packets = sound(stream)
    for _ in range(4):
        unit = next(packets).payload
        (piece,) = packetiser.split(adts(unit, rate_index=index, channels=channels))
        assert piece.payload[4:] == unit
    # The encoder's own may go on with what says that there is no SBR.
    assert packetiser.config == stream.extradata[:2]


def test_a_config_that_was_given_stands() -> None:
    packetiser = AacPacketiser(b"\x12\x08")
    packetiser.split(adts(b"abc"))
    assert packetiser.config == b"\x12\x08"


def test_libav_decodes_with_the_config_made_from_adts() -> None:
    stream = aac()
    units = [packet.payload for packet, _ in zip(sound(stream), range(5), strict=False)]
    decoder = av.CodecContext.create("aac", "r")
    decoder.extradata = adts_config(adts(units[0]))
    frames = [frame for unit in units for frame in decoder.decode(av.Packet(unit))]
    assert [(f.sample_rate, f.layout.nb_channels) for f in frames[:1]] == [(48_000, 2)]


@given(st.binary(max_size=64))
def test_what_is_no_adts_is_left_as_it_is(data: bytes) -> None:
    if adts_header_bytes(data):
        return
    assert b"".join(p.payload[4:] for p in AacPacketiser(b"\x11\x90").split(data)) == data


@given(st.binary(max_size=5000), st.integers(1, 2), st.integers(100, 1400))
def test_long_g711_is_split_between_samples_and_each_part_has_its_time(
    data: bytes, channels: int, limit: int
) -> None:
    data = data[: len(data) - len(data) % channels]
    pieces = G711Packetiser(channels=channels, max_payload_bytes=limit).split(data)
    assert b"".join(piece.payload for piece in pieces) == data
    at = 0
    for piece in pieces:
        assert piece.ticks_later == at // channels
        assert 0 < len(piece.payload) <= limit
        assert len(piece.payload) % channels == 0
        at += len(piece.payload)


def test_opus_is_never_split() -> None:
    (piece,) = OpusPacketiser().split(b"\x78" + bytes(MAX_PAYLOAD_BYTES))
    assert piece.payload == b"\x78" + bytes(MAX_PAYLOAD_BYTES)
    assert OpusPacketiser().split(b"") == []
    assert OpusPacketiser().split(bytes(61_441)) == []
