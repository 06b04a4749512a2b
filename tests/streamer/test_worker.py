from __future__ import annotations

import asyncio
import threading

import pytest

from streamer.worker import Worker


def test_calls_run_in_order_on_one_thread_that_is_not_the_loops() -> None:
    async def scenario() -> None:
        seen: list[tuple[int, int]] = []

        def note(number: int) -> int:
            seen.append((number, threading.get_ident()))
            return number * 2

        async with Worker("decode") as worker:
            answers = await asyncio.gather(*(worker.call(note, n) for n in range(20)))
        assert answers == [2 * n for n in range(20)]
        assert [number for number, _ in seen] == list(range(20))
        threads = {thread for _, thread in seen}
        assert len(threads) == 1
        assert threading.get_ident() not in threads

    asyncio.run(scenario())


def test_an_exception_reaches_the_caller_and_the_worker_goes_on() -> None:
    def fail() -> None:
        raise LookupError("no such thing")

    async def scenario() -> None:
        async with Worker("decode") as worker:
            with pytest.raises(LookupError, match="no such thing"):
                await worker.call(fail)
            assert await worker.call(str, 7) == "7"

    asyncio.run(scenario())


def test_a_cancelled_caller_leaves_its_call_to_finish() -> None:
    async def scenario() -> None:
        began, may_end, ended = (threading.Event() for _ in range(3))

        def slow() -> None:
            began.set()
            assert may_end.wait(10)
            ended.set()

        async with Worker("encode") as worker:
            calling = asyncio.ensure_future(worker.call(slow))
            await asyncio.to_thread(began.wait, 10)
            calling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await calling
            assert not ended.is_set()
            may_end.set()
            # The next call waits for its turn, so the first has ended by then.
            assert await worker.call(ended.is_set)

    asyncio.run(scenario())


def test_its_thread_ends_with_it() -> None:
    async def scenario() -> None:
        async with Worker("short-lived") as worker:
            await worker.call(int)
            assert "short-lived" in " ".join(t.name for t in threading.enumerate())
        assert "short-lived" not in " ".join(t.name for t in threading.enumerate())

    asyncio.run(scenario())
