"""A live source that comes back, perhaps as another one: the decoder follows its packets."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import av
import numpy as np

from streamer.clock import MonotonicClock
from streamer.decode import Decoder
from streamer.frame import RTP_TIME_BASE, Packet
from streamer.media import VideoInfo
from streamer.metrics import Metrics
from streamer.sources.elementary import describe_video


def coded(codec: str, *, width: int, height: int, frames: int, first_pts: int) -> Iterator[Packet]:
    """What a camera sends: a keyframe and what refers to it, its headers in band."""
    context: Any = av.CodecContext.create(codec, "w")
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base = Fraction(1, 30)
    context.options = (
        {"tune": "zerolatency", "preset": "ultrafast"}
        if codec == "libx264"
        else {"deadline": "realtime", "lag-in-frames": "0"}
    )
    random = np.random.default_rng(1)
    for number in range(frames):
        luma = random.integers(16, 235, (height * 3 // 2, width), np.uint8)
        picture = av.VideoFrame.from_ndarray(luma, format="yuv420p")
        picture.pts = number
        for native in context.encode(picture):
            assert native.pts is not None
            pts = first_pts + native.pts * 3000
            yield Packet(
                payload=bytes(native),
                pts=pts,
                dts=pts,
                time_base=RTP_TIME_BASE,
                arrived_ns=pts,
                is_keyframe=native.is_keyframe,
            )


def described(codec: str, keyframe: Packet) -> VideoInfo:
    video = describe_video(codec, bytes(keyframe.payload), time_base=RTP_TIME_BASE)
    assert video is not None
    return video


def test_a_bare_stream_is_described_by_its_first_keyframe() -> None:
    first = next(coded("libx264", width=320, height=180, frames=1, first_pts=0))
    video = described("h264", first)
    assert (video.codec, video.width, video.height) == ("h264", 320, 180)
    assert video.pix_fmt == "yuv420p"
    assert video.is_live
    assert describe_video("h264", b"\0\0\0\1\x65garbage", time_base=RTP_TIME_BASE) is None


def test_another_codec_and_size_after_a_break_are_decoded_from_their_first_packet_on() -> None:
    before = list(coded("libx264", width=320, height=180, frames=5, first_pts=0))
    after = list(coded("libvpx", width=160, height=90, frames=5, first_pts=90_000))
    after[0] = replace(after[0], video=described("vp8", after[0]), follows_loss=True)
    decoder = Decoder(
        described("h264", before[0]), low_delay=True, clock=MonotonicClock(), metrics=Metrics()
    )
    frames = [frame for packet in (*before, *after) for frame in decoder.decode(packet)]
    assert [frame.width for frame in frames] == [320] * 5 + [160] * 5
    assert [frame.pts for frame in frames] == [packet.pts for packet in (*before, *after)]
    assert decoder.refused == 0


def of_many_threads(number: int) -> tuple[Decoder, list[Packet]]:
    """A decoder that has as many threads as a large machine gives it, and what it is to decode."""
    packets = list(coded("libx264", width=640, height=360, frames=12, first_pts=90_000 * number))
    video = replace(described("h264", packets[0]), is_live=False)
    packets[0] = replace(packets[0], video=video)
    decoder = Decoder(video, low_delay=False, clock=MonotonicClock(), metrics=Metrics())
    decoder._context.thread_count = 8
    return decoder, packets


def let_go() -> None:
    """Drops decoders that have pictures under way; a program of its own, which may hang."""
    for number in range(8):
        decoder, packets = of_many_threads(number)
        for packet in packets:
            decoder.decode(packet)
        decoder.close()
        del decoder
    sys.stdout.write("done")


def test_a_decoder_with_pictures_under_way_can_be_let_go_of() -> None:
    """libav's threads give packets back under the interpreter's lock, and whoever frees a decoder held
    that while it waited for them: for ever, on most machines with four cores or more."""
    code = f"from {__name__} import let_go; let_go()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == "done"


def test_what_was_held_before_a_break_is_given_where_nothing_is_live() -> None:
    decoder, before = of_many_threads(0)
    _, after = of_many_threads(1)
    frames = [frame for packet in (*before, *after) for frame in decoder.decode(packet)]
    frames += decoder.flush()
    decoder.close()
    assert [frame.pts for frame in frames] == [packet.pts for packet in (*before, *after)]


def test_a_description_that_is_said_again_interrupts_nothing() -> None:
    packets = list(coded("libx264", width=320, height=180, frames=6, first_pts=0))
    video = described("h264", packets[0])
    decoder = Decoder(video, low_delay=True, clock=MonotonicClock(), metrics=Metrics())
    # Begun anew in the middle, the decoder would refuse what refers to earlier pictures.
    said = [replace(packet, video=video) for packet in packets]
    assert len([frame for packet in said for frame in decoder.decode(packet)]) == 6
    assert decoder.refused == 0
    again = describe_video("h264", bytes(packets[0].payload), time_base=RTP_TIME_BASE)
    assert decoder.decode(replace(packets[3], video=again)) == []


def test_a_picture_larger_than_any_camera_gives_is_refused_before_its_memory_is_taken() -> None:
    huge = next(coded("libvpx", width=16_000, height=2_400, frames=1, first_pts=0))
    small = next(coded("libvpx", width=160, height=90, frames=1, first_pts=0))
    decoder = Decoder(
        described("vp8", small), low_delay=True, clock=MonotonicClock(), metrics=Metrics()
    )
    assert decoder.decode(huge) == []
    assert decoder.refused == 1
    assert len(decoder.decode(small)) == 1
