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
    cut_h264,
    gaps,
    is_part_of,
    through,
)

# RFC 6184 prints these in its examples of sprop-parameter-sets (section 8.2.1).
RFC_SPROP = "Z0IACpZTBYmI,aMljiA=="
SPS, PPS = (base64.b64decode(part) for part in RFC_SPROP.split(","))
DELIMITER = b"\x09\xf0"
IDR = b"\x65\x88\x84\x21"
INTER = b"\x41\x9a\x24\x6c"
INTRA = b"\x41\x88\x82\x21"
"""first_mb_in_slice 0, slice_type 7: ``1 0001000``."""
SEI_RECOVERY_EXACT = b"\x06\x06\x01\xc4\x80"
SEI_RECOVERY_LATER = b"\x06\x06\x01\x38\x80"


def plain(**fmtp: str) -> TrackFormat:
    return TrackFormat(
        codec="h264",
        clock_rate=90_000,
        payload_type=96,
        fmtp={name.replace("_", "-"): value for name, value in fmtp.items()},
    )


def units_of(*pictures: list[bytes], format: TrackFormat | None = None) -> list[AccessUnit]:
    """What comes out for pictures of whole payloads, the last one of each marked."""
    receiver = TrackReceiver(format or plain(), reorder_ns=0)
    sender = Sender()
    for payloads in pictures:
        for payload in payloads:
            sender.send(payload, marker=payload is payloads[-1])
        sender.timestamp += 3000
    return [unit for packet in sender.sent for unit in receiver.receive(as_bytes(packet), 0)]


def pictures(
    rng: random.Random, count: int, *, slices: tuple[int, int], delimiters: bool
) -> list[Picture]:
    made = []
    for index in range(count):
        is_key = index % 5 == 0
        ahead = [DELIMITER] if delimiters else []
        ahead += [SPS, PPS] if is_key else []
        ahead += [b"\x06\x05\x03abc\x80"] if rng.random() < 0.3 else []
        own = []
        for number in range(rng.randint(*slices)):
            # The top bit of the second byte says that the slice begins the picture, the next one
            # that it is a P slice.
            second = rng.randint(0, 127) if number else 0xC0 | rng.randint(0, 63)
            body = rng.randbytes(rng.randint(1, 2000))
            own.append(bytes((0x65 if is_key else 0x41, second)) + body)
        made.append(Picture((*ahead, *own), len(ahead), is_key))
    return made


def test_a_single_nal_unit_is_released_at_its_marker() -> None:
    (unit,) = units_of([SPS, PPS, IDR])
    assert unit.payload == START + SPS + START + PPS + START + IDR
    assert unit.is_keyframe
    assert not unit.follows_loss


def test_an_aggregate_of_the_rfc_holds_its_nal_units() -> None:
    # RFC 6184, figure 7: the header 24, then each unit behind its size.
    stap = b"\x78\x00\x09" + SPS + b"\x00\x04" + PPS + b"\x00\x04" + IDR
    (unit,) = units_of([stap])
    assert unit.payload == START + SPS + START + PPS + START + IDR


def test_fragments_of_the_rfc_make_one_nal_unit() -> None:
    # RFC 6184, figures 14 and 15: indicator 28 with the unit's NRI, header S E R Type.
    (unit,) = units_of([SPS, PPS, b"\x7c\x85\x88\x84", b"\x7c\x05\x21", b"\x7c\x45\x22"])
    assert unit.payload.endswith(START + b"\x65\x88\x84\x21\x22")


def test_parameter_sets_of_the_description_go_to_keyframes_that_lack_them() -> None:
    described = plain(sprop_parameter_sets=RFC_SPROP)
    first, second, third = units_of([IDR], [DELIMITER, IDR], [INTER], format=described)
    sets = START + SPS + START + PPS
    assert first.payload == sets + START + IDR
    assert second.payload == START + DELIMITER + sets + START + IDR
    assert third.payload == START + INTER
    assert [unit.is_keyframe for unit in (first, second, third)] == [True, True, False]


def test_newer_parameter_sets_in_the_stream_replace_the_described_ones() -> None:
    other = SPS[:-1] + b"\x99"
    described = plain(sprop_parameter_sets=RFC_SPROP)
    units = units_of([other, PPS, IDR], [IDR], format=described)
    assert units[1].payload == START + other + START + PPS + START + IDR


