"""How far the times of a container reach."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from streamer.frame import Packet
from streamer.sinks.muxer import Muxer, TimesSpent
from streamer.sinks.muxer_protocol import Output
from tests.streamer.sinks.network_peers import Camera

MONTH_S = 30 * 24 * 3600


def opened(format: str, first: Packet) -> Muxer:
    output = Output(url="", format=format, begins_at_zero=True)
    muxer = Muxer(output, None, file=io.BytesIO())
    muxer.open(bytes(first.payload), time_base=first.time_base)
    muxer.write(first)
    return muxer


def test_flv_is_begun_anew_at_a_keyframe_before_its_times_are() -> None:
    (first,) = Camera().next_packets()
    muxer = opened("flv", first)
    seconds = 1 / first.time_base
    second = replace(first, pts=first.pts + round(1_999_990 * seconds))
    muxer.write(replace(second, dts=second.pts))
    # 2^31 ms are 2,147,483.6 s; what is no keyframe cannot begin anything.
    third = replace(first, pts=first.pts + round(2_000_010 * seconds))
    muxer.write(replace(third, dts=third.pts, is_keyframe=False))
    fourth = replace(first, pts=first.pts + round(2_000_020 * seconds))
    with pytest.raises(TimesSpent):
        muxer.write(replace(fourth, dts=fourth.pts))
    muxer.close()


def test_other_containers_go_on() -> None:
    (first,) = Camera().next_packets()
    muxer = opened("mpegts", first)
    later = first.pts + round(MONTH_S / first.time_base)
    muxer.write(replace(first, pts=later, dts=later))
    muxer.close()
