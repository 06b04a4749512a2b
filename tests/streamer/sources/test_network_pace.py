import asyncio
from collections.abc import AsyncIterator

import pytest

from streamer.clock import ManualClock, MonotonicClock
from streamer.errors import SourceLost
from streamer.frame import RTP_TIME_BASE, Packet
from streamer.sources import network_pace
from streamer.sources.network_pace import Paced

CLOCK = MonotonicClock()


def packet(at_s: float, *, size: int = 1) -> Packet:
    ticks = round(at_s * 90_000)
    return Packet(payload=bytes(size), pts=ticks, dts=ticks, time_base=RTP_TIME_BASE, arrived_ns=0)


async def released(packets: AsyncIterator[Packet]) -> list[Packet]:
    async with Paced(packets, clock=CLOCK) as paced:
        return [one async for one in paced]


def test_a_burst_leaves_at_its_own_rate_and_never_early() -> None:
    async def burst() -> AsyncIterator[Packet]:
        for number in range(10):
            yield packet(number / 50)

    got = asyncio.run(released(burst()))
    assert [one.dts for one in got] == [1800 * n for n in range(10)]
    for number, one in enumerate(got):
        assert (one.arrived_ns - got[0].arrived_ns) / 1e9 >= number / 50 - 0.001


def test_after_a_stall_the_rest_keeps_its_distances() -> None:
    async def stalling() -> AsyncIterator[Packet]:
        yield packet(0)
        await asyncio.sleep(0.5)
        for number in range(5):
            yield packet(0.05 + number / 50)

    got = asyncio.run(released(stalling()))
    for number in range(5):
        assert (got[1 + number].arrived_ns - got[1].arrived_ns) / 1e9 >= number / 50 - 0.001


def test_audio_that_lies_a_little_before_its_video_moves_nothing() -> None:
    clock = ManualClock()

    async def interleaved() -> AsyncIterator[Packet]:
        for number in range(20):
            yield packet(number / 50)
            yield packet(max(0.0, number / 50 - 0.1))

    async def play() -> int:
        paced = Paced(interleaved(), clock=clock)
        async with paced:
            count = 0
            anchors = set()
            async for one in paced:
                count += 1
                anchors.add(paced._anchor)
                # It stands still with the machine, whose stall would be one of the stream.
                clock.advance_ms(max(0.0, float(one.time_s) * 1000 - clock.now_ns() / 1e6))
        assert len(anchors) == 1
        return count

    assert asyncio.run(play()) == 40


def test_a_jump_of_the_time_stamps_is_no_wait() -> None:
    async def jumping() -> AsyncIterator[Packet]:
        yield packet(0)
        yield packet(3600)
        yield packet(3600.01)

    async def play() -> None:
        async with asyncio.timeout(60):
            assert len(await released(jumping())) == 3

    asyncio.run(play())


def test_what_came_before_an_error_comes_out_before_it() -> None:
    got = []

    async def breaking() -> AsyncIterator[Packet]:
        for number in range(3):
            yield packet(number / 100)
        raise SourceLost("gone")

    async def play() -> None:
        async with Paced(breaking(), clock=CLOCK) as paced:
            async for one in paced:
                got.append(one)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(SourceLost, match="gone"):
        asyncio.run(play())
    assert len(got) == 3


def test_reading_ahead_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_pace, "AHEAD_BYTES", 10_000)
    made = 0

    async def endless() -> AsyncIterator[Packet]:
        nonlocal made
        while True:
            made += 1
            yield packet(made * 5, size=1000)

    async def play() -> None:
        async with Paced(endless(), clock=CLOCK) as paced:
            async for _ in paced:
                for _ in range(100):
                    await asyncio.sleep(0)
                break
        assert made <= 13

    asyncio.run(play())
