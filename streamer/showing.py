"""What is shown: enhanced frames at their times, and what stands in where none comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from fractions import Fraction

from streamer.clock import Clock
from streamer.frame import Frame
from streamer.hold import Hold
from streamer.link import Link, LinkEnded
from streamer.pace import Pacer


class Showing:
    """Reads the enhanced link; live, it keeps the picture going when the link gives nothing."""

    def __init__(
        self,
        link: Link[Frame],
        *,
        pacer: Pacer,
        hold: Hold,
        conceal: Callable[[Fraction], Awaitable[Frame | None]],
        clock: Clock,
    ) -> None:
        """``conceal`` makes the frame of a media time, or nothing."""
        self._link = link
        self._pacer = pacer
        self._hold = hold
        self._conceal = conceal
        self._clock = clock

    async def frames(self) -> AsyncIterator[Frame | None]:
        """Every frame when it is due; ``None`` when the source has been silent for a while."""
        while True:
            while self._link.depth and not self._pacer.is_full:
                self._pacer.offer(await self._link.get())
            frame = self._pacer.take()
            if frame is not None:
                yield frame
                self._hold.shown(frame)
                continue
            missing_s = self._pacer.missing()
            if missing_s is not None:
                await self._fill(missing_s)
                continue
            try:
                async with asyncio.timeout(self._wait_s()):
                    self._pacer.offer(await self._link.get())
            except TimeoutError:
                if self._clock.now_ns() >= self._hold.next_ns:
                    yield None
                    held = await asyncio.to_thread(self._hold.make)
                    if held is not None:
                        yield held
            except LinkEnded:
                break
        while (frame := self._pacer.flush()) is not None:
            yield frame

    async def _fill(self, missing_s: Fraction) -> None:
        frame = await self._conceal(missing_s)
        if frame is None:
            self._pacer.give_up()
        else:
            self._pacer.offer(frame)

    def _wait_s(self) -> float:
        """Until something is due, or the source counts as silent."""
        next_ns = self._pacer.next_ns()
        hold_ns = self._hold.next_ns
        until_ns = hold_ns if next_ns is None else min(hold_ns, next_ns)
        return max(0.0, (until_ns - self._clock.now_ns()) / 1e9)
