"""Reads bits from the front of a byte string, and writes them."""

from __future__ import annotations

import re


class OutOfBits(ValueError):
    """The data ended before what it announced."""


class BitReader:
    """Most significant bit first. Every method raises ``OutOfBits`` past the end."""

    __slots__ = ("_size", "_value", "position")

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._size = 8 * len(data)
        self.position = 0

    @property
    def left(self) -> int:
        """How many bits are still to be read."""
        return self._size - self.position

    def bits(self, count: int) -> int:
        """An unsigned number of ``count`` bits; 0 for none."""
        end = self.position + count
        if end > self._size:
            raise OutOfBits
        self.position = end
        return self._value >> (self._size - end) & ((1 << count) - 1)

    def ue(self) -> int:
        """An Exp-Golomb number, ue(v) of H.264, section 9.1."""
        zeros = 0
        while not self.bits(1):
            zeros += 1
            if zeros > 32:
                raise OutOfBits
        return (1 << zeros) - 1 + self.bits(zeros)

    def se(self) -> int:
        """A signed Exp-Golomb number, se(v) of H.264, section 9.1.1."""
        code = self.ue()
        return (code + 1) // 2 if code & 1 else -(code // 2)


class BitWriter:
    """Most significant bit first."""

    __slots__ = ("_count", "_value")

    def __init__(self) -> None:
        self._value = 0
        self._count = 0

    def bits(self, value: int, count: int) -> None:
        """The lowest ``count`` bits of ``value``, which is not negative."""
        self._value = self._value << count | value & ((1 << count) - 1)
        self._count += count

    def ue(self, value: int) -> None:
        """An Exp-Golomb number, ue(v) of H.264, section 9.1."""
        self.bits(value + 1, 2 * (value + 1).bit_length() - 1)

    def se(self, value: int) -> None:
        """A signed Exp-Golomb number, se(v) of H.264, section 9.1.1."""
        self.ue(2 * value - 1 if value > 0 else -2 * value)

    def fill(self, bit: int) -> None:
        """The same bit up to the end of the byte; nothing where one has just ended."""
        while self._count % 8:
            self.bits(bit, 1)

    def as_bytes(self) -> bytes:
        """What was written, with zeros up to the end of the last byte."""
        size = -(-self._count // 8)
        return (self._value << 8 * size - self._count).to_bytes(size, "big")


def unescape(nal: bytes) -> bytes:
    """A NAL unit without its emulation prevention bytes (H.264, section 7.4.1)."""
    return nal.replace(b"\0\0\3", b"\0\0")


def escape(nal: bytes) -> bytes:
    """A NAL unit with the bytes that keep start codes out of it (H.264, section 7.4.1)."""
    return re.sub(rb"\x00\x00(?=[\x00-\x03])", b"\0\0\3", nal)
