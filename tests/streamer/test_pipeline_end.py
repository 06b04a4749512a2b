"""A stream that is watched ends: what its decoder still holds leaves as well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from streamer.clock import MonotonicClock
from streamer.config import StreamSettings, parse_sink
from streamer.enhance.assembly import build_chain, choose_engines
from streamer.frame import Packet
from streamer.media import AudioInfo
from streamer.metrics import Metrics
from streamer.outlets import Outlets
from streamer.pipeline import LIVE_FRAMES, Stream
from streamer.sinks.fanout import FanOut
from tests.clips import Clips, h264
from tests.measure import times_of
from tests.programs import needs
from tests.streamer.decoding import decoder_of, opened

pytestmark = needs("ffmpeg", "ffprobe")


class Seen:
    """An output that notes the times of what comes."""

    def __init__(self) -> None:
        self.times: list[Fraction] = []
        self._came = asyncio.Condition()

    async def send(self, packet: Packet) -> None:
        async with self._came:
            self.times.append(packet.time_s)
            self._came.notify_all()

    async def wait_for(self, count: int) -> None:
        """Wait until so many have come."""
        async with asyncio.timeout(60), self._came:
            await self._came.wait_for(lambda: len(self.times) >= count)

    async def close(self) -> None:
        """Nothing is open."""


class Unhurried:
    """A file of which each packet waits until all that can be decoded before it has left."""

    audio: AudioInfo | None = None

    def __init__(self, path: Path, seen: Seen) -> None:
        self._demuxer = opened(path)
        self.video = self._demuxer.video
        self._twin = opened(path)
        self._decoder = decoder_of(self._twin)
        self._seen = seen
        self.held = 0
        """Frames that only the end of the file gets out of the decoder."""

    async def packets(self) -> AsyncIterator[Packet]:
        expected = 0
        while (packet := self._demuxer.next_packet()) is not None:
            yield replace(packet, arrived_ns=MonotonicClock().now_ns())
            same = self._twin.next_packet()
            assert same is not None
            expected += len(self._decoder.decode(same))
            await self._seen.wait_for(expected)
        self.held = len(self._decoder.flush())

    async def request_keyframe(self) -> None:
        """It cannot."""

    async def close(self) -> None:
        self._demuxer.close()
        self._twin.close()


def test_the_last_frames_of_a_file_with_b_frames_are_seen(clips: Clips, tmp_path: Path) -> None:
    # So far apart that no picture is held while the machine stands still. The second field of the
    # last picture keeps one frame more back than B-frames do.
    clip = clips.made(
        "slow_fields.mkv",
        *("-f", "lavfi", "-i", "testsrc2=size=160x96:rate=1/2", "-frames:v", "16"),
        *h264("-bf", "3", "-flags", "+ilme+ildct", "-x264-params", "tff=1:b-adapt=0"),
    )
    settings = StreamSettings(
        source=str(clip),
        sinks=(parse_sink("rtsp:"),),
        scale=1,
        backend="ort-cpu",
        budget_ms=60_000,
    )
    seen = Seen()
    source = Unhurried(clip, seen)

    async def play() -> Stream:
        clock, metrics = MonotonicClock(), Metrics()
        engines = await asyncio.to_thread(choose_engines, settings, clock, metrics)
        chain = await asyncio.to_thread(
            build_chain, settings, engines, source.video, clock=clock, metrics=metrics
        )
        outlets = Outlets(settings, source=source, clock=clock, metrics=metrics)
        assert outlets.enhanced is not None
        outlets.enhanced.fanout = FanOut(
            [("seen", seen)],
            may_drop=True,
            request_keyframe=outlets.enhanced.encoder.request_keyframe,
        )
        stream = Stream(
            settings, source=source, chain=chain, outlets=outlets, clock=clock, metrics=metrics
        )
        await stream.run()
        return stream

    stream = asyncio.run(play())
    assert source.held > LIVE_FRAMES
    assert seen.times == times_of(clip)
    assert stream.dropped == {}
    # They wait for one another, and nothing that comes has to be caught up with.
    assert stream.metrics.counted("tier.plain") == 0
