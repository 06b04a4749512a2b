"""What in a keyframe says how large its picture is, without decoding it."""

from __future__ import annotations

from typing import TypeAlias

PictureKey: TypeAlias = tuple[str, bytes]
"""Equal for keyframes that a decoder need not be told apart: the codec, and its own header."""

_SPS = 7
_SLICES = frozenset({1, 2, 3, 4, 5})


def picture_key(codec: str, keyframe: bytes) -> PictureKey:
    """The codec and what its header says: the sequence parameter set, or the size of VP8."""
    if codec == "vp8":
        # Frame tag and start code take six bytes, then come both sizes (RFC 6386, section 9.1).
        return codec, keyframe[6:10]
    return codec, _first_sps(keyframe)


def _first_sps(unit: bytes) -> bytes:
    """The first sequence parameter set of an access unit in Annex B; empty without one."""
    begin = unit.find(b"\0\0\1")
    while begin >= 0 and begin + 3 < len(unit):
        kind = unit[begin + 3] & 0x1F
        if kind in _SLICES:
            break  # parameter sets come first
        end = unit.find(b"\0\0\1", begin + 3)
        if kind == _SPS:
            return unit[begin + 3 : end if end >= 0 else len(unit)].rstrip(b"\0")
        begin = end
    return b""
