from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

from streamer.clock import MonotonicClock
from streamer.config import SinkSpec, StreamSettings
from streamer.enhance.chain import Chain
from streamer.enhance.super_resolution import SuperResolution
from streamer.frame import RTP_TIME_BASE, Packet
from streamer.infer.reference import ReferenceEngine
from streamer.media import AudioInfo, VideoInfo
from streamer.metrics import Metrics
from streamer.outlets import Outlets
from streamer.pipeline import Stream
from streamer.schedule import TierLadder
from streamer.sources.elementary import describe_video
from tests.streamer.test_decode_restart import coded


class Camera:
    """Sends pictures of which one follows a loss, and notes what it is asked for."""

    audio: AudioInfo | None = None

    def __init__(self, *, lost_at: int) -> None:
        self._packets = list(coded("libx264", width=320, height=180, frames=8, first_pts=0))
        self._packets[lost_at] = replace(self._packets[lost_at], follows_loss=True)
        video = describe_video("h264", bytes(self._packets[0].payload), time_base=RTP_TIME_BASE)
        assert video is not None
        self.video: VideoInfo = video
        self.asked_after: list[int] = []
        self._sent = 0

    async def packets(self) -> AsyncIterator[Packet]:
        for packet in self._packets:
            self._sent += 1
            yield packet
            await asyncio.sleep(0)

    async def request_keyframe(self) -> None:
        self.asked_after.append(self._sent)

    async def close(self) -> None:
        """Nothing is open."""


def run(camera: Camera) -> Stream:
    settings = StreamSettings(source="rtsp://camera/1", sinks=(SinkSpec(kind="null"),), scale=1)

    async def play() -> Stream:
        clock, metrics = MonotonicClock(), Metrics()
        stage = SuperResolution((ReferenceEngine(1),))
        stream = Stream(
            settings,
            source=camera,
            chain=Chain(stage, TierLadder(stage.tiers, clock), clock, metrics),
            outlets=Outlets(settings, source=camera, clock=clock, metrics=metrics),
            clock=clock,
            metrics=metrics,
        )
        await stream.run()
        return stream

    return asyncio.run(play())


def test_after_a_loss_the_source_is_asked_for_a_keyframe() -> None:
    camera = Camera(lost_at=4)
    stream = run(camera)
    assert camera.asked_after
    assert camera.asked_after[0] >= 5
    assert stream.metrics.counted("read.after_loss") == 1


def test_a_keyframe_after_a_loss_is_all_that_is_needed() -> None:
    camera = Camera(lost_at=0)
    run(camera)
    assert camera.asked_after == []
