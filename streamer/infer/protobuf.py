"""Messages of Protocol Buffers, field by field: what an ONNX file is made of (``onnx.proto``).

Read here because whoever needs a few thousand weights, or one number changed, need not install a
library for all of ONNX.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

VARINT, EIGHT_BYTES, PREFIXED, FOUR_BYTES = 0, 1, 2, 5
"""Wire types: how the value of a field lies in the message."""

_SIZES = {EIGHT_BYTES: 8, FOUR_BYTES: 4}

_LONGEST_VARINT = 10
"""Bytes: 64 bits, seven in each."""


class Field(NamedTuple):
    """One field of a message."""

    number: int
    value: int | memoryview
    """A number of 64 bits with a sign, or bytes: a text, a message, packed numbers."""
    whole: memoryview
    """All of it, as it lies in the message."""

    @property
    def part(self) -> memoryview:
        """The value where it is bytes; else raises ``ValueError``."""
        if isinstance(self.value, memoryview):
            return self.value
        raise ValueError(f"field {self.number} is a number")


def fields(message: memoryview) -> Iterator[Field]:
    """In the order of the message; raises ``ValueError`` where it is none."""
    at = 0
    while at < len(message):
        key, begins = varint(message, at)
        kind = key & 7
        value: int | memoryview
        if kind == VARINT:
            value, ends = varint(message, begins)
        else:
            if kind == PREFIXED:
                size, begins = varint(message, begins)
            elif kind in _SIZES:
                size = _SIZES[kind]
            else:
                raise ValueError(f"a field of type {kind}")
            left, ends = len(message) - begins, begins + size
            if not 0 <= size <= left:
                raise ValueError(f"it ends too early, {size} bytes are to follow and {left} do")
            value = message[begins:ends]
        yield Field(key >> 3, value, message[at:ends])
        at = ends


def varint(message: memoryview, at: int) -> tuple[int, int]:
    """The number that begins at ``at``, of 64 bits with a sign, and where it ends."""
    value = 0
    for n, byte in enumerate(message[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << 7 * n
        if byte < 0x80:
            value &= 2**64 - 1
            return (value - 2**64 if value >> 63 else value), at + n + 1
    raise ValueError("a number does not end")


def prefixed(number: int, value: bytes) -> bytes:
    """A field of bytes as it is written."""
    return _coded(number << 3 | PREFIXED) + _coded(len(value)) + value


def _coded(value: int) -> bytes:
    coded = bytearray()
    while value > 0x7F:
        coded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*coded, value])
