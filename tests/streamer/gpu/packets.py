"""What a decoder of a device is opened for, and is given."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from streamer.frame import Packet
from streamer.media import Color, VideoInfo


def video(codec: str, **more: Any) -> VideoInfo:
    return VideoInfo(
        codec=codec,
        width=320,
        height=192,
        fps=Fraction(30),
        time_base=Fraction(1, 30),
        color=Color.untagged(192),
        **more,
    )


def taken(natives: Sequence[Any]) -> list[Packet]:
    """What libav encoded, at 30 pictures a second."""
    return [
        Packet(
            payload=bytes(native),
            pts=native.pts,
            dts=native.dts,
            time_base=Fraction(1, 30),
            arrived_ns=native.pts,
            is_keyframe=native.is_keyframe,
        )
        for native in natives
    ]
