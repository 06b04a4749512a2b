"""Coded pictures leave at their times, and sound with the picture of its moment.

Note [Behind the encoder]: How long a picture takes to be coded differs by as much as half an interval
at 60 fps. Were pictures to wait before the encoder, they would leave as unevenly. So one that has a
time goes to the encoder as soon as it is ready, and what comes out waits here. The time travels as the
stamp ``DUE``; what has none leaves as soon as it is coded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction

from streamer.clock import Clock
from streamer.config import StreamSettings
from streamer.frame import Frame, Packet
from streamer.link import Link, Overflow
from streamer.metrics import Metrics
from streamer.playout import DUE, nanoseconds
from streamer.sinks.audio_gate import AudioGate
from streamer.sinks.fanout import FanOut
from streamer.tally import Tally

MOST_WAITING = 32
"""Packets: two renditions at x8, handed over two encodes ahead of their time. Behind it the encoder
waits."""


@dataclass(frozen=True, slots=True)
class _Coded:
    packet: Packet
    fanout: FanOut
    counts: bool


class Leaving:
    """Between the encoders and the fan-outs; all on the event loop."""

    def __init__(
        self,
        fanouts: Sequence[FanOut],
        settings: StreamSettings,
        tally: Tally,
        *,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._fanouts = fanouts
        self._gate = AudioGate(budget_ms=settings.budget_ms, clock=clock)
        self._tally = tally
        self._clock = clock
        self._metrics = metrics
        self._waits = settings.is_offline
        """Nobody watches, so that sound need not wait for its picture."""
        self._coded: Link[_Coded] = Link(
            "coded_link", capacity=MOST_WAITING, overflow=Overflow.WAIT
        )
        self._prompt = 0
        """Of those that wait: such as leave as soon as they are coded."""
        self._hurried = asyncio.Event()
        self._sounding = asyncio.Lock()
        self._last: tuple[Fraction, int] | None = None
        """Media time of what left last, and when that was."""

    @property
    def sound_dropped(self) -> int:
        """Packets of sound that had to wait for too long."""
        return self._gate.dropped

    def set_budget(self, budget_ms: float) -> None:
        """Sound waits no less long than pictures may take."""
        self._gate.budget_ms = budget_ms

    async def put(self, packet: Packet, fanout: FanOut, *, counts: bool) -> None:
        """A coded picture. One of its renditions ``counts``, for the frame."""
        if DUE not in packet.stamps_ns:
            self._prompt += 1
            self._hurried.set()
        await self._coded.put(_Coded(packet, fanout, counts))

    async def sound(self, packet: Packet) -> None:
        """A packet of sound leaves with its picture; from file to file, where times are enough and
        nothing may be lost, at once."""
        async with self._sounding:
            gate = self._gate.pass_by if self._waits else self._gate.put
            await self._send_sound(gate(packet))

    async def sound_overdue(self) -> None:
        """No picture comes: sound that has waited for the longest time leaves."""
        async with self._sounding:
            await self._send_sound(self._gate.due(self._clock.now_ns()))

    def left(self, item: Packet | Frame) -> None:
        """A frame has left, coded or not: count it, and how far from its time that was."""
        now_ns = self._clock.now_ns()
        if self._last is not None and not self._waits:
            time_s, left_ns = self._last
            error_ns = now_ns - left_ns - nanoseconds(item.time_s - time_s)
            self._metrics.time("cadence_error", abs(error_ns) / 1e6)
        self._last = (item.time_s, now_ns)
        self._tally.sent(item)

    async def close(self) -> None:
        """No more pictures; ``run`` ends when all have left, with all of the sound."""
        await self._coded.close()

    async def run(self) -> None:
        """Let pictures leave until closed; then the fan-outs are told that this was all."""
        async for coded in self._coded:
            due_ns = coded.packet.stamps_ns.get(DUE)
            if due_ns is not None:
                await self._until(due_ns)
            else:
                self._prompt -= 1
            await coded.fanout.send(coded.packet)
            self._tally.coded(coded.packet)
            if coded.counts:
                self.left(coded.packet)
                async with self._sounding:
                    await self._send_sound(self._gate.video_sent(coded.packet.time_s))
        async with self._sounding:
            await self._send_sound(self._gate.flush())
        for fanout in self._fanouts:
            await fanout.close()

    async def _until(self, due_ns: int) -> None:
        """Wait for a picture's time, but keep none waiting behind it that has none."""
        if not self._prompt:
            self._hurried.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0, due_ns - self._clock.now_ns()) / 1e9):
                    await self._hurried.wait()

    async def _send_sound(self, packets: Sequence[Packet]) -> None:
        """In order whoever releases it: for that ``_sounding`` is held."""
        for packet in packets:
            for fanout in self._fanouts:
                await fanout.send(packet)
