"""An event loop whose time passes only while nothing is left to do: hours of a stream in a moment."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import TypeVar

from streamer.clock import ManualClock

T = TypeVar("T")


class _Selector(selectors.SelectSelector):
    """Moves the clock on where it would wait."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everybody waits for something that nobody will do"
            self._clock.advance_ms(max(0.0, timeout) * 1000)
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        super().__init__(_Selector(clock))

    def time(self) -> float:
        return self._clock.now_ns() / 1e9


def run(main: Coroutine[object, object, T], clock: ManualClock) -> T:
    """What ``main`` gives; its sleeps and timeouts are by ``clock``, which they move. No threads."""
    with asyncio.Runner(loop_factory=lambda: _Loop(clock)) as runner:
        return runner.run(main)