def test_a_parameter_set_that_alone_is_missing_is_added_in_a_decoders_order() -> None:
    described = plain(sprop_parameter_sets=RFC_SPROP)
    (no_pps,) = units_of([SPS, IDR], format=described)
    (no_sps,) = units_of([DELIMITER, PPS, IDR], format=described)
    assert no_pps.payload == START + SPS + START + PPS + START + IDR
    assert no_sps.payload == START.join([b"", DELIMITER, SPS, PPS, IDR])


def test_parameter_sets_sent_ahead_with_their_own_marker_join_the_picture() -> None:
    units = units_of([SPS, PPS], [IDR], [INTER], [INTER])
    assert units[0].payload == START.join([b"", SPS, PPS, IDR])
    assert units[0].is_keyframe


def test_an_idr_without_any_parameter_sets_is_no_keyframe() -> None:
    assert not units_of([IDR])[0].is_keyframe


@pytest.mark.parametrize(
    ("ahead", "picture", "expected"),
    [
        ([SEI_RECOVERY_EXACT], INTER, True),
        ([SEI_RECOVERY_LATER], INTER, True),
        ([], INTRA, True),
        ([], INTER, False),
    ],
    ids=["recovery point", "gradual refresh", "intra picture", "inter picture"],
)
def test_a_stream_without_idr_can_be_joined(
    *, ahead: list[bytes], picture: bytes, expected: bool
) -> None:
    described = plain(sprop_parameter_sets=RFC_SPROP)
    (unit,) = units_of([*ahead, picture], format=described)
    assert unit.is_keyframe is expected
    assert unit.payload.startswith(START + SPS) is expected


def test_a_stream_with_idr_is_joined_only_where_all_is_right_at_once() -> None:
    described = plain(sprop_parameter_sets=RFC_SPROP)
    soft = [SEI_RECOVERY_LATER, INTER]
    units = units_of([IDR], soft, [SEI_RECOVERY_EXACT, INTER], [INTRA], format=described)
    assert [unit.is_keyframe for unit in units] == [True, False, True, False]
    # An encoder that sends one IDR and then refreshes little by little is found out.
    units = units_of([IDR], *[[INTER]] * 250, soft, format=described)
    assert units[-1].is_keyframe


def test_a_start_code_in_a_payload_does_not_reach_the_decoder_twice() -> None:
    (unit,) = units_of([START + SPS + START + PPS + START[1:] + IDR])
    assert unit.payload == START.join([b"", SPS, PPS, IDR])


def test_zeros_around_start_codes_belong_to_no_nal_unit_however_many_there_are() -> None:
    # Whoever looks at the rest of them again for each needs a minute for every one of these.
    zeros = bytes(60_000)
    sent = [START + SPS + zeros + START + PPS, START + IDR + zeros, START + zeros, START + zeros]
    (unit,) = units_of([*sent[1:], *sent[:1], START + IDR + b"\0" + START])
    assert unit.payload == START.join([b"", IDR, SPS, PPS, IDR])
    assert unit.is_keyframe


def test_the_interleaved_mode_is_refused_before_anything_is_read() -> None:
    with pytest.raises(UnsupportedFormat, match="packetization-mode"):
        TrackReceiver(plain(packetization_mode="2"), reorder_ns=0)


@pytest.mark.parametrize("kind", [25, 26, 27, 29])
def test_interleaved_packets_nobody_agreed_on_spoil_only_their_picture(kind: int) -> None:
    good = [SPS, PPS, IDR]
    units = units_of(good, [bytes((0x60 | kind,)) + bytes(40)], [INTER])
    assert [unit.payload[-4:] for unit in units] == [IDR, INTER]
    assert units[1].follows_loss


@pytest.mark.parametrize(
    "payload",
    [b"\x78\x00", b"\x78\xff\xff\x41\x1a", b"\x7c", b"\x7c\x85", b"\x7c\x9c\x00", b"\x7c\x41\x00"],
    ids=["size cut", "size too large", "no header", "no data", "fragments in one", "no beginning"],
)
def test_a_broken_payload_spoils_its_picture_and_nothing_else(payload: bytes) -> None:
    units = units_of([SPS, PPS, IDR], [INTER, payload], [INTER])
    assert [unit.follows_loss for unit in units] == [False, True]


