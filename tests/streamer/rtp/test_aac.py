import contextlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.rtp.aac_config import (
    RATES_HZ,
    adts_header_bytes,
    adts_sizes,
    parse_config,
    specific_config,
)
from streamer.rtp.depacketisers import audio_info
from streamer.rtp.receiver import TrackReceiver
from streamer.rtp.unit import AccessUnit, TrackFormat, UnsupportedFormat
from tests.streamer.rtp.sending import MS, Sender, gaps, through

HBR = {"mode": "AAC-hbr", "sizeLength": "13", "indexLength": "3", "indexDeltaLength": "3"}
LBR = {"mode": "AAC-lbr", "sizeLength": "6", "indexLength": "2", "indexDeltaLength": "2"}


def generic(config: str = "1190", **fmtp: str) -> TrackFormat:
    return TrackFormat(
        codec="aac",
        clock_rate=48_000,
        payload_type=96,
        channels=2,
        fmtp={**HBR, "config": config, **fmtp},
    )


def latm(config: str = "400026203fc0") -> TrackFormat:
    return TrackFormat(
        codec="aac",
        clock_rate=24_000,
        payload_type=96,
        channels=2,
        encoding="MP4A-LATM",
        fmtp={"cpresent": "0", "config": config},
    )


def hbr(*frames: bytes) -> bytes:
    """RFC 3640, section 3.3.6: a 16-bit header for each frame, its size and an index of 0."""
    headers = b"".join((len(frame) << 3).to_bytes(2, "big") for frame in frames)
    return (8 * len(headers)).to_bytes(2, "big") + headers + b"".join(frames)


def units_of(format: TrackFormat, *payloads: bytes, step: int = 1024) -> list[AccessUnit]:
    sender = Sender(timestamp=0)
    for payload in payloads:
        sender.send(payload, marker=True)
        sender.timestamp += step
    return through(TrackReceiver(format, reorder_ns=0), sender.sent)[0]


@pytest.mark.parametrize(
    ("config", "rate_hz", "channels", "samples"),
    [
        ("11B0", 48_000, 6, 1024),
        ("1388", 22_050, 1, 1024),
        ("1190", 48_000, 2, 1024),
        ("2b098800", 48_000, 1, 1024),
        ("1194", 48_000, 2, 960),
    ],
    ids=["RFC 3640 hbr", "RFC 3640 lbr", "stereo", "SBR", "960 samples"],
)
def test_a_config_says_what_the_sound_is(
    config: str, rate_hz: int, channels: int, samples: int
) -> None:
    found = parse_config(bytes.fromhex(config))
    assert found is not None
    assert (found.rate_hz, found.channels, found.frame_samples) == (rate_hz, channels, samples)


def test_a_frame_with_band_replication_lasts_twice_as_long_on_the_clock() -> None:
    found = parse_config(bytes.fromhex("2b098800"))
    assert found is not None
    assert (found.core_rate_hz, found.frame_ticks(48_000)) == (24_000, 2048)


def test_several_frames_in_a_packet_have_their_own_time() -> None:
    units = units_of(generic(), hbr(b"one", b"second", b"3"))
    assert [unit.payload for unit in units] == [b"one", b"second", b"3"]
    assert [unit.timestamp for unit in units] == [0, 1024, 2048]


def test_low_bit_rate_frames_have_headers_of_one_byte() -> None:
    format = TrackFormat(
        codec="aac", clock_rate=22_050, payload_type=96, fmtp={**LBR, "config": "1388"}
    )
    units = units_of(format, b"\x00\x10" + bytes((3 << 2, 5 << 2)) + b"onetwo22")
    assert [unit.payload for unit in units] == [b"one", b"two22"]


def test_a_stated_duration_goes_before_the_computed_one() -> None:
    units = units_of(generic(constantDuration="960"), hbr(b"one", b"two"))
    assert [unit.timestamp for unit in units] == [0, 960]


def test_frames_of_one_size_need_no_headers() -> None:
    fmtp = {"mode": "generic", "config": "1190", "constantSize": "4"}
    format = TrackFormat(codec="aac", clock_rate=48_000, payload_type=96, fmtp=fmtp)
    assert [unit.payload for unit in units_of(format, b"abcdefgh")] == [b"abcd", b"efgh"]


