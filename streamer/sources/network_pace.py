"""Releases what comes in bursts, files and HLS segments, at the rate it was made for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
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

_WATCHED_NS = 60 * _NS_PER_S
"""Longer than anything that comes in bursts takes from one burst to the next."""
_NEEDLESS_S = 2
"""What is held at the emptiest moment of that time is latency and no more. As long as it was so from
the beginning the picture need not jump for it."""


class Paced:
    """An iterator over ``packets`` in their own time; reads ahead on a task of its own.

    Each stall of a live playlist leaves it further behind: its server keeps what players missed,
    often for hours. With ``on_skip`` that is left out up to a keyframe, and told in seconds.
    """

    def __init__(
        self,
        packets: AsyncIterator[Packet],
        *,
        clock: Clock,
        on_skip: Callable[[float], None] | None = None,
    ) -> None:
        self._packets = packets
        self._clock = clock
        self._on_skip = on_skip
        self._since_ns = clock.now_ns()
        self._least_s: Fraction | None = None
        """What was held at the emptiest moment since then."""
        self._usual_s: Fraction | None = None
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
            if self._on_skip is not None:
                packet = await self._nearer(packet, self._on_skip)
            await self._wait_for(_decoded_at(packet))
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

    async def _nearer(self, packet: Packet, on_skip: Callable[[float], None]) -> Packet:
        """``packet``, or a keyframe after it where more was held than is of use."""
        newest = self._held[-1] if self._held else packet
        held_s = max(Fraction(0), _decoded_at(newest) - _decoded_at(packet))
        self._least_s = held_s if self._least_s is None else min(self._least_s, held_s)
        now_ns = self._clock.now_ns()
        if now_ns - self._since_ns < _WATCHED_NS:
            return packet
        least_s, self._least_s, self._since_ns = self._least_s, None, now_ns
        self._usual_s = least_s if self._usual_s is None else min(self._usual_s, least_s)
        needless_s = least_s - self._usual_s
        if needless_s < _NEEDLESS_S:
            return packet
        skipped = [packet, *await self._taken_to(_decoded_at(packet) + needless_s)]
        keyframe = skipped[-1]
        if keyframe is packet:
            return packet
        on_skip(float(_decoded_at(keyframe) - _decoded_at(packet)))
        self._anchor = None
        video = next((one.video for one in reversed(skipped) if one.video is not None), None)
        return replace(keyframe, follows_loss=True, video=video)

    async def _taken_to(self, latest_s: Fraction) -> list[Packet]:
        """What is held up to the last keyframe that is not later than this."""
        ends = [
            place
            for place, one in enumerate(self._held, 1)
            if one.stream == "video" and one.is_keyframe and _decoded_at(one) <= latest_s
        ]
        taken = [await self._take() for _ in range(max(ends, default=0))]
        return [one for one in taken if one is not None]

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


def _decoded_at(packet: Packet) -> Fraction:
    return packet.dts * packet.time_base
