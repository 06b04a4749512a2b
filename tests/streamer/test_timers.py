"""A loop with fine timers does what any loop does, and wakes no sooner than it is asked to."""

from __future__ import annotations

import asyncio
import ctypes
import os
import platform
import selectors
import sys
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from streamer.timers import SETS_ATTRIBUTES, SLICE_NS, be_prompt, fine_loop

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


def slice_ns() -> int:
    """Of this thread, as the system has it."""
    numbers = {"x86_64": 315, "aarch64": 275}
    attributes = (ctypes.c_uint64 * 7)()
    number = numbers[platform.machine()]
    size = ctypes.sizeof(attributes)
    assert not ctypes.CDLL(None).syscall(number, 0, ctypes.byref(attributes), size, 0)
    return attributes[3]


HAS_SLICES = pytest.mark.skipif(
    sys.platform != "linux"
    or platform.machine() not in SETS_ATTRIBUTES
    or tuple(map(int, platform.release().split(".")[:2])) < (6, 12),
    reason="a thread has a slice of its own since Linux 6.12",
)


@HAS_SLICES
def test_its_thread_is_prompt_and_those_that_it_begins_are_not() -> None:
    async def look() -> tuple[int, int]:
        return slice_ns(), await asyncio.to_thread(slice_ns)

    with ThreadPoolExecutor() as threads:
        own, of_another = threads.submit(run, look).result()
    assert own == SLICE_NS
    assert of_another != SLICE_NS


@NEEDS_TIMERFD
@pytest.mark.parametrize("policy", [os.SCHED_OTHER, os.SCHED_BATCH])
def test_a_thread_stays_as_nice_as_it_is_and_under_its_policy(policy: int) -> None:
    def try_it() -> tuple[int, int]:
        os.sched_setscheduler(0, policy, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, 0, 7)
        be_prompt()
        left = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
        return left, os.getpriority(os.PRIO_PROCESS, 0)

    with ThreadPoolExecutor() as threads:
        assert threads.submit(try_it).result() == (policy, 7)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may ask for more than others have")
def test_threads_of_one_that_comes_before_others_come_before_them_as_well() -> None:
    def look() -> tuple[int, int]:
        os.setpriority(os.PRIO_PROCESS, 0, -5)
        be_prompt()
        with ThreadPoolExecutor() as own:
            its = own.submit(os.getpriority, os.PRIO_PROCESS, 0).result()
        return os.getpriority(os.PRIO_PROCESS, 0), its

    with ThreadPoolExecutor() as threads:
        assert threads.submit(look).result() == (-5, -5)
