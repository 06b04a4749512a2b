"""Puts packets back in order, waits a bounded time for missing ones, and counts what never came."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from streamer.rtp.packet import RtpPacket

MAX_DROPOUT = 3000
"""A longer jump forwards is taken for a new beginning (RFC 3550, appendix A.1)."""
MAX_MISORDER = 100
"""A longer step backwards is taken for a new beginning (RFC 3550, appendix A.1)."""

_HALF = 0x8000
_REMEMBERED_GAPS = MAX_MISORDER
"""More do not fit into the numbers that still count as late."""


class Ordered(NamedTuple):
    """A packet whose turn it is."""

    packet: RtpPacket
    lost_before: int
    """Sequence numbers between the one before and this one that were given up."""
    arrived_ns: int
    is_restart: bool = False
    """The sender began anew with this packet; how much was lost before is not known."""


class Reorder:
    """Packets in the order they were sent; used from one thread.

    A packet behind a gap waits until the gap is filled, until it has waited ``max_wait_ns``, or
    until ``max_packets`` wait; then the gap is given up. With ``max_wait_ns=0`` (TCP) nothing
    waits. What was given up and comes later is dropped, and so are duplicates; it shows that the
    line brings packets in another order by more than that, so from then on ``longest_wait_ns`` holds.

    A sender that begins anew (another SSRC, or a jump of the sequence beyond ``MAX_DROPOUT`` or
    ``MAX_MISORDER``) is believed at its second packet in a row, as RFC 3550, appendix A.1 does; the
    first one is kept until then, not lost. A single stray packet is dropped.
    """

    __slots__ = (
        "_gaps",
        "_longest_wait_ns",
        "_max_packets",
        "_max_wait_ns",
        "_next",
        "_start",
        "_stranger",
        "_top",
        "_waiting",
        "discarded",
        "duplicated",
        "lost",
        "reordered",
        "restarts",
        "ssrc",
    )

    def __init__(
        self, *, max_wait_ns: int, longest_wait_ns: int = 0, max_packets: int = 512
    ) -> None:
        """``longest_wait_ns`` below ``max_wait_ns`` changes nothing."""
        self._max_wait_ns = max_wait_ns
        self._longest_wait_ns = longest_wait_ns
        self._max_packets = max_packets
        self._next = -1
        """Extended sequence number whose turn it is."""
        self._start = 0
        """The first one of this sender."""
        self._top = 0
        """The highest one that waits or waited."""
        self._waiting: dict[int, Ordered] = {}
        """By extended sequence number, in the order of arrival."""
        self._gaps: deque[range] = deque(maxlen=_REMEMBERED_GAPS)
        """Numbers that were given up lately: what comes with one of them is late, not twice."""
        self._stranger: Ordered | None = None
        self.ssrc: int | None = None
        self.lost = 0
        self.reordered = 0
        self.duplicated = 0
        self.discarded = 0
        self.restarts = 0

    @property
    def next_due_ns(self) -> int | None:
        """When the packet that has waited longest may wait no more; ``None`` if none waits."""
        for first in self._waiting.values():
            return first.arrived_ns + self._max_wait_ns
        return None

    def push(self, packet: RtpPacket, now_ns: int) -> list[Ordered]:
        """The packets whose turn has come with this one; often just this one, sometimes none."""
        if packet.ssrc != self.ssrc:
            if self.ssrc is None:
                return self._begin([Ordered(packet, 0, now_ns)])
            return self._meet(Ordered(packet, 0, now_ns))
        expected = self._next
        step = (packet.sequence - expected) & 0xFFFF
        if step == 0:
            self._next = expected + 1
            self._forget_stranger()
            ready = [Ordered(packet, 0, now_ns)]
            if self._waiting:
                self.reordered += 1
                self._follow(ready)
            return ready
        if step >= _HALF:
            step -= 0x10000
        if not -MAX_MISORDER <= step < MAX_DROPOUT:
            return self._meet(Ordered(packet, 0, now_ns))
        self._forget_stranger()
        if step < 0:
            self._drop_old(expected + step)
            return []
        return self._wait(expected + step, Ordered(packet, 0, now_ns), now_ns)

    def due(self, now_ns: int) -> list[Ordered]:
        """The packets that have waited long enough, and those before and right after them."""
        ready: list[Ordered] = []
        while self._waiting:
            number, first = next(iter(self._waiting.items()))
            if now_ns < first.arrived_ns + self._max_wait_ns:
                break
            self._release(number, ready)
        return ready

    def flush(self) -> list[Ordered]:
        """All that waits, in order: nothing more will come."""
        ready: list[Ordered] = []
        if self._waiting:
            self._release(max(self._waiting), ready)
        return ready

    def _wait(self, number: int, item: Ordered, now_ns: int) -> list[Ordered]:
        if number in self._waiting:
            self.duplicated += 1
            return []
        # Behind a later one that waits already, this one came out of order.
        if number > self._top:
            self._top = number
        else:
            self.reordered += 1
        self._waiting[number] = item
        if len(self._waiting) > self._max_packets:
            ready: list[Ordered] = []
            self._release(min(self._waiting), ready)
            return ready
        return self.due(now_ns)

    def _release(self, last: int, ready: list[Ordered]) -> None:
        """Give up the gaps up to number ``last``; append what waits there and right after it."""
        for number in sorted(self._waiting):
            if number > last:
                break
            missing = number - self._next
            if missing:
                self._give_up(self._next, number)
            ready.append(self._waiting.pop(number)._replace(lost_before=missing))
            self._next = number + 1
        self._follow(ready)

    def _follow(self, ready: list[Ordered]) -> None:
        """Append what waits without a gap before it."""
        waiting = self._waiting
        while (item := waiting.pop(self._next, None)) is not None:
            ready.append(item)
            self._next += 1

    def _give_up(self, start: int, end: int) -> None:
        self.lost += end - start
        self._gaps.append(range(start, end))

    def _drop_old(self, number: int) -> None:
        if any(number in gap for gap in self._gaps):
            self.discarded += 1
            self._max_wait_ns = max(self._max_wait_ns, self._longest_wait_ns)
        elif number < self._start:
            self.discarded += 1
        else:
            self.duplicated += 1

    def _meet(self, item: Ordered) -> list[Ordered]:
        """A packet of another sequence: the second in a row shows that the sender began anew."""
        known, self._stranger = self._stranger, item
        if known is None:
            return []
        step = (item.packet.sequence - known.packet.sequence) & 0xFFFF
        is_near = step <= MAX_MISORDER or step >= 0x10000 - MAX_MISORDER
        if known.packet.ssrc != item.packet.ssrc or not is_near:
            self.discarded += 1
            return []
        if step == 0:
            self.duplicated += 1
            return []
        self.restarts += 1
        self._stranger = None
        pair = [known, item] if step < _HALF else [item, known]
        return self._begin(pair)

    def _begin(self, pair: list[Ordered]) -> list[Ordered]:
        """Follow the sequence of the first of ``pair``; what still waits of the old one goes."""
        ready = self.flush()
        self._gaps.clear()
        first = pair[0]
        if self.ssrc is not None:
            first = first._replace(is_restart=True)
        self.ssrc = first.packet.ssrc
        # High enough that no step backwards makes it negative.
        self._start = self._top = first.packet.sequence + 0x10000
        self._next = self._start + 1
        ready.append(first)
        for item in pair[1:]:
            ready += self.push(item.packet, item.arrived_ns)
        # The first one may have waited for its second long enough.
        return ready + self.due(max(item.arrived_ns for item in pair))

    def _forget_stranger(self) -> None:
        if self._stranger is not None:
            self._stranger = None
            self.discarded += 1
