from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from streamer.clock import Clock, ManualClock
from streamer.link import Link, LinkEnded, Overflow


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Runs it in an event loop; one that hangs fails."""
    asyncio.run(asyncio.wait_for(scenario, timeout=60))


async def drained(link: Link[str]) -> list[str]:
    await link.close()
    return [item async for item in link]


def skipping(
    capacity: int, gaps: list[int], *, patience_ms: int = 0, clock: Clock | None = None
) -> Link[str]:
    return Link(
        "packets",
        capacity=capacity,
        overflow=Overflow.SKIP_TO_KEYFRAME,
        is_keyframe=str.isupper,
        on_overflow=lambda: gaps.append(1),
        patience_ns=patience_ms * 1_000_000,
        clock=clock,
    )


def test_a_full_link_that_waits_loses_nothing() -> None:
    async def scenario() -> None:
        link: Link[int] = Link("frames", capacity=2, overflow=Overflow.WAIT)

        async def fill() -> None:
            for number in range(50):
                await link.put(number)
            await link.close()

        filling = asyncio.ensure_future(fill())
        for _ in range(20):
            await asyncio.sleep(0)
        assert link.depth == 2
        assert not filling.done()
        assert [item async for item in link] == list(range(50))
        assert link.dropped == 0

    run(scenario())


def test_a_full_link_that_drops_lets_go_of_the_oldest() -> None:
    async def scenario() -> None:
        link: Link[str] = Link("frames", capacity=2, overflow=Overflow.DROP_OLDEST)
        for item in "abcde":
            await link.put(item)
        assert link.dropped == 3
        assert await drained(link) == ["d", "e"]

    run(scenario())


def test_a_full_link_that_skips_refuses_items_until_a_keyframe_and_asks_for_one_once() -> None:
    async def scenario() -> None:
        gaps: list[int] = []
        link = skipping(3, gaps)
        for item in "Kabcde":
            await link.put(item)
        assert gaps == [1]
        assert link.dropped == 3
        # The keyframe also throws out what waits: nothing after it refers to that.
        await link.put("L")
        await link.put("x")
        assert link.dropped == 6
        assert await drained(link) == ["L", "x"]

    run(scenario())


def test_a_link_that_skips_goes_on_skipping_when_there_is_room_again() -> None:
    async def scenario() -> None:
        gaps: list[int] = []
        link = skipping(2, gaps)
        for item in "Kab":
            await link.put(item)
        reader = link.__aiter__()
        assert [await anext(reader), await anext(reader)] == ["K", "a"]
        await link.put("c")
        assert link.depth == 0
        await link.put("M")
        assert await anext(reader) == "M"
        assert gaps == [1]
        for item in "def":
            await link.put(item)
        assert gaps == [1, 1]

    run(scenario())


def test_what_came_at_once_and_is_soon_read_is_not_skipped() -> None:
    async def scenario() -> None:
        gaps: list[int] = []
        clock = ManualClock()
        link = skipping(2, gaps, patience_ms=1000, clock=clock)
        for item in "Kabcdef":
            await link.put(item)
        clock.advance_ms(900)
        assert [await link.get() for _ in range(6)] == list("Kabcde")
        clock.advance_ms(900)
        # It was not full all the time.
        for item in "ghi":
            await link.put(item)
        assert await drained(link) == list("fghi")
        assert not gaps

    run(scenario())


def test_a_link_that_stays_full_skips_though_it_is_read() -> None:
    async def scenario() -> None:
        gaps: list[int] = []
        clock = ManualClock()
        link = skipping(2, gaps, patience_ms=1000, clock=clock)
        for item in "Kab":
            await link.put(item)
        for item in "cdefg":
            clock.advance_ms(400)
            assert await link.get()
            await link.put(item)
        assert gaps == [1]
        await link.put("L")
        await link.put("x")
        assert await drained(link) == ["L", "x"]

    run(scenario())


def test_what_waits_when_a_link_closes_is_still_read() -> None:
    async def scenario() -> None:
        link: Link[str] = Link("frames", capacity=4, overflow=Overflow.DROP_OLDEST)
        await link.put("a")
        await link.put("b")
        assert await drained(link) == ["a", "b"]
        await link.put("c")
        assert link.depth == 0
        assert link.dropped == 1

    run(scenario())


def test_what_is_put_at_the_end_waits_for_room() -> None:
    async def scenario() -> None:
        link: Link[str] = Link("frames", capacity=1, overflow=Overflow.DROP_OLDEST)
        await link.put("a")
        link.keep_all()
        writing = asyncio.ensure_future(link.put("b"))
        await asyncio.sleep(0)
        assert not writing.done()
        assert await link.get() == "a"
        await writing
        assert await drained(link) == ["b"]
        assert link.dropped == 0

    run(scenario())


def test_closing_frees_a_reader_and_a_writer_that_wait() -> None:
    async def scenario() -> None:
        empty: Link[str] = Link("empty", capacity=1, overflow=Overflow.WAIT)
        reading = asyncio.ensure_future(anext(empty.__aiter__(), "the end"))
        full: Link[str] = Link("full", capacity=1, overflow=Overflow.WAIT)
        await full.put("a")
        writing = asyncio.ensure_future(full.put("b"))
        await asyncio.sleep(0)
        await empty.close()
        await full.close()
        assert await reading == "the end"
        await writing
        assert full.dropped == 1

    run(scenario())


def test_a_link_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity=0, must be >= 1"):
        Link("frames", capacity=0, overflow=Overflow.WAIT)
    with pytest.raises(ValueError, match="needs is_keyframe"):
        Link("packets", capacity=1, overflow=Overflow.SKIP_TO_KEYFRAME)


def test_a_wait_that_was_given_up_loses_nothing() -> None:
    async def run() -> list[int]:
        link: Link[int] = Link("test", capacity=4, overflow=Overflow.WAIT)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await link.get()
        await link.put(1)
        await link.put(2)
        await link.close()
        taken = [await link.get(), await link.get()]
        with pytest.raises(LinkEnded):
            await link.get()
        return taken

    assert asyncio.run(run()) == [1, 2]
