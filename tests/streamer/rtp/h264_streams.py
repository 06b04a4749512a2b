"""H.264 streams of many kinds, coded by libx264, and what libav makes of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import av
import av.logging
import cv2
import numpy as np
from av.video.frame import PictureType
from numpy.typing import NDArray

from streamer.rtp.h264_missing import MissingPictures

Picture = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, kw_only=True)
class Coding:
    """How a stream is coded; a scene that moves by a few pixels from picture to picture."""

    width: int = 176
    height: int = 144
    count: int = 44
    profile: str = "High"
    is_cabac: bool = True
    slices: int = 1
    tells_order: bool = False
    """pic_order_cnt_type 0 instead of 2, with P-frames all the same."""
    keyframes: tuple[int, ...] = ()
    """IDR pictures besides the first."""
    parameters: str = ""
    pix_fmt: str = "yuv420p"

    @property
    def options(self) -> dict[str, str]:
        parameters = [
            f"sliced-threads=0:repeat-headers=1:keyint=250:scenecut=0:slices={self.slices}",
            f"cabac={int(self.is_cabac)}",
            *(["bframes=1:b-adapt=0"] if self.tells_order else []),
            *([self.parameters] if self.parameters else []),
        ]
        return {
            "preset": "veryfast",
            "tune": "zerolatency",
            "crf": "24",
            "forced-idr": "1",
            "x264-params": ":".join(parameters),
        }


@cache
def coded(coding: Coding) -> tuple[bytes, ...]:
    """Its access units."""
    context: Any = av.CodecContext.create("libx264", "w")
    context.width, context.height = coding.width, coding.height
    context.pix_fmt, context.time_base = coding.pix_fmt, Fraction(1, 30)
    context.thread_count = 1
    if coding.pix_fmt == "yuv420p":
        context.profile = coding.profile
    context.options = coding.options
    units = []
    for number in range(coding.count):
        picture = av.VideoFrame.from_ndarray(_drawn(coding, number), format="gray")
        picture = picture.reformat(format=coding.pix_fmt)
        picture.pts = number
        if number in coding.keyframes:
            picture.pict_type = PictureType.I
        elif coding.tells_order and number:
            picture.pict_type = PictureType.P
        units += [bytes(packet) for packet in context.encode(picture)]
    units += [bytes(packet) for packet in context.encode(None)]
    assert len(units) == coding.count
    return tuple(units)


def _drawn(coding: Coding, number: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(5).integers(0, 256, (coding.height + 99, coding.width + 99))
    soft = cv2.GaussianBlur(noise.astype(np.uint8), (0, 0), 1.5)
    down, across = number, 2 * number
    return np.ascontiguousarray(soft[down : down + coding.height, across : across + coding.width])


Fed = tuple[int, bytes]
"""A pts, and an access unit; the pts of what stands for a missing picture is negative."""


def arrived(coding: Coding, lost: Iterable[int]) -> list[Fed]:
    """The units that came."""
    gone = set(lost)
    return [(number, unit) for number, unit in enumerate(coded(coding)) if number not in gone]


def made_whole(units: Iterable[Fed]) -> list[Fed]:
    """The same with what stands for the missing ones."""
    missing, fed, expected = MissingPictures(), list[Fed](), 0
    for number, unit in units:
        found = missing.before(unit, follows_loss=number != expected)
        fed += [(-1 - index, one) for index, one in enumerate(found)]
        fed.append((number, unit))
        expected = number + 1
    return fed


@dataclass(frozen=True)
class Seen:
    """What a decoder gave out, in its order, and what it had to say."""

    pictures: tuple[tuple[int, Picture], ...]
    complaints: tuple[str, ...]

    @property
    def real(self) -> list[int]:
        return [pts for pts, _ in self.pictures if pts >= 0]


def decoded(units: Iterable[Fed]) -> Seen:
    """As a live stream is decoded."""
    context: Any = av.CodecContext.create("h264", "r")
    context.thread_count = 1
    context.flags |= av.codec.context.Flags.low_delay
    pictures = []
    before = av.logging.get_level()
    av.logging.set_level(av.logging.WARNING)
    try:
        with av.logging.Capture() as log:
            for pts, unit in units:
                packet = av.Packet(unit)
                packet.pts = pts
                pictures += context.decode(packet)
            pictures += context.decode(None)
    finally:
        av.logging.set_level(before)
    return Seen(
        tuple((picture.pts, picture.to_ndarray()) for picture in pictures),
        tuple(message.strip() for _, _, message in log),
    )
