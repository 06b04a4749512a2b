"""Releases what comes in bursts, files and HLS segments, at the rate it was made for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from fractions import Fraction
from types import TracebackType
from typing import Self

from streamer.clock import Clock
from streamer.frame import Packet

AHEAD_BYTES = 1 << 25
"""32 MiB: a segment of 10 s at 25 Mbit/s. Reading waits while so much is held."""

_NS_PER_S = 1_000_000_000
_JUMP_NS = 10 * _NS_PER_S
"""A step in the time stamps larger than this is a new timeline, not a wait."""

_LATE_NS = 300_000_000
"""Audio lies a little before the video it comes after; only more than this is a stall."""


class Paced:
    """An iterator over ``packets`` in their own time; reads ahead on a task of its own."""

    def __init__(self, packets: AsyncIterator[Packet], *, clock: Clock) -> None:
        self._packets = packets
        self._clock = clock
        self._held: deque[Packet] = deque()
        self._held_bytes = 0
        self._changed = asyncio.Condition()
        self._is_over = False
        self._reading: asyncio.Task[None] | None = None
        self._anchor: tuple[int, Fraction] | None = None

    async def __aenter__(self) -> Self:
        self._reading = asyncio.create_task(self._read_ahead(), name="read ahead")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._reading is not None
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        if isinstance(self._packets, AsyncGenerator):
            await self._packets.aclose()

    async def __aiter__(self) -> AsyncIterator[Packet]:
        """Raises what reading raised, after all that was read before."""
        assert self._reading is not None
        while (packet := await self._take()) is not None:
            await self._wait_for(packet.dts * packet.time_base)
            yield replace(packet, arrived_ns=self._clock.now_ns())
        await self._reading

    async def _read_ahead(self) -> None:
        try:
            async for packet in self._packets:
                async with self._changed:
                    await self._changed.wait_for(lambda: self._held_bytes < AHEAD_BYTES)
                    self._held.append(packet)
                    self._held_bytes += len(packet.payload)
                    self._changed.notify_all()
        finally:
            async with self._changed:
                self._is_over = True
                self._changed.notify_all()

    async def _take(self) -> Packet | None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._held or self._is_over)
            if not self._held:
                return None
            packet = self._held.popleft()
            self._held_bytes -= len(packet.payload)
            self._changed.notify_all()
            return packet

    async def _wait_for(self, at_s: Fraction) -> None:
        """Until its time, counted from the first packet or from the last that came much too late."""
        now_ns = self._clock.now_ns()
        if self._anchor is None:
            self._anchor = (now_ns, at_s)
        early_ns = self._anchor[0] + round((at_s - self._anchor[1]) * _NS_PER_S) - now_ns
        if early_ns < -_LATE_NS or early_ns > _JUMP_NS:
            # What follows keeps its distance from this one, or it would come in a burst.
            self._anchor = (now_ns, at_s)
        elif early_ns > 0:
            await asyncio.sleep(early_ns / _NS_PER_S)
