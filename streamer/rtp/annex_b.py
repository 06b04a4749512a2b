"""NAL units behind start codes: H.264 and H.265 as libav and elementary streams have them."""

from __future__ import annotations

START = b"\0\0\0\1"


def nal_units(data: bytes) -> list[bytes]:
    """The NAL units of ``data`` in Annex B, without start codes and trailing zeros."""
    units = []
    begin = data.find(b"\0\0\1")
    while begin >= 0:
        begin += 3
        end = data.find(b"\0\0\1", begin)
        # A unit never ends in a zero byte: those before a start code belong to it (H.264 B.1.1).
        unit = data[begin : end if end >= 0 else len(data)].rstrip(b"\0")
        if unit:
            units.append(unit)
        begin = end
    return units
