"""How RTP reaches an RTSP client: between the messages of its connection, or as datagrams."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from streamer.rtp.packetise_burst import RtpBurst, datagrams
from streamer.rtsp.message import interleaved_bytes

Address: TypeAlias = tuple[Any, ...]
"""As the socket module has it: host and port first."""

BUFFERED_BYTES = 256 << 10
"""What may wait in a connection beyond the kernel's own buffer; further packets wait in the ring,
which knows how to skip to a keyframe."""

UNSENT_BYTES = 128 << 10
"""What the kernel may hold unsent: by itself it would store seconds of a stream, all of them late."""

STOPPED_AFTER_S = 10.0
"""A client that has read nothing for so long is dropped."""

BURST_PACKETS = 16
BURST_PAUSE_S = 0.001
"""A keyframe may be hundreds of datagrams, more than a receiver's socket holds (208 KiB by default
on Linux): of 393 sent at once, 227 arrived on the loopback interface; in bursts of 20, all."""

UDP_BUFFER_BYTES = 1 << 20
PAIR_ATTEMPTS = 64


class ClientGone(Exception):
    """The connection is lost, or its peer reads no more."""


class Way(Protocol):
    """Carries the packets of a session's tracks to its client."""

    is_tcp: bool

    async def send(self, track: int, burst: RtpBurst, framed: bytearray) -> None:
        """Send an addressed burst, at the client's pace. Raises ``ClientGone``."""

    def send_report(self, track: int, rtcp: bytes) -> None:
        """Send a compound RTCP packet, or leave it out where the client is behind."""


class TcpWay:
    """Interleaved; a lane frames its packets for its channel by itself."""

    is_tcp = True

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.rtcp_channels: dict[int, int] = {}

    def add_track(self, track: int, *, rtcp_channel: int) -> None:
        self.rtcp_channels[track] = rtcp_channel

    async def send(self, track: int, burst: RtpBurst, framed: bytearray) -> None:
        self._writer.write(framed)
        await drained(self._writer)

    def send_report(self, track: int, rtcp: bytes) -> None:
        transport = self._writer.transport
        if not transport.is_closing() and transport.get_write_buffer_size() <= BUFFERED_BYTES:
            self._writer.write(interleaved_bytes(self.rtcp_channels[track], rtcp))


class UdpWay:
    """Datagrams to the address that the connection comes from, and to no other."""

    is_tcp = False

    def __init__(self, pair: UdpPair) -> None:
        self._pair = pair
        self._peers: dict[int, tuple[Address, Address]] = {}

    def add_track(self, track: int, *, rtp: Address, rtcp: Address) -> None:
        self._peers[track] = (rtp, rtcp)

    async def send(self, track: int, burst: RtpBurst, framed: bytearray) -> None:
        peer = self._peers[track][0]
        for number, packet in enumerate(datagrams(framed, burst), 1):
            self._pair.send_rtp(packet, peer)
            if number % BURST_PACKETS == 0:
                await asyncio.sleep(BURST_PAUSE_S)

    def send_report(self, track: int, rtcp: bytes) -> None:
        self._pair.send_rtcp(rtcp, self._peers[track][1])


class UdpPair:
    """Two neighbouring ports, even for RTP and odd for RTCP, shared by the sessions of one host."""

    def __init__(self, rtp: _Port, rtcp: _Port) -> None:
        self._rtp, self._rtcp = rtp, rtcp

    @classmethod
    async def open(cls, own: Address, heard: Callable[[Address, bytes], None]) -> UdpPair:
        """On the host of ``own``; ``heard`` gets each RTCP datagram and where it came from.

        Raises ``OSError``.
        """
        rtp_socket, rtcp_socket = _neighbours(own)
        # Players send to the RTP port too, to open the way through their own router.
        rtp = await _Port.open(rtp_socket, lambda peer, data: None)
        try:
            rtcp = await _Port.open(rtcp_socket, heard)
        except BaseException:
            rtp.close()
            rtcp_socket.close()
            raise
        return cls(rtp, rtcp)

    @property
    def ports(self) -> tuple[int, int]:
        return self._rtp.number, self._rtcp.number

    def send_rtp(self, packet: memoryview, peer: Address) -> None:
        self._rtp.send(packet, peer)

    def send_rtcp(self, packet: bytes, peer: Address) -> None:
        self._rtcp.send(packet, peer)

    def close(self) -> None:
        self._rtp.close()
        self._rtcp.close()


class _Port(asyncio.DatagramProtocol):
    """One of the two. That a peer's port is closed is found out by its silence."""

    _transport: asyncio.DatagramTransport

    def __init__(self, heard: Callable[[Address, bytes], None]) -> None:
        self._heard = heard
        self._is_full = False

    @classmethod
    async def open(cls, bound: socket.socket, heard: Callable[[Address, bytes], None]) -> _Port:
        loop = asyncio.get_running_loop()
        transport, port = await loop.create_datagram_endpoint(lambda: cls(heard), sock=bound)
        port._transport = transport
        return port

    @property
    def number(self) -> int:
        number: int = self._transport.get_extra_info("sockname")[1]
        return number

    def send(self, packet: bytes | memoryview, peer: Address) -> None:
        # Full, it loses the packet here instead of later: to a datagram that is the same.
        if not self._is_full and not self._transport.is_closing():
            self._transport.sendto(packet, peer)

    def close(self) -> None:
        self._transport.close()

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._heard(addr, data)


async def drained(writer: asyncio.StreamWriter) -> None:
    """Return once little waits to be sent. Raises ``ClientGone`` when nothing leaves for 10 s."""
    transport = writer.transport
    if transport.is_closing():
        raise ClientGone
    waiting = transport.get_write_buffer_size()
    try:
        while waiting > BUFFERED_BYTES:
            try:
                async with asyncio.timeout(STOPPED_AFTER_S):
                    await writer.drain()
                return
            except TimeoutError:
                before, waiting = waiting, transport.get_write_buffer_size()
                if waiting >= before:
                    transport.abort()
                    raise ClientGone from None
    except OSError:
        raise ClientGone from None


def limit_buffers(writer: asyncio.StreamWriter) -> None:
    """Keep what waits in a connection short, so that a slow client falls behind in its ring."""
    writer.transport.set_write_buffer_limits(high=BUFFERED_BYTES)
    connection = writer.get_extra_info("socket")
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)


def _neighbours(own: Address) -> tuple[socket.socket, socket.socket]:
    """Two bound sockets, the first on an even port and the second on the next."""
    for _ in range(PAIR_ATTEMPTS):
        first = _bound(own, 0)
        port = first.getsockname()[1]
        if port % 2 == 0:
            try:
                return first, _bound(own, port + 1)
            except OSError:
                pass
        first.close()
    raise OSError("no two neighbouring UDP ports are free")


def _bound(own: Address, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in own[0] else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UDP_BUFFER_BYTES)
        made.bind((own[0], port, *own[2:]))
        made.setblocking(False)
    except BaseException:
        made.close()
        raise
    return made
