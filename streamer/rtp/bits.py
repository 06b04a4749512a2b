"""Reads bits from the front of a byte string."""

from __future__ import annotations


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


def unescape(nal: bytes) -> bytes:
    """A NAL unit without its emulation prevention bytes (H.264, section 7.4.1)."""
    return nal.replace(b"\0\0\3", b"\0\0")
