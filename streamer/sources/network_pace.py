"""Releases what comes in bursts, files and HLS segments, at the rate it was made for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial
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
"""Sound that comes after its picture waits for nothing; only more than this is a stall."""

_WATCHED_NS = 60 * _NS_PER_S
"""Longer than anything that comes in bursts takes from one burst to the next."""
_NEEDLESS_S = 2
"""What is held at the emptiest moment of that time is latency and no more. As long as it was so from
the beginning the picture need not jump for it."""


class Paced:
    """An iterator over ``packets`` in their own time; reads ahead on a task of its own.

    Of fragmented MP4 that cannot be seeked all pictures of a fragment are read before its sound: what is
    first in time leaves first, however it came. Each stream stays in its order.

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
        self._held: dict[str, deque[tuple[int, Packet]]] = {}
        """By stream, with the place in which it was read."""
        self._newest: Packet | None = None
        self._read = 0
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
        while (packet := await self._due()) is not None:
            yield replace(packet, arrived_ns=self._clock.now_ns())
        await self._reading

    async def _read_ahead(self) -> None:
        try:
            async for packet in self._packets:
                async with self._changed:
                    await self._changed.wait_for(lambda: self._held_bytes < AHEAD_BYTES)
                    self._held.setdefault(packet.stream, deque()).append((self._read, packet))
                    self._newest = packet
                    self._read += 1
                    self._held_bytes += len(packet.payload)
                    self._changed.notify_all()
        finally:
            async with self._changed:
                self._is_over = True
                self._changed.notify_all()

    async def _due(self) -> Packet | None:
        """The next one, at its time; ``None`` when all have left and no more come."""
        async with self._changed:
            while True:
                await self._changed.wait_for(lambda: self._first() or self._is_over)
                first = self._first()
                if first is None:
                    return None
                if not (early_ns := self._early_ns(_decoded_at(first))):
                    return self._left()
                # Sound that is read meanwhile may come before it.
                is_another = partial(self._is_another, first)
                try:
                    async with asyncio.timeout(early_ns / _NS_PER_S):
                        await self._changed.wait_for(is_another)
                except TimeoutError:
                    return self._left()

    def _left(self) -> Packet:
        """What leaves now."""
        packet = self._take()
        return packet if self._on_skip is None else self._nearer(packet, self._on_skip)

    def _first(self) -> Packet | None:
        """The next one to leave: of those that come first in their streams the earliest, or of different
        timelines the one that was read first."""
        # No two have the same place, so that packets are never compared.
        heads = [head for _, head in sorted(held[0] for held in self._held.values() if held)]
        if not heads:
            return None
        limit_s = _decoded_at(heads[0]) - Fraction(_JUMP_NS, _NS_PER_S)
        return min((head for head in heads if _decoded_at(head) >= limit_s), key=_decoded_at)

    def _is_another(self, than: Packet) -> bool:
        return self._first() is not than

    def _take(self) -> Packet:
        """What is first, which there must be."""
        packet = self._first()
        assert packet is not None
        self._held[packet.stream].popleft()
        self._held_bytes -= len(packet.payload)
        self._changed.notify_all()
        return packet

    def _nearer(self, packet: Packet, on_skip: Callable[[float], None]) -> Packet:
        """``packet``, or a keyframe after it where more was held than is of use."""
        newest = packet if self._newest is None else self._newest
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
        skipped = [packet, *self._taken_to(_decoded_at(packet) + needless_s)]
        keyframe = skipped[-1]
        if keyframe is packet:
            return packet
        on_skip(float(_decoded_at(keyframe) - _decoded_at(packet)))
        self._anchor = (now_ns, _decoded_at(keyframe))
        video = next((one.video for one in reversed(skipped) if one.video is not None), None)
        return replace(keyframe, follows_loss=True, video=video)

    def _taken_to(self, latest_s: Fraction) -> list[Packet]:
        """What is held up to the last keyframe that is not later than this."""
        keyframes = [
            one
            for _, one in self._held.get("video", ())
            if one.is_keyframe and _decoded_at(one) <= latest_s
        ]
        taken: list[Packet] = []
        while keyframes and (not taken or taken[-1] is not keyframes[-1]):
            taken.append(self._take())
        return taken

    def _early_ns(self, at_s: Fraction) -> int:
        """How long it is until its time, counted from the first packet or from the last that came much
        too late."""
        now_ns = self._clock.now_ns()
        if self._anchor is not None:
            early_ns = self._anchor[0] + round((at_s - self._anchor[1]) * _NS_PER_S) - now_ns
            if -_LATE_NS <= early_ns <= _JUMP_NS:
                return max(0, early_ns)
        # What follows keeps its distance from this one, or it would come in a burst.
        self._anchor = (now_ns, at_s)
        return 0


def _decoded_at(packet: Packet) -> Fraction:
    return packet.dts * packet.time_base
