import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from streamer.clock import ManualClock, MonotonicClock
from streamer.errors import SourceLost
from streamer.frame import RTP_TIME_BASE, Packet
from streamer.media import Color, VideoInfo
from streamer.sources import network_pace
from streamer.sources.network_pace import Paced
from tests.streamer.virtual_time import run

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


@pytest.mark.parametrize("is_live", [True, False])
def test_how_far_a_stall_left_a_live_stream_behind_is_made_up_for(*, is_live: bool) -> None:
    clock = ManualClock()
    late_s: list[float] = []
    skipped_s: list[float] = []
    described: list[float] = []
    info = VideoInfo(
        codec="h264",
        width=64,
        height=64,
        fps=None,
        time_base=RTP_TIME_BASE,
        color=Color(matrix="bt601"),
    )

    async def segments() -> AsyncIterator[Packet]:
        """Six seconds each, with three keyframes. At 72 s their server is away for ten."""
        for segment in range(40):
            due_s = 6 * segment if segment < 12 else max(6 * segment, 82)
            await asyncio.sleep(due_s - clock.now_ns() / 1e9)
            for number in range(12):
                at_s = 6 * segment + number / 2
                one = replace(packet(at_s), is_keyframe=number % 4 == 0)
                yield replace(one, video=info) if at_s == 172 else one

    async def play() -> None:
        on_skip = skipped_s.append if is_live else None
        async with Paced(segments(), clock=clock, on_skip=on_skip) as paced:
            async for one in paced:
                late_s.append(one.arrived_ns / 1e9 - float(one.time_s))
                assert one.is_keyframe or not (one.follows_loss or one.video)
                described.extend([float(one.time_s)] * (one.video is not None))

    run(play(), clock)
    assert 9 < max(late_s) < 11
    assert (late_s[-1] < 2) is is_live
    assert len(skipped_s) == is_live
    # What the picture is from there on is said, wherever it goes on.
    assert len(described) == 1
    assert (described[0] > 172) is is_live


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


def test_sound_that_is_read_after_all_pictures_of_a_fragment_leaves_with_its_picture() -> None:
    """As libav reads fragmented MP4 that cannot be seeked, as in HLS."""
    clock = ManualClock()

    async def fragments() -> AsyncIterator[Packet]:
        for fragment in range(5):
            await asyncio.sleep(4 * fragment - clock.now_ns() / 1e9)
            for number in range(100):
                yield packet(4 * fragment + number / 25)
            for number in range(200):
                yield replace(packet(4 * fragment + number / 50), stream="audio")

    async def play() -> list[Packet]:
        async with Paced(fragments(), clock=clock) as paced:
            return [one async for one in paced]

    got = run(play(), clock)
    assert [one.dts for one in got] == sorted(one.dts for one in got)
    assert {one.stream for one in got[:20]} == {"video", "audio"}
    assert all(abs(one.arrived_ns / 1e9 - float(one.time_s)) < 0.01 for one in got)


def test_each_timeline_leaves_whole_whichever_stream_is_on_the_new_one_first() -> None:
    clock = ManualClock()

    async def restarted() -> AsyncIterator[Packet]:
        for begin_s in (1000, 0):
            for number in range(100):
                one = packet(begin_s + number % 50 / 25)
                yield one if number < 50 else replace(one, stream="audio")

    async def play() -> list[Packet]:
        async with Paced(restarted(), clock=clock) as paced:
            return [one async for one in paced]

    got = run(play(), clock)
    begun = [float(one.time_s) >= 1000 for one in got]
    assert begun == [True] * 100 + [False] * 100
