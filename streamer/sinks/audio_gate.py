"""Sound waits until the picture of the same moment has left, so that lips match."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from fractions import Fraction

from streamer.clock import Clock
from streamer.frame import Packet

SPARE_MS = 500.0
"""How much longer than the budget sound waits for a picture that does not come."""

MAX_WAITING = 512
"""10 s of packets of 20 ms: more than any budget that makes sense live."""


class AudioGate:
    """Holds audio packets back, in order; used from the event loop only.

    A packet leaves when video of its time or a later one was sent, or when it has waited for the
    budget and ``SPARE_MS`` since it arrived. It does so without a rate of its own: the delay of
    the sound is that of the picture beside it, whatever that is.
    """

    def __init__(self, *, budget_ms: float, clock: Clock, max_waiting: int = MAX_WAITING) -> None:
        self.budget_ms = budget_ms
        """Of a frame; it may change."""
        self._clock = clock
        self._max_waiting = max_waiting
        self._waiting: deque[Packet] = deque()
        self._video_s: Fraction | None = None
        self.dropped = 0
        """Packets lost because too many waited; the oldest go first."""

    @property
    def _longest_ns(self) -> int:
        return round((self.budget_ms + SPARE_MS) * 1_000_000)

    @property
    def depth(self) -> int:
        """Packets that wait now."""
        return len(self._waiting)

    @property
    def next_due_ns(self) -> int | None:
        """When ``due`` has something to give at the latest, if no video is sent before."""
        if not self._waiting:
            return None
        return self._waiting[0].arrived_ns + self._longest_ns

    def put(self, packet: Packet) -> list[Packet]:
        """Take one packet; gives what may leave now, which is this one where it is late already."""
        self._waiting.append(packet)
        if len(self._waiting) > self._max_waiting:
            self._waiting.popleft()
            self.dropped += 1
            # What follows it has lost something.
            self._waiting[0] = replace(self._waiting[0], follows_loss=True)
        return self._release() + self.due(self._clock.now_ns())

    def pass_by(self, packet: Packet) -> list[Packet]:
        """The packet, at once: where nobody watches, the times in it are enough."""
        return [packet]

    def video_sent(self, time_s: Fraction) -> list[Packet]:
        """What may leave now that the picture of ``time_s`` has been sent."""
        # A source that starts over counts from the beginning again: its sound follows it there.
        self._video_s = time_s
        return self._release()

    def due(self, now_ns: int) -> list[Packet]:
        """What has waited long enough for a picture that did not come."""
        ready = []
        while self._waiting and self._waiting[0].arrived_ns + self._longest_ns <= now_ns:
            ready.append(self._waiting.popleft())
        return ready

    def flush(self) -> list[Packet]:
        """All that waits, at the end of the stream."""
        ready = list(self._waiting)
        self._waiting.clear()
        return ready

    def _release(self) -> list[Packet]:
        ready: list[Packet] = []
        if self._video_s is None:
            return ready
        while self._waiting and self._waiting[0].time_s <= self._video_s:
            ready.append(self._waiting.popleft())
        return ready
