"""What the packets themselves say of the picture: the headers that describe it, and its rate."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from streamer.rtp.annex_b import START

_MAX_FPS = 240

_H264_SPS, _H264_SLICES = 7, range(1, 6)
_HEVC_SPS, _HEVC_SLICES = 33, range(32)
_VP8_SIZE = slice(3, 10)


def picture_header(codec: str, keyframe: bytes) -> bytes:
    """The part of a keyframe that says size and format: equal bytes, equal pictures.

    For H.264 and H.265 in Annex B the sequence parameter sets, for VP8 the frame's own size; empty
    where there is none.
    """
    if codec == "vp8":
        return keyframe[_VP8_SIZE]
    found = []
    begin = keyframe.find(START)
    while begin >= 0 and begin + 4 < len(keyframe):
        begin += 4
        kind = keyframe[begin] & 31 if codec == "h264" else keyframe[begin] >> 1 & 63
        if kind in (_H264_SLICES if codec == "h264" else _HEVC_SLICES):
            break  # headers come first, and slices are long
        end = keyframe.find(START, begin)
        if kind == (_H264_SPS if codec == "h264" else _HEVC_SPS):
            found.append(keyframe[begin : end if end >= 0 else None])
        begin = end
    return b"".join(found)


def measured_fps(pts: Sequence[int], time_base: Fraction) -> Fraction | None:
    """The rate of pictures with these times, in any order; ``None`` from fewer than three.

    The median step counts, so a lost picture or a late one does no harm. A rate within 2 % of a
    whole number is that number: clocks of cameras are no better.
    """
    ordered = sorted(set(pts))
    steps = sorted(after - before for before, after in pairwise(ordered))
    if len(steps) < 2:
        return None
    rate = 1 / (steps[len(steps) // 2] * time_base)
    if rate > _MAX_FPS:
        return None
    whole = round(rate)
    if whole and abs(rate - whole) <= Fraction(whole, 50):
        return Fraction(whole)
    return rate.limit_denominator(1001)
