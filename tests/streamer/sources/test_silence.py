"""Silence of a peer and a program that stands still, which is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest

from streamer.clock import ManualClock
from streamer.frame import Packet
from streamer.sources.silence import LOOK_EVERY_S, Silence
from tests.streamer import virtual_time
from tests.streamer.sources.test_lasting import (
    QUICK,
    SOUND,
    Camera,
    Cameras,
    opened,
    packet,
    taken,
)


def test_silence_is_what_passes_between_looks_until_something_is_heard() -> None:
    clock = ManualClock()
    silence = Silence(clock)
    for number in range(1, 5):
        clock.advance_ms(1000 * LOOK_EVERY_S)
        assert silence.look() == number * LOOK_EVERY_S
    silence.broken()
    clock.advance_ms(100)
    assert silence.look() == pytest.approx(0.1)


def test_of_a_stall_no_more_counts_than_two_looks_are_apart() -> None:
    clock = ManualClock()
    silence = Silence(clock)
    clock.advance_ms(3_600_000)
    assert silence.look() == 2 * LOOK_EVERY_S


def test_what_passed_while_nobody_listened_does_not_count() -> None:
    clock = ManualClock()
    silence = Silence(clock)

    async def listen() -> float:
        for _ in range(10):
            async with silence.for_at_most(1.0):
                await asyncio.sleep(0.09)
            await asyncio.sleep(0.3)
        began_ns = clock.now_ns()
        with pytest.raises(TimeoutError):
            async with silence.for_at_most(1.0):
                await asyncio.sleep(60)
        return (clock.now_ns() - began_ns) / 1e9

    assert virtual_time.run(listen(), clock) == pytest.approx(0.1, abs=0.01)


@dataclass(eq=False)
class Socket(Camera):
    """A connection whose packets come when a test puts them in."""

    came: asyncio.Queue[Packet] = field(default_factory=asyncio.Queue)

    async def packets(self) -> AsyncIterator[Packet]:
        while True:
            yield await self.came.get()


@pytest.mark.parametrize("stall_s", [4.1, 9.0, 40.0])
@pytest.mark.parametrize("has_sound", [False, True])
def test_a_program_that_stood_still_does_not_take_its_source_for_silent(
    stall_s: float, *, has_sound: bool
) -> None:
    clock = ManualClock()

    async def play() -> list[str]:
        socket = Socket([], audio=SOUND)
        source = await opened(
            Cameras(socket), clock=clock, patience=replace(QUICK, silent_after_s=5)
        )

        async def send() -> None:
            socket.came.put_nowait(packet(0, is_keyframe=True))
            await asyncio.sleep(1)
            # Everything stops; what was sent meanwhile is read when it goes on, a little later.
            clock.advance_ms(1000 * stall_s)
            await asyncio.sleep(0.02)
            if has_sound:
                socket.came.put_nowait(packet(1, stream="audio"))
                await asyncio.sleep(0.02)
            socket.came.put_nowait(packet(2))

        sending = asyncio.create_task(send())
        got = await taken(source, 3 if has_sound else 2)
        await sending
        assert source.reason == ""
        return [one.stream for one in got]

    streams = virtual_time.run(play(), clock)
    assert streams == (["video", "audio", "video"] if has_sound else ["video", "video"])


def test_a_source_that_fell_silent_is_lost_though_the_program_stood_still_meanwhile() -> None:
    clock = ManualClock()

    async def play() -> None:
        socket = Socket([])
        again = Camera([packet(0, is_keyframe=True), "silence"])
        source = await opened(
            Cameras(socket, again), clock=clock, patience=replace(QUICK, silent_after_s=5)
        )

        async def stall() -> None:
            socket.came.put_nowait(packet(0, is_keyframe=True))
            await asyncio.sleep(1)
            clock.advance_ms(30_000)

        stalling = asyncio.create_task(stall())
        assert (await taken(source, 2))[1].follows_loss
        await stalling
        assert "sent no picture for 5 s" in source.reason
        assert 34 <= clock.now_ns() / 1e9 <= 37

    virtual_time.run(play(), clock)
