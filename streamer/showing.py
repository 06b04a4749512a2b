"""What is shown: enhanced frames at their times, and what stands in where none comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from fractions import Fraction
from typing import Self

from streamer.clock import Clock
from streamer.config import StreamSettings
from streamer.frame import Frame
from streamer.hold import Hold
from streamer.link import Link, LinkEnded
from streamer.metrics import Metrics
from streamer.pace import Pacer, Pacing, Rhythm

STALL_NS = 100_000_000
"""Later than this nobody wakes up but in a program that stood still."""

LOOK_EVERY_S = 0.1
"""No wait is longer: of a stall only what lies behind the end of a wait is seen."""


async def _stays(paused_s: Fraction, shown: Frame) -> Frame | None:
    """What is shown is the latest there is."""


class Showing:
    """Reads the enhanced link; live, it keeps the picture going when the link gives nothing."""

    def __init__(
        self,
        link: Link[Frame],
        *,
        pacer: Pacer,
        hold: Hold,
        conceal: Callable[[Fraction], Awaitable[Frame | None]],
        newest: Callable[[Fraction, Frame], Awaitable[Frame | None]] = _stays,
        clock: Clock,
    ) -> None:
        """``conceal`` makes the frame of a media time, or nothing; ``newest`` gives the latest real one
        for a media time, where it is not the one that is shown."""
        self._link = link
        self._pacer = pacer
        self._hold = hold
        self._conceal = conceal
        self._newest = newest
        self._came_s: Fraction | None = None
        """Media time of the latest real frame that was decoded."""
        self._is_waiting = False
        """Whether all that could be shown was, and whoever shows it asked for more."""
        self._stirred = asyncio.Event()
        self._clock = clock

    @classmethod
    def of(
        cls,
        link: Link[Frame],
        *,
        settings: StreamSettings,
        fps: Fraction | None,
        budget_ms: Callable[[], float],
        lead_ms: Callable[[], float],
        rhythm: Callable[[], Rhythm],
        conceal: Callable[[Fraction], Awaitable[Frame | None]],
        newest: Callable[[Fraction, Frame], Awaitable[Frame | None]],
        clock: Clock,
        metrics: Metrics,
    ) -> Self:
        """As a stream's ``settings`` say; ``fps`` is the source's, where it states one.

        ``budget_ms`` and ``lead_ms`` are those of ``Pacing``.
        """
        pacing = Pacing(
            is_even=settings.waits_for_next,
            conceals=settings.fills_losses,
            budget_ms=budget_ms,
            lead_ms=lead_ms,
        )
        pacer = Pacer(pacing, rhythm=rhythm, clock=clock, metrics=metrics)
        # At a low rate that was asked for, nothing is shown for as long, though the source is there.
        fixed = None if settings.rate is None else settings.rate.fps
        hold = Hold(clock, fps=min(filter(None, (fps, fixed)), default=None))
        return cls(link, pacer=pacer, hold=hold, conceal=conceal, newest=newest, clock=clock)

    @property
    def last_time_s(self) -> Fraction | None:
        """Media time of the latest frame that was shown."""
        return self._pacer.last_time_s

    def coded(self, frame: Frame, coded_ns: int) -> None:
        """A frame that was shown has been coded, at this instant; others will leave when such as it can."""
        self._pacer.coded(frame, coded_ns)

    def came(self, frame: Frame) -> None:
        """A real frame was decoded, and is on its way."""
        self._came_s = frame.time_s
        self._pacer.came()

    def stir(self) -> None:
        """What ``until_idle`` waits for may be so."""
        self._stirred.set()

    async def until_idle(self, *, unless: Callable[[], bool]) -> None:
        """Wait until all in the link was shown, and encoded by whoever shows it.

        Returns at once where ``unless`` holds, which is asked again after each ``stir``. What is
        made while the encoder works takes the two cores from both.
        """
        while not unless() and (self._link.depth or not self._is_waiting):
            self._stirred.clear()
            await self._stirred.wait()

    async def frames(self) -> AsyncIterator[Frame | None]:
        """Every frame when it is due; ``None`` when the source has been silent for a while."""
        while True:
            while self._link.depth and not self._pacer.is_full:
                self._pacer.offer(await self._link.get())
            frame = self._pacer.take() or await self._standing()
            if frame is not None:
                yield frame
                self._hold.shown(frame)
                continue
            missing_s = self._pacer.missing()
            if missing_s is not None:
                await self._fill(missing_s)
                continue
            try:
                self._pacer.offer(await self._next())
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

    async def _next(self) -> Frame:
        """Raises ``TimeoutError`` when something is due before it comes."""
        wait_s = self._wait_s()
        due_ns = self._clock.now_ns() + round(wait_s * 1e9)
        self._is_waiting = True
        self.stir()
        try:
            async with asyncio.timeout(wait_s):
                return await self._link.get()
        except TimeoutError:
            late_ns = self._clock.now_ns() - due_ns
            if late_ns > STALL_NS:
                # This program stood still, not the source: what that sent meanwhile is on its way.
                self._hold.excuse(late_ns)
                self._pacer.excuse(late_ns)
            raise
        finally:
            self._is_waiting = False

    async def _fill(self, missing_s: Fraction) -> None:
        """With what stands in for a missing frame; nothing does for one that is only late."""
        half_s = (self._pacer.interval_s or 0) / 2
        is_late = self._came_s is not None and self._came_s > missing_s - half_s
        frame = None if is_late else await self._conceal(missing_s)
        if frame is None:
            self._pacer.skip(missing_s)
        else:
            self._pacer.offer(frame)

    async def _standing(self) -> Frame | None:
        """What is to stand where the source has paused; ``None`` where it does, or is on its way."""
        paused_s, shown, came_s = self._pacer.paused(), self._hold.last, self._came_s
        if paused_s is None or shown is None:
            return None
        frame = await self._newest(paused_s, shown)
        if self._link.depth or self._came_s != came_s:
            return None
        self._pacer.stand(frame)
        return frame

    def _wait_s(self) -> float:
        """Until something is due, the source counts as silent, or it is to be asked again."""
        next_ns = self._pacer.next_ns()
        hold_ns = self._hold.next_ns
        until_ns = hold_ns if next_ns is None else min(hold_ns, next_ns)
        return min(LOOK_EVERY_S, max(0.0, (until_ns - self._clock.now_ns()) / 1e9))