def test_described_parameter_sets_that_are_nonsense_are_passed_over() -> None:
    for text in ("", ",", "%%%", "Z0==,aM", base64.b64encode(START + SPS).decode(), "A" * 9999):
        TrackReceiver(plain(sprop_parameter_sets=text), reorder_ns=0)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    size=st.integers(40, 1400),
    slices=st.sampled_from([(1, 1), (1, 4)]),
    delimiters=st.booleans(),
    marks=st.booleans(),
    loss=st.sampled_from([0.0, 0.0, 0.02, 0.2]),
    late_ms=st.integers(0, 15),
)
def test_any_split_order_and_loss_gives_whole_pictures_or_says_so(
    *,
    seed: int,
    size: int,
    slices: tuple[int, int],
    delimiters: bool,
    marks: bool,
    loss: float,
    late_ms: int,
) -> None:
    rng = random.Random(seed)
    sender = Sender()
    made = pictures(rng, 20, slices=slices, delimiters=delimiters)
    by_timestamp = {}
    for picture in made:
        by_timestamp[sender.timestamp] = picture
        payloads = cut_h264(picture.nals, size=size, rng=rng, aggregates=True)
        for index, (payload, _) in enumerate(payloads):
            sender.send(payload, marker=marks and index == len(payloads) - 1)
        sender.timestamp += 3000
    receiver = TrackReceiver(plain(), reorder_ns=late_ms * MS)
    units, lost = through(receiver, sender.sent, rng=rng, loss=loss, twice=0.05, late_ms=late_ms)
    assert receiver.statistics.lost == gaps(len(sender.sent), lost)
    assert receiver.statistics.discarded == 0
    assert receiver.statistics.units == len(units)
    for unit in units:
        sent = by_timestamp[unit.timestamp]
        if unit.is_damaged:
            assert is_part_of(unit.payload, sent)
            assert not unit.is_keyframe
            continue
        if not unit.follows_loss:
            assert unit.payload == sent.payload
            assert unit.is_keyframe == sent.is_keyframe
        # Even then only what stands before the picture itself may be missing.
        assert unit.payload.endswith(sent.slices)
    if not lost:
        assert [unit.payload for unit in units] == [picture.payload for picture in made]
        assert not any(unit.follows_loss or unit.is_damaged for unit in units)
        assert receiver.statistics.refused == 0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=40), st.booleans()), max_size=60))
def test_random_payloads_never_raise(payloads: list[tuple[bytes, bool]]) -> None:
    receiver = TrackReceiver(plain(sprop_parameter_sets=RFC_SPROP), reorder_ns=0)
    sender = Sender()
    for payload, marker in payloads:
        sender.send(payload, marker=marker)
        sender.timestamp += 3000 * marker
    units, _ = through(receiver, sender.sent)
    assert len(units) <= len(payloads) + 1


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(40, 600))
def test_mutated_packets_never_raise_and_never_stop_the_stream(seed: int, size: int) -> None:
    rng = random.Random(seed)
    sender = Sender()
    receiver = TrackReceiver(plain(), reorder_ns=5 * MS)
    for picture in pictures(rng, 12, slices=(1, 3), delimiters=True):
        payloads = cut_h264(picture.nals, size=size, rng=rng, aggregates=True)
        for index, (payload, _) in enumerate(payloads):
            sender.send(payload, marker=index == len(payloads) - 1)
        sender.timestamp += 3000
    for index, packet in enumerate(sender.sent):
        data = bytearray(as_bytes(packet))
        for _ in range(rng.randint(0, 3)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        receiver.receive(bytes(data[: rng.randint(0, len(data))]), index * MS)
    receiver.due(10**12)
    assert receiver.next_due_ns is None
    # After all that, a clean picture of a new source comes through.
    clean = Sender(ssrc=0x77, sequence=1)
    for timestamp in (0, 3000, 6000):
        clean.timestamp = timestamp
        for payload in (SPS, PPS, IDR):
            clean.send(payload, marker=payload is IDR)
    units = [u for packet in clean.sent for u in receiver.receive(as_bytes(packet), 10**12)]
    assert units[-1].payload.endswith(START + IDR)
    assert units[-1].is_keyframe
