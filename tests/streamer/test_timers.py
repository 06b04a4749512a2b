"""A loop with fine timers does what any loop does, and wakes no sooner than it is asked to."""

from __future__ import annotations

import asyncio
import os
import selectors
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from streamer.timers import fine_loop

NEEDS_TIMERFD = pytest.mark.skipif(sys.platform != "linux", reason="timerfd is Linux's")


def run(of: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    with asyncio.Runner(loop_factory=fine_loop) as runner:
        return runner.run(of())


@NEEDS_TIMERFD
def test_its_selector_is_the_fine_one() -> None:
    async def look() -> str:
        loop: Any = asyncio.get_running_loop()
        return type(loop._selector).__name__

    assert run(look) == "_FineSelector"


def test_sleeps_end_in_order_and_none_too_soon() -> None:
    waits_s = (0.021, 0.0004, 0.0123, 0.0, 0.0077)
    ended: list[float] = []

    async def sleep(wait_s: float) -> None:
        began = time.monotonic()
        await asyncio.sleep(wait_s)
        assert time.monotonic() - began >= wait_s - 1e-6
        ended.append(wait_s)

    async def sleep_all() -> None:
        await asyncio.gather(*map(sleep, waits_s))

    run(sleep_all)
    assert ended == sorted(waits_s)


def test_another_thread_and_a_socket_wake_it_while_no_timer_runs() -> None:
    async def wait() -> bytes:
        await asyncio.to_thread(time.sleep, 0.01)
        left, right = os.pipe()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(left, "rb"))
        os.write(right, b"awake")
        os.close(right)
        return await reader.read()

    assert run(wait) == b"awake"


@NEEDS_TIMERFD
def test_a_timer_that_has_run_out_wakes_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float | None] = []
    select = selectors.EpollSelector.select

    def counted(self: selectors.EpollSelector, timeout: float | None = None) -> Any:
        looks.append(timeout)
        return select(self, timeout)

    monkeypatch.setattr(selectors.EpollSelector, "select", counted)

    async def wait() -> int:
        await asyncio.sleep(0.001)
        looked = len(looks)
        # Nothing is due: the loop waits for the thread, and must not turn meanwhile.
        await asyncio.to_thread(time.sleep, 0.2)
        return len(looks) - looked

    assert run(wait) < 20


@NEEDS_TIMERFD
def test_nothing_is_left_open() -> None:
    async def nothing() -> None:
        await asyncio.sleep(0)

    run(nothing)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        run(nothing)
    assert len(os.listdir("/proc/self/fd")) == before


@NEEDS_TIMERFD
def test_a_system_without_timerfd_gets_the_usual_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.timers.CLOCK_MONOTONIC", 12345)

    async def look() -> str:
        loop: Any = asyncio.get_running_loop()
        await asyncio.sleep(0.001)
        return type(loop._selector).__name__

    assert run(look) == "EpollSelector"
