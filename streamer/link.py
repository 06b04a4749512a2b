"""The only queue in the system: bounded, closable, and it counts its losses."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from enum import Enum
from typing import Generic, TypeVar

from streamer.clock import Clock, MonotonicClock

T = TypeVar("T")


class Overflow(Enum):
    """What ``put`` does when the link is full."""

    WAIT = "wait"
    DROP_OLDEST = "drop_oldest"
    SKIP_TO_KEYFRAME = "skip_to_keyframe"


class LinkEnded(Exception):
    """A link was closed and everything in it was read."""


class Link(Generic[T]):
    """Carries items from one task to one other, in order.

    With ``SKIP_TO_KEYFRAME`` a link that has been full for ``patience_ns`` refuses items until one
    comes for which ``is_keyframe`` holds; that one also throws out what still waits, since nothing
    after it refers to it. ``on_overflow`` is called once for each such gap. Until then it takes more
    than its ``capacity``: what comes at once after a standstill is soon read, and to leave it out
    would cost all pictures up to the next keyframe.
    """

    def __init__(
        self,
        name: str,
        *,
        capacity: int,
        overflow: Overflow,
        is_keyframe: Callable[[T], bool] | None = None,
        on_overflow: Callable[[], None] | None = None,
        patience_ns: int = 0,
        clock: Clock | None = None,
    ) -> None:
        if capacity < 1:
            raise ValueError(f"link {name}: capacity={capacity}, must be >= 1")
        if overflow is Overflow.SKIP_TO_KEYFRAME and is_keyframe is None:
            raise ValueError(f"link {name}: skipping to a keyframe needs is_keyframe")
        self.name = name
        self.dropped = 0
        """Items that were lost."""
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._overflow = overflow
        self._is_keyframe = is_keyframe
        self._on_overflow = on_overflow
        self._patience_ns = patience_ns
        self._clock = clock or MonotonicClock()
        self._full_since_ns: int | None = None
        self._skipping = False
        self._closed = False
        self._changed = asyncio.Condition()

    @property
    def depth(self) -> int:
        """Items that wait now."""
        return len(self._items)

    async def put(self, item: T) -> None:
        """Hand over one item; only ``WAIT`` ever waits."""
        async with self._changed:
            if self._overflow is Overflow.WAIT:
                await self._changed.wait_for(
                    lambda: len(self._items) < self._capacity or self._closed
                )
            if self._closed or not self._make_room(item):
                self.dropped += 1
                return
            self._items.append(item)
            self._changed.notify_all()

    @property
    def keeps_all(self) -> bool:
        """Whether ``put`` waits when the link is full, so that nothing is lost."""
        return self._overflow is Overflow.WAIT

    def keep_all(self) -> None:
        """From now on ``put`` waits in every case: what comes is the end, and nothing follows it that
        would have to be caught up with."""
        self._overflow = Overflow.WAIT

    async def close(self) -> None:
        """No more puts; the reader still gets what is queued."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    async def get(self) -> T:
        """The next item. Raises ``LinkEnded`` when it is closed and empty.

        Nothing is lost where the wait is cancelled, by a timeout for example.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self._items or self._closed)
            if not self._items:
                raise LinkEnded
            self._changed.notify_all()
            item = self._items.popleft()
            if len(self._items) < self._capacity:
                self._full_since_ns = None
            return item

    async def until_empty(self) -> None:
        """Wait until all that was put has been taken, or it is closed."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._items or self._closed)

    async def __aiter__(self) -> AsyncIterator[T]:
        with suppress(LinkEnded):
            while True:
                yield await self.get()

    def _make_room(self, item: T) -> bool:
        """Whether ``item`` may enter, after the overflow rule has been applied."""
        if self._overflow is Overflow.SKIP_TO_KEYFRAME:
            return self._skip_or_enter(item)
        if len(self._items) >= self._capacity:
            self._items.popleft()
            self.dropped += 1
        return True

    def _skip_or_enter(self, item: T) -> bool:
        assert self._is_keyframe is not None
        if not self._skipping and not self._is_full_for_long():
            return True
        if self._is_keyframe(item):
            self.dropped += len(self._items)
            self._items.clear()
            self._full_since_ns = None
            self._skipping = False
            return True
        if not self._skipping and self._on_overflow is not None:
            self._on_overflow()
        self._skipping = True
        return False

    def _is_full_for_long(self) -> bool:
        if len(self._items) < self._capacity:
            return False
        now_ns = self._clock.now_ns()
        if self._full_since_ns is None:
            self._full_since_ns = now_ns
        return now_ns - self._full_since_ns >= self._patience_ns
