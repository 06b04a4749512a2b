"""Sends short clips through real encoders and decoders, in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from export.data.planes import Planes, from_i420, to_i420

RATE = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Coding:
    """One way to encode: ``quality`` is the codec's own scale (crf, or quantiser for MJPEG)."""

    codec: str
    quality: int
    preset: str = "veryfast"


def x264(crf: int, preset: str = "veryfast") -> Coding:
    """H.264 as live senders use it: no lookahead, no B-frames, one keyframe at the start."""
    return Coding(codec="libx264", quality=crf, preset=preset)


def _options(coding: Coding) -> dict[str, str]:
    quality = str(coding.quality)
    if coding.codec == "libx264":
        return {"preset": coding.preset, "tune": "zerolatency", "crf": quality, "g": "250"}
    if coding.codec == "libx265":
        quiet = f"log-level=none:crf={quality}:keyint=250:pools=1:frame-threads=1"
        return {"preset": "ultrafast", "tune": "zerolatency", "x265-params": quiet}
    if coding.codec == "libvpx":
        floor = {"crf": quality, "qmin": quality, "qmax": "63"}
        return {"deadline": "realtime", "cpu-used": "6", "g": "250", **floor}
    return {"qmin": quality, "qmax": quality}


DECODERS = {"libx264": "h264", "libx265": "hevc", "libvpx": "vp8", "mjpeg": "mjpeg"}


def _encoder(coding: Coding, *, width: int, height: int) -> VideoCodecContext:
    encoder = av.CodecContext.create(coding.codec, "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height = width, height
    encoder.pix_fmt = "yuvj420p" if coding.codec == "mjpeg" else "yuv420p"
    encoder.time_base = Fraction(1, RATE)
    encoder.framerate = Fraction(RATE)
    encoder.thread_count = 1
    if coding.codec == "libvpx":
        # VP8 treats crf as a floor under a rate; this rate is high enough for the floor to rule.
        encoder.bit_rate = width * height * RATE // 2
    encoder.options = _options(coding)
    return encoder


def _encode(frames: Sequence[Planes], coding: Coding) -> Iterator[Packet[VideoStream]]:
    encoder = _encoder(coding, width=frames[0].width, height=frames[0].height)
    for index, planes in enumerate(frames):
        # The code values pass as they are: the format's range says nothing here.
        frame = VideoFrame.from_ndarray(
            np.ascontiguousarray(to_i420(planes)), format=encoder.pix_fmt or "yuv420p"
        )
        frame.pts, frame.time_base = index, Fraction(1, RATE)
        yield from encoder.encode(frame)
    yield from encoder.encode(None)


def round_trip(frames: Sequence[Planes], coding: Coding) -> list[Planes]:
    """The frames after encoding and decoding, in the same order, as many as went in."""
    decoder = av.CodecContext.create(DECODERS[coding.codec], "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.thread_count = 1
    decoded: list[Planes] = []

    def take(pictures: Iterable[VideoFrame]) -> None:
        decoded.extend(
            from_i420(np.asarray(picture.to_ndarray(), dtype=np.uint8)) for picture in pictures
        )

    for packet in _encode(frames, coding):
        take(decoder.decode(packet))
    take(decoder.decode(None))
    if len(decoded) != len(frames):
        raise RuntimeError(f"{coding} returned {len(decoded)} of {len(frames)} frames")
    return decoded
