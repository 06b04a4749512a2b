"""How long nothing was heard of a peer while this program could have heard it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from streamer.clock import Clock

LOOK_EVERY_S = 0.5

_MOST_NS = 1_000_000_000
"""What counts between two looks at most. Whoever looks later than that was stopped, or had no
processor: what the peer sent meanwhile waits in a socket, and is heard only after this look."""


class Silence:
    """Counts only while it is looked at every ``LOOK_EVERY_S`` or more often."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looked_ns = clock.now_ns()
        self._silent_ns = 0
        self._next_look: asyncio.TimerHandle | None = None

    def look(self) -> float:
        """The seconds of silence by now."""
        now_ns = self._clock.now_ns()
        self._silent_ns += min(now_ns - self._looked_ns, _MOST_NS)
        self._looked_ns = now_ns
        return self._silent_ns / 1e9

    def broken(self) -> None:
        """Something was heard: from here on it counts anew."""
        self._looked_ns, self._silent_ns = self._clock.now_ns(), 0

    @asynccontextmanager
    async def for_at_most(self, limit_s: float) -> AsyncGenerator[None, None]:
        """Looks while the body waits, which is given up with ``TimeoutError`` when the silence has
        lasted so long. What passed before does not count: nobody listened."""
        self._looked_ns = self._clock.now_ns()
        async with asyncio.timeout(None) as timeout:
            self._look_again(limit_s, timeout)
            try:
                yield
            finally:
                if self._next_look is not None:
                    self._next_look.cancel()
                self.look()

    def _look_again(self, limit_s: float, timeout: asyncio.Timeout) -> None:
        loop = asyncio.get_running_loop()
        left_s = limit_s - self.look()
        if left_s <= 0:
            timeout.reschedule(loop.time())
            return
        wait_s = min(LOOK_EVERY_S, left_s)
        self._next_look = loop.call_later(wait_s, self._look_again, limit_s, timeout)
