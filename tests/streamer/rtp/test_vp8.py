import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.rtp.receiver import TrackReceiver
from streamer.rtp.unit import TrackFormat
from streamer.rtp.vp8 import descriptor_bytes
from tests.streamer.rtp.sending import MS, Sender, as_bytes, cut_vp8, gaps, through

FORMAT = TrackFormat(codec="vp8", clock_rate=90_000, payload_type=96)
KEY = b"\x10\x02\x00\x9d\x01\x2a\x40\x01\xf0\x00"
"""Frame tag with P = 0, start code, 320 x 240."""
INTER = b"\x11\x02\x00\x85"


@pytest.mark.parametrize(
    ("descriptor", "size"),
    [
        ("10", 1),
        ("908011", 3),
        ("90809111", 4),
        ("9040c0", 3),
        ("9020c0", 3),
        ("9010c0", 3),
        ("90f0ffff40e1", 6),
        ("90", 2),
    ],
    ids=["plain", "7-bit id", "15-bit id", "TL0PICIDX", "TID", "KEYIDX", "all", "cut"],
)
def test_the_descriptor_of_the_rfc_is_as_long_as_its_fields(descriptor: str, size: int) -> None:
    # RFC 7741, section 4.2, figure 2.
    assert descriptor_bytes(bytes.fromhex(descriptor) + b"\0" * (descriptor != "90")) == size


def test_frames_are_released_at_the_marker_and_keyframes_known() -> None:
    receiver = TrackReceiver(FORMAT, reorder_ns=0)
    sender = Sender()
    for frame in (KEY + bytes(50), INTER + bytes(20), INTER + bytes(3)):
        payloads = cut_vp8(frame, size=30, descriptor=bytes.fromhex("90808123"))
        for index, payload in enumerate(payloads):
            sender.send(payload, marker=index == len(payloads) - 1)
        sender.timestamp += 3000
    units = []
    for packet in sender.sent:
        new = receiver.receive(as_bytes(packet), 0)
        assert len(new) == packet.marker
        units += new
    assert [unit.payload for unit in units] == [
        KEY + bytes(50),
        INTER + bytes(20),
        INTER + bytes(3),
    ]
    assert [unit.is_keyframe for unit in units] == [True, False, False]


def test_a_later_partition_is_no_new_frame() -> None:
    receiver = TrackReceiver(FORMAT, reorder_ns=0)
    sender = Sender()
    for payload in (b"\x10" + KEY, b"\x11later", b"\x12last"):
        sender.send(payload, marker=payload == b"\x12last")
    units, _ = through(receiver, sender.sent)
    assert [unit.payload for unit in units] == [KEY + b"laterlast"]


def test_a_frame_without_its_beginning_never_leaves() -> None:
    receiver = TrackReceiver(FORMAT, reorder_ns=0)
    sender = Sender()
    sender.send(b"\x00middle", marker=False)
    sender.send(b"\x00end", marker=True)
    sender.timestamp += 3000
    sender.send(b"\x10" + INTER, marker=True)
    units, _ = through(receiver, sender.sent)
    assert [(unit.payload, unit.follows_loss) for unit in units] == [(INTER, True)]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    size=st.integers(1, 1400),
    descriptor=st.sampled_from(["10", "9080aa12", "90f0ff1234e1"]).map(bytes.fromhex),
    marks=st.booleans(),
    loss=st.sampled_from([0.0, 0.0, 0.05, 0.3]),
    late_ms=st.integers(0, 15),
)
def test_any_split_order_and_loss_gives_whole_frames_or_none(
    *, seed: int, size: int, descriptor: bytes, marks: bool, loss: float, late_ms: int
) -> None:
    rng = random.Random(seed)
    sender = Sender()
    made = {}
    for index in range(20):
        head = KEY if index % 5 == 0 else INTER
        frame = head + rng.randbytes(rng.randint(0, 40 * size))
        made[sender.timestamp] = frame
        payloads = cut_vp8(frame, size=size, descriptor=descriptor)
        for number, payload in enumerate(payloads):
            sender.send(payload, marker=marks and number == len(payloads) - 1)
        sender.timestamp += 3000
    receiver = TrackReceiver(FORMAT, reorder_ns=late_ms * MS)
    units, lost = through(receiver, sender.sent, rng=rng, loss=loss, twice=0.05, late_ms=late_ms)
    assert receiver.statistics.lost == gaps(len(sender.sent), lost)
    for unit in units:
        assert unit.payload == made[unit.timestamp]
        assert unit.is_keyframe == unit.payload.startswith(KEY)
    if not lost:
        assert [unit.payload for unit in units] == list(made.values())
    else:
        # A frame whose packets all came, and the one before's too, is not thrown away.
        assert len(units) <= len(made)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=30), st.booleans()), max_size=60))
def test_random_payloads_never_raise(payloads: list[tuple[bytes, bool]]) -> None:
    receiver = TrackReceiver(FORMAT, reorder_ns=0)
    sender = Sender()
    for payload, marker in payloads:
        sender.send(payload, marker=marker)
        sender.timestamp += 3000 * marker
    units, _ = through(receiver, sender.sent)
    assert all(unit.payload for unit in units)