def test_all_optional_fields_are_passed_over() -> None:
    extra = {
        "CTSDeltaLength": "8",
        "DTSDeltaLength": "4",
        "randomAccessIndication": "1",
        "streamStateIndication": "2",
        "auxiliaryDataSizeLength": "8",
    }
    # size 13, index 3, CTS-flag 1 + 8, DTS-flag 1 + 4, RAP 1, state 2: 33 bits.
    bits = f"{3:013b}000" + "1" + "00000001" + "1" + "0001" + "1" + "10"
    headers = int(bits.ljust(40, "0"), 2).to_bytes(5, "big")
    # Auxiliary: 12 bits behind their 8-bit size, filled to 3 bytes.
    units = units_of(generic(**extra), (33).to_bytes(2, "big") + headers + b"\x0c\xff\xf0" + b"one")
    assert [unit.payload for unit in units] == [b"one"]


def test_fragments_of_a_frame_are_joined() -> None:
    frame = bytes(range(200))
    parts = [
        b"\x00\x10" + (200 << 3).to_bytes(2, "big") + frame[at : at + 80] for at in (0, 80, 160)
    ]
    units = units_of(generic(), *parts, step=0)
    assert [unit.payload for unit in units] == [frame]


def test_a_frame_that_lost_a_part_never_leaves() -> None:
    sender = Sender(timestamp=0)
    head = b"\x00\x10" + (200 << 3).to_bytes(2, "big")
    for index in range(3):
        sender.send(head + bytes(70 if index < 2 else 60), marker=index == 2)
    sender.timestamp = 1024
    sender.send(hbr(b"next"), marker=True)
    for missing in range(1, 3):
        left = [packet for index, packet in enumerate(sender.sent) if index != missing]
        units, _ = through(TrackReceiver(generic(), reorder_ns=0), left)
        assert [(unit.payload, unit.follows_loss) for unit in units] == [(b"next", True)]


def test_interleaved_frames_are_refused_not_misordered() -> None:
    payload = bytearray(hbr(b"one", b"two"))
    payload[5] |= 1
    units = units_of(generic(), bytes(payload), hbr(b"next"))
    assert [(unit.payload, unit.follows_loss) for unit in units] == [(b"next", True)]


def test_a_latm_stream_gives_its_config_and_frames() -> None:
    # The config is the stereo example of RFC 6416, section 7.3: AAC-LC, 24 kHz.
    info = audio_info(latm())
    assert (info.rate_hz, info.channels, info.extradata) == (24_000, 2, b"\x13\x10")
    # The one with spectral band replication, of the same section.
    info = audio_info(latm("40005623101fe0"))
    assert (info.rate_hz, info.channels) == (48_000, 2)
    long = bytes(range(250)) * 3
    units = units_of(latm(), b"\x03one", b"\xff\xff\xf0" + long)
    assert [unit.payload for unit in units] == [b"one", long]


def test_a_latm_element_in_parts_ends_at_its_marker() -> None:
    sender = Sender(timestamp=0)
    for payload, marker in ((b"\x0aabcd", False), (b"efghij", True), (b"\x01x", True)):
        sender.send(payload, marker=marker)
        sender.timestamp += 1024 * marker
    units, _ = through(TrackReceiver(latm(), reorder_ns=0), sender.sent)
    assert [unit.payload for unit in units] == [b"abcdefghij", b"x"]
    units, _ = through(TrackReceiver(latm(), reorder_ns=0), sender.sent[1:])
    assert [unit.payload for unit in units] == [b"x"]
    assert units[0].follows_loss


@pytest.mark.parametrize(
    ("fmtp", "word"),
    [
        ({"mode": "CELP-vbr", "config": "1190"}, "celp-vbr"),
        ({"mode": "AAC-hbr"}, "config"),
        ({"mode": "AAC-hbr", "config": "zz"}, "config"),
        ({"mode": "generic", "config": "1190"}, "sizeLength"),
    ],
)
def test_a_description_without_what_a_decoder_needs_is_refused(
    fmtp: dict[str, str], word: str
) -> None:
    with pytest.raises(UnsupportedFormat, match=word):
        audio_info(TrackFormat(codec="aac", clock_rate=48_000, payload_type=96, fmtp=fmtp))


@pytest.mark.parametrize("config", ["", "40", "c00026203fc0", "400126203fc0", "9128B1071070"])
def test_a_latm_config_of_more_than_one_layer_is_refused(config: str) -> None:
    with pytest.raises(UnsupportedFormat, match="LATM"):
        audio_info(latm(config))


