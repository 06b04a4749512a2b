"""RTP packets (RFC 3550, section 5.1), taken apart."""

from __future__ import annotations

import struct
from dataclasses import dataclass

HEADER_BYTES = 12

_HEADER = struct.Struct("!BBHII")
_VERSION = 0x80
_PADDING = 0x20
_EXTENSION = 0x10
_MARKER = 0x80


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """One packet, without its header's padding, sources and extension."""

    payload_type: int
    sequence: int
    """0 to 65535, as sent."""
    timestamp: int
    """0 to 2**32 - 1, as sent."""
    ssrc: int
    marker: bool
    payload: bytes


def parse_rtp(data: bytes | bytearray | memoryview) -> RtpPacket | None:
    """The packet in one datagram or interleaved block; ``None`` for what is not RTP.

    RTCP that shares the port is not RTP either (RFC 5761, section 4). Never raises.
    """
    if len(data) < HEADER_BYTES:
        return None
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    if first & 0xC0 != _VERSION or 192 <= second <= 223:
        return None
    start = HEADER_BYTES
    end = len(data)
    if first != _VERSION:
        start += 4 * (first & 0x0F)
        if first & _EXTENSION:
            if start + 4 > end:
                return None
            start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
        if first & _PADDING:
            padding = data[end - 1]
            if padding == 0:
                return None
            end -= padding
        if start > end:
            return None
    return RtpPacket(
        second & 0x7F, sequence, timestamp, ssrc, second >= _MARKER, bytes(data[start:end])
    )


class Unwrapper:
    """Counts on where a counter of ``bits`` width starts anew; going back a little is allowed.

    A step of less than half the range counts as forwards, any other as backwards, so pictures
    that come in another order than they are shown do no harm.
    """

    __slots__ = ("_half", "_mask", "last")

    def __init__(self, bits: int = 32) -> None:
        self._mask = (1 << bits) - 1
        self._half = 1 << (bits - 1)
        self.last: int | None = None

    def unwrap(self, value: int) -> int:
        """The unbounded count; the first value stands for itself."""
        last = self.last
        if last is None:
            self.last = value
            return value
        step = (value - last) & self._mask
        if step >= self._half:
            step -= self._mask + 1
        self.last = last + step
        return self.last

    def peek(self, value: int) -> int:
        """As ``unwrap``, but nothing is remembered once there is a first value."""
        if self.last is None:
            return self.unwrap(value)
        step = (value - self.last) & self._mask
        return self.last + (step if step < self._half else step - self._mask - 1)
