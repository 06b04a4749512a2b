"""One viewer's own ring of packets, so that a slow viewer loses only its own."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class RingClosed(Exception):
    """Nothing will come out of this ring any more."""


class PacketRing(Generic[Item]):
    """Bounded; begins at a keyframe, and when full it skips to the next one.

    It takes nothing before ``open``, so that packets do not pile up for a viewer who is still
    connecting. Used from the event loop only, by one reader.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"a ring holds at least one packet, not {capacity}")
        self._capacity = capacity
        self._items: deque[Item] = deque()
        self._arrival = asyncio.Event()
        self.is_open = False
        self._is_closed = False
        self._is_skipping = False
        self.needs_keyframe = True
        self.dropped = 0

    def open(self) -> None:
        """Take packets from now on, beginning with the next keyframe."""
        self.is_open = True

    def push(self, item: Item, *, is_keyframe: bool) -> bool:
        """Take ``item`` or drop it; true when this push made the ring overflow."""
        if not self.is_open or self._is_closed:
            return False
        if self.needs_keyframe and not is_keyframe:
            self.dropped += self._is_skipping
            return False
        overflows = len(self._items) >= self._capacity
        if overflows:
            self._drop_all()
            if not is_keyframe:
                self.dropped += 1
                self.needs_keyframe = True
                return True
        self.needs_keyframe = self._is_skipping = False
        self._items.append(item)
        self._arrival.set()
        return overflows

    async def take(self) -> Item:
        """The oldest packet, as soon as there is one; raises ``RingClosed`` at the end."""
        while not self._items:
            if self._is_closed:
                raise RingClosed
            self._arrival.clear()
            await self._arrival.wait()
        return self._items.popleft()

    def close(self) -> None:
        self._is_closed = True
        self._items.clear()
        self._arrival.set()

    def _drop_all(self) -> None:
        self.dropped += len(self._items)
        self._items.clear()
        self._is_skipping = True
