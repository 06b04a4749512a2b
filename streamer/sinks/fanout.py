"""One encoded stream to many sinks: each has its own ring, so none waits for another."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from streamer.errors import SinkError
from streamer.frame import Packet
from streamer.link import Link, Overflow
from streamer.sinks.base import Sink

_log = logging.getLogger(__name__)

RING_PACKETS = 120
"""Two seconds at 60 fps: what a live sink may lag before it skips to the next keyframe."""

WAITING_PACKETS = 8
"""Offline nothing is lost, so a short queue is enough to keep both sides busy."""


class FanOut:
    """Hands packets to sinks. A sink that fails is closed and left out; the others go on."""

    def __init__(
        self,
        sinks: Sequence[tuple[str, Sink]],
        *,
        may_drop: bool,
        request_keyframe: Callable[[], None],
    ) -> None:
        """``sinks`` are pairs of a label and a sink; without ``may_drop`` a slow one is waited for."""
        self._outlets = [
            _Outlet(label, sink, may_drop=may_drop, request_keyframe=request_keyframe)
            for label, sink in sinks
        ]
        self._may_drop = may_drop
        self._is_closing = False
        self.failures: list[SinkError] = []

    @property
    def dropped(self) -> Mapping[str, int]:
        """Packets that rings lost, by ``sink.`` and the sink's label, which several may share."""
        lost: Counter[str] = Counter()
        for outlet in self._outlets:
            lost[f"sink.{outlet.label}"] += outlet.link.dropped
        return lost

    async def send(self, packet: Packet) -> None:
        """Queue ``packet`` for every sink that still works."""
        for outlet in self._outlets:
            if not outlet.has_failed:
                await outlet.link.put(packet)

    async def close(self) -> None:
        """No more packets; ``run`` ends when the rings are empty."""
        self._is_closing = True
        for outlet in self._outlets:
            await outlet.link.close()

    async def run(self) -> None:
        """Feed the sinks until closed, then finish them. Raises when the last one has failed."""
        async with asyncio.TaskGroup() as tasks:
            for outlet in self._outlets:
                tasks.create_task(self._feed(outlet), name=f"sink {outlet.label}")
        if self.failures and len(self.failures) == len(self._outlets):
            raise self.failures[0]

    async def _feed(self, outlet: _Outlet) -> None:
        try:
            try:
                async for packet in outlet.link:
                    await outlet.sink.send(packet)
            finally:
                # Also when cancelled: what was written must stay readable.
                await asyncio.shield(outlet.sink.close())
        except SinkError as error:
            self.failures.append(error)
            outlet.has_failed = True
            await outlet.link.close()
            if len(self.failures) == len(self._outlets):
                raise
            if self._may_drop and not self._is_closing:
                # Live, the others may go on for hours; the end of the run says what failed there.
                _log.error("%s: %s", outlet.label, error)


class _Outlet:
    """A sink and its ring."""

    def __init__(
        self, label: str, sink: Sink, *, may_drop: bool, request_keyframe: Callable[[], None]
    ) -> None:
        self.label = label
        self.sink = sink
        self.has_failed = False
        self.link: Link[Packet] = Link(
            label,
            capacity=RING_PACKETS if may_drop else WAITING_PACKETS,
            overflow=Overflow.SKIP_TO_KEYFRAME if may_drop else Overflow.WAIT,
            is_keyframe=lambda packet: packet.ends_gap,
            on_overflow=request_keyframe,
        )
