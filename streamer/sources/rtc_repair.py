"""Which packets to ask for again (NACK), how often, and until when."""

from __future__ import annotations

from dataclasses import dataclass

from streamer.rtp.packet import Unwrapper
from streamer.rtp.reorder import MAX_DROPOUT

WAIT_MS = 250
"""How long a gap may be waited for: two attempts over a round trip of 100 ms. Every picture behind
it waits as long, so beyond that a new keyframe is the shorter freeze."""

MAX_TRIES = 4

FIRST_RETRY_MS = 60
MIN_RETRY_MS, MAX_RETRY_MS = 15, 120
"""Between two requests for the same packet, before and after the way there and back is known."""

MAX_MISSING = 256
"""More than that is no gap that a retransmission closes: it would make the congestion worse."""

_SMOOTHING = 8
"""Each answer counts one eighth towards the mean, as in TCP (RFC 6298)."""


@dataclass(slots=True)
class _Missing:
    """One sequence number that did not come."""

    since_ns: int
    due_ns: int
    tries: int = 0
    asked_ns: int = 0


class Repair:
    """The missing packets of one source; pure logic, used from one thread."""

    def __init__(self) -> None:
        self._missing: dict[int, _Missing] = {}
        """By extended sequence number, in their order."""
        self._unwrapper = Unwrapper(16)
        self._highest: int | None = None
        self._answer_ns: int | None = None
        self.asked = 0
        """Requests for a packet, repeated ones too."""
        self.repaired = 0
        """Packets that came after they had been asked for."""

    @property
    def next_due_ns(self) -> int | None:
        """When ``due`` may have something to ask for; ``None`` while nothing is missing."""
        return min((one.due_ns for one in self._missing.values()), default=None)

    def is_ahead(self, sequence: int) -> bool:
        """Whether this number lies beyond all that came so far."""
        return self._highest is None or self._unwrapper.peek(sequence) > self._highest

    def on_packet(self, sequence: int, now_ns: int) -> None:
        """A packet came, for the first time or as the answer to a request."""
        number = self._unwrapper.peek(sequence)
        highest = self._highest
        if highest is None:
            self._highest = number
            return
        if highest - MAX_DROPOUT < number <= highest:
            self._fill(number, now_ns)
            return
        if number <= highest:  # the sender began anew
            self._missing.clear()
            self._highest = self._unwrapper.unwrap(sequence)
            return
        self._highest = self._unwrapper.unwrap(sequence)
        missing = number - highest - 1
        if missing + len(self._missing) > MAX_MISSING:
            self._missing.clear()
            return
        for gap in range(highest + 1, number):
            self._missing[gap] = _Missing(since_ns=now_ns, due_ns=now_ns)

    def due(self, now_ns: int) -> list[int]:
        """The numbers to ask for now, 0 to 65535, in order; what took too long is given up."""
        wanted = []
        for number, one in list(self._missing.items()):
            if now_ns - one.since_ns >= WAIT_MS * 1_000_000:
                del self._missing[number]
            elif now_ns >= one.due_ns and one.tries < MAX_TRIES:
                one.tries += 1
                one.asked_ns = now_ns
                one.due_ns = now_ns + self._retry_ns()
                if one.tries == MAX_TRIES:
                    one.due_ns = one.since_ns + WAIT_MS * 1_000_000
                wanted.append(number & 0xFFFF)
        self.asked += len(wanted)
        return wanted

    def _fill(self, number: int, now_ns: int) -> None:
        one = self._missing.pop(number, None)
        if one is None or not one.tries:
            return
        self.repaired += 1
        # An answer to the second request may be one to the first: only a clear one is measured.
        if one.tries == 1:
            took_ns = now_ns - one.asked_ns
            mean_ns = self._answer_ns if self._answer_ns is not None else took_ns
            self._answer_ns = mean_ns + (took_ns - mean_ns) // _SMOOTHING

    def _retry_ns(self) -> int:
        if self._answer_ns is None:
            return FIRST_RETRY_MS * 1_000_000
        # Half as much again as usual: the line is not equally fast each time.
        retry_ns = self._answer_ns * 3 // 2
        return max(MIN_RETRY_MS * 1_000_000, min(retry_ns, MAX_RETRY_MS * 1_000_000))
