import struct

import pytest

from streamer.rtp.depacketisers import audio_info
from streamer.rtp.receiver import TrackReceiver
from streamer.rtp.unit import TrackFormat, UnsupportedFormat
from tests.streamer.rtp.sending import Sender, through


def format_of(codec: str, clock_rate: int, **fmtp: str) -> TrackFormat:
    return TrackFormat(
        codec=codec,
        clock_rate=clock_rate,
        payload_type=96,
        channels=2 if codec == "opus" else 1,
        fmtp={name.replace("_", "-"): value for name, value in fmtp.items()},
    )


@pytest.mark.parametrize("codec", ["opus", "pcm_alaw", "pcm_mulaw"])
def test_each_packet_is_a_unit_and_a_gap_is_marked(codec: str) -> None:
    sender = Sender()
    for text in (b"one", b"two", b"three"):
        # The marker begins a talk spurt (RFC 3551, section 4.1); it ends nothing.
        sender.send(text, marker=text == b"one")
        sender.timestamp += 960
    receiver = TrackReceiver(format_of(codec, 48_000), reorder_ns=0)
    units, _ = through(receiver, [sender.sent[0], sender.sent[2]])
    assert [(unit.payload, unit.follows_loss) for unit in units] == [
        (b"one", False),
        (b"three", True),
    ]
    assert units[1].timestamp - units[0].timestamp == 1920
    assert all(unit.is_keyframe for unit in units)


def test_an_empty_packet_is_no_unit_but_what_it_follows_is_remembered() -> None:
    sender = Sender()
    for payload in (b"one", b"two", b"", b"three"):
        sender.send(payload, marker=False)
    receiver = TrackReceiver(format_of("opus", 48_000), reorder_ns=0)
    units, _ = through(receiver, [sender.sent[0], *sender.sent[2:]])
    assert [(unit.payload, unit.follows_loss) for unit in units] == [
        (b"one", False),
        (b"three", True),
    ]


def test_opus_has_the_header_that_containers_ask_for() -> None:
    info = audio_info(format_of("opus", 48_000, sprop_stereo="1"))
    assert (info.rate_hz, info.channels) == (48_000, 2)
    magic, version, channels, skip, rate_hz, gain, family = struct.unpack(
        "<8sBBHIhB", info.extradata
    )
    assert (magic, version, channels) == (b"OpusHead", 1, 2)
    assert (skip, rate_hz, gain, family) == (0, 48_000, 0, 0)


def test_telephone_sound_is_described_by_its_clock() -> None:
    info = audio_info(format_of("pcm_alaw", 8000))
    assert (info.codec, info.rate_hz, info.channels, info.extradata) == ("pcm_alaw", 8000, 1, b"")


def test_a_codec_that_is_not_read_here_is_named() -> None:
    with pytest.raises(UnsupportedFormat, match=r"'g722'.*let libav read it"):
        TrackReceiver(format_of("g722", 8000), reorder_ns=0)


@pytest.mark.parametrize("clock_rate", [0, -1, 2_000_000])
def test_an_impossible_clock_is_refused(clock_rate: int) -> None:
    with pytest.raises(UnsupportedFormat, match="clock"):
        format_of("opus", clock_rate)
