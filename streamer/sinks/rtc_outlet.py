"""Where the RTP packets of one viewer leave: encrypted by aiortc's session, sent in bursts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiortc.rtcdtlstransport import RTCDtlsTransport

from streamer.clock import Clock
from streamer.rtc.peer import private
from streamer.sinks.rtc_segments import BurstSocket

BURST_PACKETS = 20
BURST_PAUSE_MS = 1
"""A keyframe may be hundreds of RTP packets, more than a receiver's socket holds (208 KiB by
default on Linux): of 393 sent at once, 227 arrived on the loopback interface; in bursts of 20, all.
It is 200 Mbit/s at most, and the event loop gets its turn in between."""

_COMPONENT = 1
"""Of ICE: RTP and RTCP share it."""


class Outlet:
    """One DTLS transport, shared by the tracks that are bundled on it.

    aiortc passes each packet through four coroutines and a system call of its own; here the packets
    of a burst are encrypted in one loop and handed to the kernel together. RTCP stays aiortc's.
    """

    def __init__(self, transport: RTCDtlsTransport, clock: Clock) -> None:
        self._transport = transport
        self._ice = private(transport.transport, "_connection")
        self._clock = clock
        self._burst = 0
        self._last_ns = clock.now_ns()
        self._socket: BurstSocket | None = None

    async def room(self) -> int:
        """How many packets may leave now, at least one; pauses first after a whole burst."""
        if self._burst >= BURST_PACKETS:
            await asyncio.sleep(BURST_PAUSE_MS / 1_000)
            self._burst = 0
        elif self._clock.now_ns() - self._last_ns >= BURST_PAUSE_MS * 1_000_000:
            self._burst = 0
        return max(1, BURST_PACKETS - self._burst)

    def send(self, packets: Sequence[bytes]) -> None:
        """Send RTP packets, no more than there is room for; raises ``ConnectionError``.

        The order of packets of one SSRC must be that of their sequence.
        """
        if self._transport.state != "connected":
            raise ConnectionError("the viewer is not connected (any more)")
        pair = private(self._ice, "_nominated").get(_COMPONENT)
        if pair is None:
            raise ConnectionError("there is no path to the viewer (any more)")
        protect = private(self._transport, "_tx_srtp").protect
        self._burst_socket(pair.protocol.transport).send(
            [protect(packet) for packet in packets], pair.remote_addr
        )
        self._burst += len(packets)
        self._last_ns = self._clock.now_ns()

    def _burst_socket(self, transport: asyncio.DatagramTransport) -> BurstSocket:
        """The socket of the path that ICE chose; it may choose a better one meanwhile."""
        if self._socket is None or self._socket.transport is not transport:
            self._socket = BurstSocket(transport)
        return self._socket
