"""A pair of UDP ports for one track: RTP on the even one, RTCP on the next."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Callable
from typing import Any

from streamer.errors import SourceError

RECEIVE_BUFFER_BYTES = 4 << 20
"""A keyframe of a 4K camera comes as one burst of some MB; the kernel may grant less."""

_MAX_DATAGRAM = 65_535
_READS_PER_WAKE = 64
"""Then other tasks get their turn."""
_ATTEMPTS = 50

# An RTP header alone, and an empty receiver report: nothing a server could take for media.
_OPEN_RTP = b"\x80\x00" + bytes(10)
_OPEN_RTCP = b"\x80\xc9\x00\x01" + bytes(4)


class UdpPair:
    """Two bound sockets; datagrams from other hosts than the server's are counted and dropped."""

    def __init__(
        self, local_host: str, on_packet: Callable[[bytes], None], on_rtcp: Callable[[bytes], None]
    ) -> None:
        """Bind on the interface that reaches the server. Raises ``SourceError`` without ports."""
        self.refused = 0
        """Datagrams from elsewhere."""
        self._handlers = (on_packet, on_rtcp)
        self._sockets = _bind_pair(local_host)
        self._buffer = memoryview(bytearray(_MAX_DATAGRAM))
        self._allowed: frozenset[str] = frozenset()
        self._announced: list[int | None] = [None, None]
        self._server: list[tuple[str, int] | None] = [None, None]
        self._latched = [False, False]

    @property
    def ports(self) -> tuple[int, int]:
        """RTP and RTCP, for the Transport header."""
        return self._sockets[0].getsockname()[1], self._sockets[1].getsockname()[1]

    def listen(
        self, server_host: str, server_ports: tuple[int, int] | None, source: str | None
    ) -> None:
        """Take packets from the server from now on; ``source`` is where it says they come from."""
        self._allowed = frozenset(
            _plain(host) for host in (server_host, source) if host and _is_address(host)
        )
        for index, port in enumerate(server_ports or ()):
            if port:
                self._announced[index] = port
                self._server[index] = (server_host, port)
        loop = asyncio.get_running_loop()
        for index, bound in enumerate(self._sockets):
            loop.add_reader(bound.fileno(), self._read, index)

    def punch(self) -> None:
        """Open the way through a firewall or NAT for the server's packets (and keep it open)."""
        for index, data in enumerate((_OPEN_RTP, _OPEN_RTCP)):
            self._send(index, data)

    def send_rtcp(self, data: bytes) -> None:
        self._send(1, data)

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        for bound in self._sockets:
            if bound.fileno() >= 0:
                loop.remove_reader(bound.fileno())
            bound.close()

    def _send(self, index: int, data: bytes) -> None:
        target = self._server[index]
        if target is not None:
            # A full buffer or an unreachable port: UDP promises nothing anyway.
            with contextlib.suppress(OSError):
                self._sockets[index].sendto(data, _socket_address(*target))

    def _read(self, index: int) -> None:
        bound, handle = self._sockets[index], self._handlers[index]
        for _ in range(_READS_PER_WAKE):
            if bound.fileno() < 0:
                return  # a handler closed the session
            try:
                count, sender = bound.recvfrom_into(self._buffer)
            except BlockingIOError:
                return
            except OSError:
                # An answer "port unreachable" to one of our own packets shows here.
                continue
            if not self._is_server(index, host_of_socket(sender), sender[1]):
                self.refused += 1
                continue
            handle(bytes(self._buffer[:count]))

    def _is_server(self, index: int, host: str, port: int) -> bool:
        """Whether a datagram is the server's; the first port it uses is the one it keeps.

        Behind a NAT that may be another one than the Transport header said; reports go there too.
        But what comes from the port of the header is always its own: the first may have been for
        whoever had our port before.
        """
        if _plain(host) not in self._allowed:
            return False
        if not self._latched[index] or port == self._announced[index]:
            self._latched[index] = True
            self._server[index] = (host, port)
        known = self._server[index]
        return known is not None and known[1] == port


def host_of_socket(address: tuple[Any, ...]) -> str:
    """The host of a socket's address; a link-local one means nothing without its zone's number."""
    host, zone = str(address[0]).partition("%")[0], address[3] if len(address) == 4 else 0
    return f"{host}%{zone}" if zone else host


def _socket_address(host: str, port: int) -> tuple[Any, ...]:
    """What ``host_of_socket`` took apart: sockets take the zone beside the host, not in it."""
    plain, _, zone = host.partition("%")
    return (plain, port, 0, int(zone)) if zone else (plain, port)


def _bind_pair(host: str) -> tuple[socket.socket, socket.socket]:
    """Sockets on an even port and the one after it."""
    for _ in range(_ATTEMPTS):
        first = _bind(host, 0)
        if first is None:
            break
        port = first.getsockname()[1]
        if port % 2 == 0 and (second := _bind(host, port + 1)) is not None:
            return first, second
        first.close()
    raise SourceError(
        f"no pair of free UDP ports on {host} for an RTSP stream; "
        "end other programs, or leave ?transport=udp out"
    )


def _bind(host: str, port: int) -> socket.socket | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_DGRAM)
    try:
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        bound.bind(_socket_address(host, port))
    except OSError:
        bound.close()
        return None
    return bound


def _is_address(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return not ipaddress.ip_address(_plain(host)).is_unspecified
    return False


def _plain(host: str) -> str:
    """An address without zone, IPv4 also where it is written as IPv6."""
    host = host.partition("%")[0]
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        mapped = getattr(address, "ipv4_mapped", None)
        return str(mapped or address)
    return host
