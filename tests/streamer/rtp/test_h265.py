import base64
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.rtp.receiver import TrackReceiver
from streamer.rtp.unit import AccessUnit, TrackFormat, UnsupportedFormat
from tests.streamer.rtp.sending import (
    MS,
    START,
    Picture,
    Sender,
    as_bytes,
    cut_h265,
    gaps,
    is_part_of,
    through,
)

# What x265 3.5 wrote for a 320x240 stream.
VPS = bytes.fromhex("40010c01ffff01600000030090000003000003003c959809")
SPS = bytes.fromhex(
    "42010101600000030090000003000003003ca00a080f165959a4932bc05a020000030002000003003c10"
)
PPS = bytes.fromhex("4401c172b46240")
SETS = START + VPS + START + SPS + START + PPS
DELIMITER = b"\x46\x01\x50"
SUFFIX_SEI = b"\x50\x01\x84\x01\x00\x80"
END_OF_SEQUENCE = b"\x48\x01"
IDR = b"\x26\x01\xaf\x09"
CRA = b"\x2a\x01\xaf\x09"
TRAIL = b"\x02\x01\xd0\x09"
RECOVERY_EXACT = b"\x4e\x01\x06\x01\xc0\x80"
RECOVERY_LATER = b"\x4e\x01\x06\x01\x24\x80"


def described(**fmtp: str) -> TrackFormat:
    sets = {
        "sprop-vps": base64.b64encode(VPS).decode(),
        "sprop-sps": base64.b64encode(SPS).decode(),
        "sprop-pps": base64.b64encode(PPS).decode(),
    }
    extra = {name.replace("_", "-"): value for name, value in fmtp.items()}
    return TrackFormat(codec="hevc", clock_rate=90_000, payload_type=96, fmtp={**sets, **extra})


def bare(**fmtp: str) -> TrackFormat:
    extra = {name.replace("_", "-"): value for name, value in fmtp.items()}
    return TrackFormat(codec="hevc", clock_rate=90_000, payload_type=96, fmtp=extra)


def units_of(*pictures: list[bytes], format: TrackFormat) -> list[AccessUnit]:
    receiver = TrackReceiver(format, reorder_ns=0)
    sender = Sender()
    for payloads in pictures:
        for payload in payloads:
            sender.send(payload, marker=payload is payloads[-1])
        sender.timestamp += 3000
    return [unit for packet in sender.sent for unit in receiver.receive(as_bytes(packet), 0)]


def test_an_aggregation_packet_holds_its_nal_units() -> None:
    # RFC 7798, figure 4: type 48, then each unit behind its size.
    body = b"".join(len(nal).to_bytes(2, "big") + nal for nal in (VPS, SPS, PPS, IDR))
    (unit,) = units_of([b"\x60\x01" + body], format=bare())
    assert unit.payload == SETS + START + IDR
    assert unit.is_keyframe


def test_fragmentation_units_make_one_nal_unit() -> None:
    # RFC 7798, figures 9 and 10: type 49, then S E and the type of the unit.
    parts = [b"\x62\x01\x93\xaf", b"\x62\x01\x13\x09", b"\x62\x01\x53\x0a"]
    (unit,) = units_of([VPS, SPS, PPS, *parts], format=bare())
    assert unit.payload == SETS + START + b"\x26\x01\xaf\x09\x0a"


@pytest.mark.parametrize("picture", [IDR, CRA], ids=["IDR", "CRA"])
def test_keyframes_get_the_described_parameter_sets(picture: bytes) -> None:
    key, inter = units_of([DELIMITER, picture], [TRAIL], format=described())
    assert key.payload == START + DELIMITER + SETS + START + picture
    assert key.is_keyframe
    assert inter.payload == START + TRAIL
    assert not inter.is_keyframe


def test_only_what_is_missing_is_added() -> None:
    (unit,) = units_of([VPS, SPS, IDR], format=described())
    assert unit.payload == SETS + START + IDR


def test_without_any_parameter_sets_there_is_no_keyframe() -> None:
    assert not units_of([IDR], format=bare())[0].is_keyframe


def test_a_stream_that_refreshes_little_by_little_can_be_joined() -> None:
    for ahead in (RECOVERY_EXACT, RECOVERY_LATER):
        (unit,) = units_of([ahead, TRAIL], format=described())
        assert unit.is_keyframe
    units = units_of([IDR], [RECOVERY_LATER, TRAIL], [RECOVERY_EXACT, TRAIL], format=described())
    assert [unit.is_keyframe for unit in units] == [True, False, True]


def test_decoding_order_fields_are_left_out() -> None:
    format = described(sprop_max_don_diff="1")
    single = IDR[:2] + b"\0\7" + IDR[2:]
    aggregate = b"\x60\x01\0\7\0\4" + IDR + b"\0\0\4" + TRAIL[:2] + b"\x10\x09"
    parts = [b"\x62\x01\x93\0\7\xaf", b"\x62\x01\x53\x09"]
    first, second, third = units_of([single], [aggregate], parts, format=format)
    assert first.payload == third.payload == SETS + START + IDR
    assert second.payload == SETS + START + IDR + START + TRAIL[:2] + b"\x10\x09"


def test_interleaving_is_refused_before_anything_is_read() -> None:
    with pytest.raises(UnsupportedFormat, match="sprop-depack-buf-nalus"):
        TrackReceiver(described(sprop_depack_buf_nalus="2"), reorder_ns=0)


