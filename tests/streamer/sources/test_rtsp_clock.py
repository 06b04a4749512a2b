"""A camera's clock that is set back while it sends, as by NTP, and B-frames, which only look like it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from fractions import Fraction

import pytest

from streamer.clock import ManualClock
from streamer.frame import Packet
from streamer.rtp.unit import TrackFormat
from streamer.sources.rtsp.reception import Reception
from streamer.sources.rtsp.tracks import Track
from streamer.sources.timeline_repair import TimelineRepair
from tests.rtsp_camera import coded_pictures, rtp_packets

FPS = 50
TICKS = 90_000 // FPS
TRACK = Track(
    kind="video",
    format=TrackFormat(codec="h264", clock_rate=90_000, payload_type=96),
    control_url="",
    profile="AVP",
    takes_pli=False,
)


def received(timestamps: Iterable[int]) -> tuple[list[Packet], int]:
    """What becomes of one picture an interval with these RTP times, and how often times were repaired."""
    clock, repair = ManualClock(), TimelineRepair()
    packets: list[Packet] = []
    reception = Reception(
        [TRACK],
        is_udp=False,
        clock=clock,
        on_packet=lambda packet: packets.append(repair.repaired(packet)),
    )

    async def receive() -> None:
        sequence, units = 0, coded_pictures()
        for number, timestamp in enumerate(timestamps):
            unit = units[number % len(units)]
            for data in rtp_packets(unit, sequence=sequence, timestamp=timestamp):
                reception.receive(0, data)
                sequence += 1
            clock.advance_ms(1000 / FPS)

    asyncio.run(receive())
    return packets, repair.repairs


@pytest.mark.parametrize("back_s", [Fraction(1, 5), Fraction(9, 10), Fraction(1), Fraction(3, 2)])
def test_pictures_keep_their_pace_when_the_clock_is_set_back(back_s: Fraction) -> None:
    times = [number * TICKS for number in range(100)]
    times += [number * TICKS - round(back_s * 90_000) for number in range(100, 200)]
    packets, repairs = received(time + 2**31 for time in times)
    first = packets[0]
    assert len(packets) == 200
    assert repairs == 1
    for packet in packets:
        arrived_s = Fraction(packet.arrived_ns - first.arrived_ns, 1_000_000_000)
        assert abs(packet.time_s - first.time_s - arrived_s) <= Fraction(1, FPS)
    times = [packet.dts for packet in packets]
    assert times == sorted(set(times))


def between(before: int, after: int) -> Iterator[int]:
    """The pictures between two, each coded before those on either side of it."""
    if after - before > 1:
        middle = (before + after) // 2
        yield middle
        yield from between(before, middle)
        yield from between(middle, after)


@pytest.mark.parametrize("apart", [4, 16, 32])
def test_b_frames_are_no_clock_that_was_set_back(apart: int) -> None:
    order = [0]
    for end in range(apart, 161, apart):
        order += [end, *between(end - apart, end)]
    packets, repairs = received(number * TICKS for number in order)
    assert repairs == 0
    # The first ones are shown late: nothing has said yet how far pictures are moved.
    known = 2 * apart
    moved = [(packet.pts - packets[0].pts) // TICKS for packet in packets]
    assert moved[known:] == order[known:]
    times = [packet.dts for packet in packets]
    assert times == sorted(set(times))
