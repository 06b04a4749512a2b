"""The buffer that goes by the marker bit, and the camera's pictures."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from aiortc.rtp import RtpPacket

from benchmarks.latency.camera import HEAD, Pictures, due_times
from benchmarks.latency.viewer import CountingBuffer, MarkerBuffer
from streamer.clock import ManualClock
from streamer.ops.memory import planes_in
from streamer.sources import counter


def packet(sequence: int, timestamp: int, data: bytes, *, marker: int) -> RtpPacket:
    """As aiortc hands it to its jitter buffer."""
    made = RtpPacket(
        payload_type=96,
        marker=marker,
        sequence_number=sequence % 65_536,
        timestamp=timestamp,
        ssrc=1,
        payload=data,
    )
    made._data = data  # type: ignore[attr-defined]
    return made


def test_a_picture_is_there_with_its_marked_packet_and_not_with_the_next_picture() -> None:
    buffer = MarkerBuffer()
    assert buffer.add(packet(7, 3000, b"a", marker=0)) == (False, None)
    _, frame = buffer.add(packet(8, 3000, b"b", marker=1))
    assert frame is not None
    assert (frame.data, frame.timestamp) == (b"ab", 3000)


def test_a_picture_waits_for_what_is_missing_before_its_marker() -> None:
    buffer = MarkerBuffer()
    buffer.add(packet(7, 3000, b"a", marker=0))
    assert buffer.add(packet(9, 3000, b"c", marker=1))[1] is None
    _, frame = buffer.add(packet(8, 3000, b"b", marker=0))
    assert frame is not None
    assert frame.data == b"abc"


def test_without_markers_a_picture_ends_where_the_next_one_begins() -> None:
    buffer = MarkerBuffer()
    buffer.add(packet(7, 3000, b"a", marker=0))
    _, frame = buffer.add(packet(8, 6000, b"b", marker=0))
    assert frame is not None
    assert (frame.data, frame.timestamp) == (b"a", 3000)


@pytest.mark.parametrize("first", [0, 65_530])
def test_pictures_come_whole_and_in_order_however_their_packets_are_shuffled(first: int) -> None:
    dice = random.Random(4)
    packets: list[RtpPacket] = []
    expected = []
    for number in range(40):
        parts = [bytes([number, part]) for part in range(dice.randrange(1, 5))]
        expected.append(b"".join(parts))
        for part, data in enumerate(parts):
            at_end = part == len(parts) - 1
            packets.append(packet(first + len(packets), 3000 * number, data, marker=int(at_end)))
    # Each is delayed by up to four places; the first one begins the stream.
    order = [0, *sorted(range(1, len(packets)), key=lambda place: place + dice.uniform(0, 4))]
    buffer = MarkerBuffer()
    frames = [buffer.add(packets[place])[1] for place in order]
    # One more picture than packets can be ready at once; the buffer gives one at each packet.
    extra = [
        buffer.add(packet(first + len(packets) + more, 3000 * (40 + more), b"x", marker=1))[1]
        for more in range(20)
    ]
    got = [frame.data for frame in [*frames, *extra] if frame is not None]
    assert got[: len(expected)] == expected


def test_a_silent_viewer_counts_pictures_and_keeps_nothing() -> None:
    buffer = CountingBuffer()
    given = [packet(n, 3000 * (n // 2), b"x", marker=n % 2) for n in range(20)]
    assert all(buffer.add(one) == (False, None) for one in given)
    assert buffer.pictures == 10


def test_each_picture_carries_its_number_and_the_milliseconds_of_its_drawing() -> None:
    pictures = Pictures(width=320, height=180, fps=Fraction(30), drawn=4)
    shown = []
    for number in range(14):
        data = pictures.picture(number, (5000 + 33 * number) * 1_000_000)
        luma, _, _ = planes_in(data[HEAD.size :], 320, 180)
        reading = counter.read(luma)
        assert reading == counter.Reading(milliseconds=5000 + 33 * number, frame_number=number)
        shown.append(luma[60:].copy())
    assert all(not np.array_equal(a, b) for a, b in pairwise(shown))
    # Forwards and back: as many different pictures as were drawn, and no jump at the end.
    assert np.array_equal(shown[0], shown[6])
    assert np.array_equal(shown[2], shown[4])


def test_the_camera_keeps_its_rate_and_leaves_out_what_it_cannot_make_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = ManualClock(1_000_000_000)
    monkeypatch.setattr("time.sleep", lambda seconds: clock.advance_ms(1000 * seconds))
    due = due_times(clock, Fraction(10))
    assert [next(due) for _ in range(3)] == [1_000_000_000, 1_100_000_000, 1_200_000_000]
    clock.advance_ms(270)
    assert next(due) == 1_400_000_000
    assert next(due) == 1_500_000_000