def test_what_ends_a_picture_stays_with_it_or_goes() -> None:
    units = units_of([IDR, SUFFIX_SEI], [TRAIL], format=described())
    assert units[0].payload == SETS + START + IDR + START + SUFFIX_SEI
    # A sender that marks the picture before its suffix: before the next one it would be wrong.
    units = units_of([IDR], [SUFFIX_SEI, END_OF_SEQUENCE, TRAIL], format=described())
    assert units[1].payload == START + TRAIL


@pytest.mark.parametrize(
    "payload",
    [b"\x62", b"\x60\x01\xff\xff\x02\x01", b"\x62\x01\x93", b"\x62\x01\xb1\xaf", b"\x62\x01\x01\xaf",
     b"\x64\x01\x00\x00"],
    ids=["header cut", "size too large", "no data", "fragments in one", "no beginning", "PACI"],
)  # fmt: skip
def test_a_broken_payload_spoils_its_picture_and_nothing_else(payload: bytes) -> None:
    units = units_of([IDR], [TRAIL, payload], [TRAIL], format=described())
    assert [unit.follows_loss for unit in units] == [False, True]


def test_the_number_of_an_sps_is_found_behind_its_sub_layers() -> None:
    # Three temporal layers (two sub-layers with a level each) and number 1: ue(v) 010.
    layered = bytes((0x42, 0x01, 0x04)) + SPS[3:18] + bytes((0x50, 0x00, 0x5A, 0x5A, 0x40)) + b"x"
    units = units_of([VPS, SPS, layered, PPS, IDR], [CRA], format=bare())
    assert units[1].payload == START.join([b"", VPS, SPS, layered, PPS, CRA])


def pictures(rng: random.Random, count: int) -> list[Picture]:
    made = []
    for index in range(count):
        is_key = index % 5 == 0
        ahead = [DELIMITER] if rng.random() < 0.5 else []
        ahead += [VPS, SPS, PPS] if is_key else []
        own = []
        for number in range(rng.randint(1, 3)):
            second = rng.randint(0, 127) | (128 if number == 0 else 0)
            header = b"\x26\x01" if is_key else b"\x02\x01"
            own.append(header + bytes((second,)) + rng.randbytes(rng.randint(1, 1500)))
        if rng.random() < 0.3:
            own.append(SUFFIX_SEI)
        made.append(Picture((*ahead, *own), len(ahead), is_key))
    return made


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    size=st.integers(60, 1400),
    marks=st.booleans(),
    don=st.booleans(),
    loss=st.sampled_from([0.0, 0.0, 0.02, 0.2]),
    late_ms=st.integers(0, 15),
)
def test_any_split_order_and_loss_gives_whole_pictures_or_says_so(
    *, seed: int, size: int, marks: bool, don: bool, loss: float, late_ms: int
) -> None:
    rng = random.Random(seed)
    sender = Sender()
    made = pictures(rng, 20)
    by_timestamp = {}
    for picture in made:
        by_timestamp[sender.timestamp] = picture
        payloads = cut_h265(picture.nals, size=size, rng=rng, aggregates=True, don=don)
        for index, (payload, _) in enumerate(payloads):
            sender.send(payload, marker=marks and index == len(payloads) - 1)
        sender.timestamp += 3000
    format = bare(sprop_max_don_diff="1") if don else bare()
    receiver = TrackReceiver(format, reorder_ns=late_ms * MS)
    units, lost = through(receiver, sender.sent, rng=rng, loss=loss, twice=0.05, late_ms=late_ms)
    assert receiver.statistics.lost == gaps(len(sender.sent), lost)
    for unit in units:
        sent = by_timestamp[unit.timestamp]
        if unit.is_damaged:
            assert is_part_of(unit.payload, sent)
            assert not unit.is_keyframe
            continue
        if not unit.follows_loss:
            assert unit.payload == sent.payload
            assert unit.is_keyframe == sent.is_keyframe
        assert unit.payload.endswith(sent.slices)
    if not lost:
        assert [unit.payload for unit in units] == [picture.payload for picture in made]
        assert receiver.statistics.refused == 0


@settings(max_examples=40, deadline=None)
@given(
    payloads=st.lists(st.tuples(st.binary(max_size=60), st.booleans()), max_size=60),
    don=st.booleans(),
)
def test_random_payloads_never_raise(*, payloads: list[tuple[bytes, bool]], don: bool) -> None:
    format = described(sprop_max_don_diff="1") if don else described()
    receiver = TrackReceiver(format, reorder_ns=0)
    sender = Sender()
    for payload, marker in payloads:
        sender.send(payload, marker=marker)
        sender.timestamp += 3000 * marker
    units, _ = through(receiver, sender.sent)
    assert len(units) <= len(payloads) + 1


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), don=st.booleans())
def test_mutated_packets_never_raise(*, seed: int, don: bool) -> None:
    rng = random.Random(seed)
    sender = Sender()
    receiver = TrackReceiver(bare(sprop_max_don_diff="1") if don else bare(), reorder_ns=5 * MS)
    for picture in pictures(rng, 12):
        for payload, _ in cut_h265(picture.nals, size=300, rng=rng, aggregates=True, don=don):
            sender.send(payload, marker=rng.random() < 0.3)
        sender.timestamp += 3000
    for index, packet in enumerate(sender.sent):
        data = bytearray(as_bytes(packet))
        for _ in range(rng.randint(0, 3)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        receiver.receive(bytes(data[: rng.randint(0, len(data))]), index * MS)
    receiver.flush()
    assert receiver.next_due_ns is None
