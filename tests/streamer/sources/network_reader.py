"""Reads a network source for the tests, and judges what came."""

from __future__ import annotations

import asyncio
import itertools
from fractions import Fraction
from typing import Any

import av

from streamer.clock import MonotonicClock
from streamer.decode import Decoder
from streamer.frame import RTP_TIME_BASE, Packet
from streamer.media import AudioInfo
from streamer.metrics import Metrics
from streamer.sources.network import NetworkSource

DEADLINE_S = 120.0
CLOCK = MonotonicClock()


async def read(url: str, count: int, **others: Any) -> tuple[NetworkSource, list[Packet]]:
    """``count`` packets of what is at ``url``; fewer where it ends."""
    async with asyncio.timeout(DEADLINE_S):
        source = await NetworkSource.open(url, clock=CLOCK, **others)
        try:
            got: list[Packet] = []
            async for packet in source.packets():
                got.append(packet)
                if len(got) == count:
                    break
            return source, got
        finally:
            await source.close()


def check(source: NetworkSource, got: list[Packet]) -> None:
    """That it is 320x180 H.264 at 30 fps that our decoder takes, and AAC that libav does."""
    video, audio = source.video, source.audio
    assert (video.codec, video.width, video.height) == ("h264", 320, 180)
    assert video.fps == 30
    assert video.time_base == RTP_TIME_BASE
    assert audio is not None
    assert (audio.codec, audio.rate_hz, audio.channels) == ("aac", 48_000, 1)
    assert len(audio.extradata) >= 2
    films = [packet for packet in got if packet.stream == "video"]
    sounds = [packet for packet in got if packet.stream == "audio"]
    assert films[0].is_keyframe
    assert films[0].payload.startswith(b"\0\0\0\1")
    for packets in (films, sounds):
        dts = [packet.dts for packet in packets]
        assert dts == sorted(dts)
    steps = [b.dts - a.dts for a, b in itertools.pairwise(films)]
    assert all(abs(step - 3000) <= 90 for step in steps)  # FLV counts milliseconds
    assert abs(films[0].time_s - sounds[0].time_s) < Fraction(1, 2)  # as it was muxed
    decoder = Decoder(video, low_delay=True, clock=CLOCK, metrics=Metrics())
    frames = [frame for packet in films for frame in decoder.decode(packet)]
    assert len(frames) == len(films)
    assert decoder.refused == 0
    assert sum(sample > 0.01 for sample in heard(audio, sounds)) > 1000


def heard(audio: AudioInfo, sounds: list[Packet]) -> list[float]:
    context: Any = av.CodecContext.create(audio.codec, "r")
    context.extradata = audio.extradata
    context.sample_rate = audio.rate_hz
    return [
        float(sample)
        for sound in sounds
        for frame in context.decode(av.Packet(sound.payload))
        for sample in frame.to_ndarray()[0]
    ]
