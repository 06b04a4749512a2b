"""AMF0, the notation of RTMP's commands: as much of it as publishers use."""

from __future__ import annotations

import struct
from typing import Any

_NUMBER, _BOOLEAN, _STRING, _OBJECT = 0, 1, 2, 3
_NULL, _UNDEFINED, _MAP, _END, _ARRAY, _DATE, _LONG_STRING = 5, 6, 8, 9, 10, 11, 12
_MAX_DEPTH = 8


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        return self._at >= len(self._data)

    def value(self, depth: int = 0) -> Any:
        kind = self._take(1)[0]
        if depth > _MAX_DEPTH:
            raise ValueError("nested too deeply")
        if kind == _NUMBER:
            return float(struct.unpack(">d", self._take(8))[0])
        if kind == _BOOLEAN:
            return self._take(1) != b"\0"
        if kind == _STRING:
            return self._text(2)
        if kind == _LONG_STRING:
            return self._text(4)
        if kind in (_NULL, _UNDEFINED):
            return None
        if kind == _DATE:
            return float(struct.unpack(">d", self._take(10)[:8])[0])
        return self._compound(kind, depth)

    def _compound(self, kind: int, depth: int) -> Any:
        if kind == _ARRAY:
            count = int.from_bytes(self._take(4), "big")
            # Each takes a byte at least, so that the data bounds the loop.
            return [self.value(depth + 1) for _ in range(count)]
        if kind == _MAP:
            self._take(4)
        elif kind != _OBJECT:
            raise ValueError(f"unknown type {kind}")
        found: dict[str, Any] = {}
        while True:
            name = self._text(2)
            if not name and self._data[self._at : self._at + 1] == bytes([_END]):
                self._at += 1
                return found
            found[name] = self.value(depth + 1)

    def _text(self, length_bytes: int) -> str:
        length = int.from_bytes(self._take(length_bytes), "big")
        return self._take(length).decode("utf-8", "replace")

    def _take(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        if len(piece) < size:
            raise ValueError("cut short")
        self._at += size
        return piece


def decode_amf0(data: bytes) -> list[Any]:
    """The values in ``data`` up to the first that cannot be read; numbers are floats."""
    reader, values = _Reader(data), []
    while not reader.is_at_end:
        try:
            values.append(reader.value())
        except ValueError:
            break
    return values


def encode_amf0(values: list[Any]) -> bytes:
    """Of floats, strings, ``None`` and dicts of these."""
    return b"".join(_encoded(value) for value in values)


def _encoded(value: Any) -> bytes:
    if isinstance(value, float):
        return struct.pack(">Bd", _NUMBER, value)
    if isinstance(value, str):
        return bytes([_STRING]) + _sized(value)
    if value is None:
        return bytes([_NULL])
    if isinstance(value, dict):
        fields = b"".join(_sized(name) + _encoded(one) for name, one in value.items())
        return bytes([_OBJECT]) + fields + bytes([0, 0, _END])
    raise TypeError(f"{type(value).__name__} has no place in AMF0 here")


def _sized(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">H", len(encoded)) + encoded


def skip_string(data: bytes, text: str) -> bytes:
    """``data`` without the string ``text`` at its beginning."""
    return data.removeprefix(bytes([_STRING]) + _sized(text))
