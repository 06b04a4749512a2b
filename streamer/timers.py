"""An event loop whose timers are as fine as the system's.

asyncio waits by ``epoll``, in whole milliseconds rounded up: whoever asks for an instant gets one up to a
millisecond later, which at 60 pictures a second is seen by whoever measures. A ``timerfd`` among what
is waited for wakes the loop within a tenth of that (timerfd_create(2), since Linux 2.6.25).

Who is woken also needs a core. While networks and encoders have all of them, Linux lets one of these use up
its slice of 1.5 to 3 ms first, unless who is woken asked for shorter ones (sched_setattr(2), since 6.12).
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import platform
import select
import selectors
import sys
from typing import Any

CLOCK_MONOTONIC = 1
TFD_NONBLOCK, TFD_CLOEXEC = os.O_NONBLOCK, getattr(os, "O_CLOEXEC", 0)

SLICE_NS = 100_000
"""The shortest there is. All it changes is who is first: a thread has as much of the cores as before."""

SETS_ATTRIBUTES = {"x86_64": 314, "aarch64": 274}
"""Numbers of the system call, which the C library has no name for."""

RESET_ON_FORK = 1
"""As a flag of this call: threads and processes that are begun by this one do not get it."""


def fine_loop() -> asyncio.AbstractEventLoop:
    """A new loop, with fine timers where the system has them, for this thread, which becomes prompt."""
    be_prompt()
    if sys.platform == "linux":
        try:
            return asyncio.SelectorEventLoop(_FineSelector())
        except (OSError, AttributeError):
            pass
    return asyncio.new_event_loop()


def be_prompt() -> None:
    """Have this thread run as soon as it is woken, where the system lets it: what sends pictures at their
    times takes a few percent of a core, and must not wait for what takes all of them."""
    number = SETS_ATTRIBUTES.get(platform.machine())
    if sys.platform != "linux" or number is None:
        return
    policy = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    if policy != os.SCHED_OTHER or nice < 0:
        # Somebody gave it what it needs; and threads that it begins would lose what is below 0.
        return
    wanted = _Attributes(
        ctypes.sizeof(_Attributes), flags=RESET_ON_FORK, nice=nice, runtime=SLICE_NS
    )
    # Where it is refused, or means nothing, all is as it was.
    ctypes.CDLL(None).syscall(number, 0, ctypes.byref(wanted), 0)


class _Attributes(ctypes.Structure):
    """As ``struct sched_attr`` of the first version, for the usual policy at the usual niceness."""

    _fields_ = (
        *(("size", ctypes.c_uint32), ("policy", ctypes.c_uint32), ("flags", ctypes.c_uint64)),
        *(("nice", ctypes.c_int32), ("priority", ctypes.c_uint32)),
        *(("runtime", ctypes.c_uint64), ("deadline", ctypes.c_uint64), ("period", ctypes.c_uint64)),
    )


class _Time(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Timer(ctypes.Structure):
    """As ``struct itimerspec``."""

    _fields_ = (("interval", _Time), ("value", _Time))


class _FineSelector(selectors.EpollSelector):
    """Wakes when its time is up, not at the millisecond after."""

    def __init__(self) -> None:
        """Raises ``OSError`` or ``AttributeError`` where there is no ``timerfd``."""
        super().__init__()
        libc = ctypes.CDLL(None, use_errno=True)
        self._set = libc.timerfd_settime
        self._set.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.POINTER(_Timer), ctypes.c_void_p)
        self._timer = _Timer()
        self._timer_at = ctypes.byref(self._timer)
        self._is_set = False
        self._timer_fd = libc.timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
        if self._timer_fd < 0:
            super().close()
            raise OSError(ctypes.get_errno(), "timerfd_create")
        # Not among the registered files: that it is ready concerns nobody, only that it wakes.
        self._epoll: Any = self._selector  # type: ignore[attr-defined]
        self._epoll.register(self._timer_fd, select.EPOLLIN)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            if self._is_set:
                self._wake_after(0)
        elif timeout > 0:
            self._wake_after(max(1, round(timeout * 1e9)))
        return super().select(timeout)

    def close(self) -> None:
        if self._timer_fd >= 0:
            os.close(self._timer_fd)
            self._timer_fd = -1
        super().close()

    def _wake_after(self, wait_ns: int) -> None:
        """Once; 0 is never. What has run out before is forgotten."""
        value = self._timer.value
        value.seconds, value.nanoseconds = divmod(wait_ns, 1_000_000_000)
        self._set(self._timer_fd, 0, self._timer_at, None)
        self._is_set = wait_ns > 0