def cut(frames: list[bytes], *, rng: random.Random, layered: bool) -> list[bytes]:
    """The payloads for some frames: LATM if ``layered``, else by RFC 3640."""
    size = rng.randint(1, 300)
    first = frames[0]
    if layered:
        whole = b"\xff" * (len(first) // 255) + bytes((len(first) % 255,)) + first
        return [whole[at : at + size] for at in range(0, len(whole), size)]
    if len(frames) == 1 and size < len(first):
        head = b"\x00\x10" + (len(first) << 3).to_bytes(2, "big")
        return [head + first[at : at + size] for at in range(0, len(first), size)]
    return [hbr(*frames)]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    loss=st.sampled_from([0.0, 0.05, 0.3]),
    late_ms=st.integers(0, 15),
    layered=st.booleans(),
)
def test_any_packing_order_and_loss_gives_whole_frames_or_none(
    *, seed: int, loss: float, late_ms: int, layered: bool
) -> None:
    rng = random.Random(seed)
    sender = Sender(timestamp=2**32 - 5000)
    made = {}
    ticks = sender.timestamp
    for _ in range(30):
        sender.timestamp = ticks
        frames = [rng.randbytes(rng.randint(1, 700)) for _ in range(rng.randint(1, 4))]
        if layered or rng.random() < 0.3:
            frames = frames[:1]
        for frame in frames:
            made[ticks] = frame
            ticks += 1024
        parts = cut(frames, rng=rng, layered=layered)
        for index, part in enumerate(parts):
            sender.send(part, marker=index == len(parts) - 1)
    receiver = TrackReceiver(latm() if layered else generic(), reorder_ns=late_ms * MS)
    units, lost = through(receiver, sender.sent, rng=rng, loss=loss, twice=0.05, late_ms=late_ms)
    assert receiver.statistics.lost == gaps(len(sender.sent), lost)
    for before, unit in zip([None, *units], units, strict=False):
        if not unit.follows_loss:
            assert unit.payload == made[unit.timestamp]
            assert before is None or unit.timestamp == before.timestamp + 1024
        elif not layered:
            assert unit.payload == made[unit.timestamp]
    if not lost:
        assert [unit.payload for unit in units] == list(made.values())


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.binary(max_size=60), st.booleans()), max_size=40),
    st.sampled_from([generic(), generic(auxiliaryDataSizeLength="8"), latm(),
                     generic(CTSDeltaLength="32", sizeLength="0", constantSize="3")]),
)  # fmt: skip
def test_random_payloads_never_raise(
    payloads: list[tuple[bytes, bool]], format: TrackFormat
) -> None:
    receiver = TrackReceiver(format, reorder_ns=0)
    sender = Sender()
    for payload, marker in payloads:
        sender.send(payload, marker=marker)
    units, _ = through(receiver, sender.sent)
    assert all(unit.payload for unit in units)


@given(st.binary(max_size=12))
def test_a_random_config_is_read_or_refused(config: bytes) -> None:
    found = parse_config(config)
    assert found is None or found.frame_samples in (480, 512, 960, 1024)
    for format in (generic(config.hex()), latm(config.hex())):
        with contextlib.suppress(UnsupportedFormat):
            assert audio_info(format).codec == "aac"
            assert found is not None or format.encoding


@given(st.sampled_from([*RATES_HZ, 37_000, 44_101]), st.sampled_from([1, 2, 3, 4, 5, 6, 8]))
def test_a_config_that_is_made_says_rate_and_channels(rate_hz: int, channels: int) -> None:
    made = specific_config(rate_hz=rate_hz, channels=channels)
    said = parse_config(made)
    assert said is not None
    assert (said.rate_hz, said.channels) == (rate_hz, channels)
    assert len(made) == (2 if rate_hz in RATES_HZ else 5)


def test_channels_that_have_no_number_have_no_config() -> None:
    assert specific_config(rate_hz=48_000, channels=2) == bytes.fromhex("1190")
    assert specific_config(rate_hz=48_000, channels=7) == b""
    assert specific_config(rate_hz=48_000, channels=0) == b""


@given(st.binary(max_size=40))
def test_any_bytes_may_come_as_adts(data: bytes) -> None:
    assert data.endswith(data[adts_header_bytes(data) :])
    assert adts_sizes(b"\xff\xf1" + data)[0] in (0, 7)
