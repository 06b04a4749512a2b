"""What the encoder is lent is what it codes, at the time it had."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.clock import ManualClock
from streamer.config import EncodeSettings
from streamer.encode import Encoder
from streamer.frame import RTP_TIME_BASE, Frame, Packet
from streamer.media import Color
from streamer.metrics import Metrics
from tests.streamer.pictures import frame_of, noise

MILLISECOND = Fraction(1, 1000)


def opened(*, is_live: bool = True, metrics: Metrics | None = None, **options: int) -> Encoder:
    return Encoder(
        "encode",
        EncodeSettings(preset="ultrafast", **options),
        fps=Fraction(30),
        is_live=is_live,
        clock=ManualClock(),
        metrics=metrics or Metrics(),
    )


def moving(pts: int, *, width: int = 64, height: int = 48) -> Frame:
    return frame_of(noise(width=width, height=height, seed=pts), pts=pts)


def all_packets(encoder: Encoder, frames: list[Frame]) -> list[Packet]:
    packets = [packet for frame in frames for packet in encoder.encode(frame, frame.planes)]
    return packets + encoder.flush()


@pytest.mark.parametrize("is_live", [True, False])
def test_each_frame_becomes_a_packet_that_keeps_its_time_and_arrival(is_live: bool) -> None:  # noqa: FBT001
    frames = [replace(moving(pts), arrived_ns=pts * 7, duration=1) for pts in range(12)]
    packets = all_packets(opened(is_live=is_live), frames)
    assert [packet.time_s for packet in packets] == [frame.time_s for frame in frames]
    assert [packet.arrived_ns for packet in packets] == [frame.arrived_ns for frame in frames]
    assert all(packet.pts == packet.dts for packet in packets)
    assert {packet.duration * packet.time_base for packet in packets} == {Fraction(1, 30)}
    assert [packet.is_keyframe for packet in packets] == [True] + 11 * [False]


def test_a_new_size_or_colour_begins_with_a_keyframe_and_goes_on() -> None:
    encoder = opened(is_live=False)
    blue = [replace(moving(pts), color=Color(matrix="bt601")) for pts in (8, 9)]
    frames = [*map(moving, range(4)), *(moving(p, width=96) for p in range(4, 8)), *blue]
    packets = all_packets(encoder, frames)
    assert [packet.time_s for packet in packets] == [frame.time_s for frame in frames]
    assert [n for n, packet in enumerate(packets) if packet.is_keyframe] == [0, 4, 8]


def test_the_picture_that_is_lent_is_the_picture_that_is_coded() -> None:
    encoder = opened(is_live=False, crf=0)
    pictures = [noise(width=64, height=48, seed=seed, padding=16) for seed in range(3)]
    frames = [frame_of(planes, pts=pts) for pts, planes in enumerate(pictures)]
    decoder = av.CodecContext.create("h264", "r")
    shown = []
    for packet in all_packets(encoder, frames):
        shown += decoder.decode(av.Packet(packet.payload))
    shown += decoder.decode(None)
    for seen, planes in zip(shown, pictures, strict=True):
        assert np.array_equal(np.from_dlpack(seen.planes[0]), planes[0])
        assert np.array_equal(np.from_dlpack(seen.planes[2]), planes[2])


@settings(max_examples=15, deadline=None)
@given(st.sampled_from([RTP_TIME_BASE, MILLISECOND, Fraction(1, 44_100), Fraction(1001, 24_000)]))
def test_no_time_base_of_an_input_loses_a_tick(base: Fraction) -> None:
    frames = [replace(moving(n), pts=n * 3 + n % 2, time_base=base) for n in range(4)]
    packets = all_packets(opened(), frames)
    assert [packet.time_s for packet in packets] == [frame.time_s for frame in frames]
    assert all(a.time_s < b.time_s for a, b in pairwise(packets))
