"""Datagrams in bursts: those of one length leave in one system call where Linux can cut them."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import functools
import logging
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

log = logging.getLogger(__name__)

Address = tuple[str, int]

SOL_UDP = 17
UDP_SEGMENT = 103
"""From ``linux/udp.h``, since 4.18: the length into which the kernel cuts what it is given."""

MAX_SEGMENTS = 64
MAX_BYTES = 65_507
"""What one call takes: ``UDP_MAX_SEGMENTS`` of the first kernels, and the longest UDP payload."""

REFUSED = frozenset(
    {
        errno.EINVAL,  # a segment longer than the path's MTU
        errno.EMSGSIZE,  # the same, in newer kernels
        errno.EIO,  # IPsec, or a network card that computes no checksums
        errno.EOPNOTSUPP,
        errno.ENOPROTOOPT,
    }
)
"""The kernel, the socket or its path cannot do it, and will not be able to soon."""


class BurstSocket:
    """Sends through an asyncio transport, several datagrams at once where that works.

    What the kernel does not take in one piece, and all that is relayed, goes one by one through
    the transport: nothing is lost by trying. Used from the event loop only.
    """

    def __init__(self, transport: asyncio.DatagramTransport) -> None:
        self.transport = transport
        self._socket = transport.get_extra_info("socket")
        self.segments = _can_segment(self._socket)
        """Whether runs are (still) sent in one call."""

    def send(self, datagrams: Sequence[bytes], address: Address) -> None:
        """Send all, in order; when the socket is full the transport keeps what is left."""
        for run in runs(datagrams):
            if not self._send_at_once(run, address):
                for datagram in run:
                    self.transport.sendto(datagram, address)

    def _send_at_once(self, run: Sequence[bytes], address: Address) -> bool:
        """False when nothing was sent, and the run has to go another way."""
        if not self.segments or self._is_full() or self.transport.is_closing():
            return False
        data, to = b"".join(run), _sockaddr(self._socket.family, *address)
        self._socket.setsockopt(SOL_UDP, UDP_SEGMENT, len(run[0]))
        try:
            sent = _sendto()(self._socket.fileno(), data, len(data), 0, to, len(to))
        finally:
            # What others send through this socket, DTLS and RTCP, must not be cut.
            self._socket.setsockopt(SOL_UDP, UDP_SEGMENT, 0)
        if sent >= 0:
            return True
        # Also for a full buffer (EAGAIN) and a lost route: the transport knows what to do.
        if ctypes.get_errno() in REFUSED:
            log.debug("datagrams go one by one from now: %s", os.strerror(ctypes.get_errno()))
            self.segments = False
        return False

    def _is_full(self) -> bool:
        """Whether the transport still keeps something, which has to leave first."""
        # All of asyncio's transports over sockets have this, not only those it is declared for.
        return cast(asyncio.WriteTransport, self.transport).get_write_buffer_size() > 0


def runs(datagrams: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """``datagrams`` in runs that one call takes: of one length, only the last may be shorter."""
    begin = 0
    while begin < len(datagrams):
        size = len(datagrams[begin])
        most = begin + max(1, min(MAX_SEGMENTS, MAX_BYTES // max(1, size)))
        end = begin + 1
        while end < min(most, len(datagrams)) and len(datagrams[end - 1]) == size:
            if len(datagrams[end]) > size:
                break
            end += 1
        yield datagrams[begin:end]
        begin = end


def _can_segment(known: Any) -> bool:
    """Whether this socket, ``None`` for a relay's, is one of UDP whose kernel can cut."""
    if sys.platform != "linux" or known is None:
        return False
    try:
        known.getsockopt(SOL_UDP, UDP_SEGMENT)
    except OSError:
        return False  # a kernel before 4.18, or another protocol: it would send one long datagram
    return True


@functools.cache
def _sendto() -> Callable[..., int]:
    """``sendto`` of the C library, which keeps the interpreter's lock.

    Python's own lets go of it, and beside busy workers on two cores it took 1 to 5 ms to win it
    back; the call itself, on a socket that never blocks, is over after 10 to 30 microseconds.
    """
    function = ctypes.PyDLL(None, use_errno=True).sendto
    function.argtypes = (
        *(ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t),
        *(ctypes.c_int, ctypes.c_char_p, ctypes.c_uint),
    )
    function.restype = ctypes.c_ssize_t
    return cast("Callable[..., int]", function)


@functools.lru_cache(maxsize=256)
def _sockaddr(family: int, host: str, port: int) -> bytes:
    """The address as Linux takes it (``sockaddr_in`` or ``sockaddr_in6``); ``host`` is numeric."""
    numeric = socket.getaddrinfo(host, port, family, socket.SOCK_DGRAM, 0, socket.AI_NUMERICHOST)
    where: Any = numeric[0][4]
    head = struct.pack("=H", family) + port.to_bytes(2, "big")
    packed = socket.inet_pton(family, where[0].partition("%")[0])
    if family == socket.AF_INET:
        return head + packed + bytes(8)
    flow, scope = where[2:]
    return head + struct.pack(">I", flow) + packed + struct.pack("=I", scope)
