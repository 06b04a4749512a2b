"""A live source loses frames: others stand in for them, at their times."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av

from streamer.clock import MonotonicClock
from streamer.config import StreamSettings, parse_sink
from streamer.enhance.assembly import build_chain, choose_engines
from streamer.frame import RTP_TIME_BASE, Packet
from streamer.media import AudioInfo, VideoInfo
from streamer.metrics import Metrics
from streamer.outlets import Outlets
from streamer.pipeline import Stream
from streamer.sources.elementary import describe_video
from tests.clips import Clips

FPS = 30
FRAMES = 36
LOST = (12, 13, 14, 25, 26, 27)
"""Not the 16th: where libx264's frame_num wraps, libav shows nothing until it wraps again."""


class Camera:
    """Sends moving pictures in their own time and loses some of them."""

    audio: AudioInfo | None = None

    def __init__(self, clips: Clips, clock: MonotonicClock) -> None:
        self._clock = clock
        self._packets = coded(clips)
        video = describe_video("h264", bytes(self._packets[0].payload), time_base=RTP_TIME_BASE)
        assert video is not None
        self.video: VideoInfo = replace(video, fps=Fraction(FPS))

    async def packets(self) -> AsyncIterator[Packet]:
        began = asyncio.get_running_loop().time()
        lost = False
        for number, packet in enumerate(self._packets):
            await asyncio.sleep(began + number / FPS - asyncio.get_running_loop().time())
            if number not in LOST:
                yield replace(packet, arrived_ns=self._clock.now_ns(), follows_loss=lost)
            lost = number in LOST

    async def request_keyframe(self) -> None:
        """It cannot."""

    async def close(self) -> None:
        """Nothing is open."""


def coded(clips: Clips) -> list[Packet]:
    """A picture that moves by three pixels a frame, as a camera codes it."""
    clip = clips.made(
        "zero_latency.h264",
        *("-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30,crop=320:180:'3*n':40"),
        *("-frames:v", str(FRAMES), "-pix_fmt", "yuv420p"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency"),
    )
    with av.open(str(clip)) as container:
        return [
            Packet(
                payload=bytes(native),
                pts=number * 3000,
                dts=number * 3000,
                time_base=RTP_TIME_BASE,
                arrived_ns=0,
                is_keyframe=native.is_keyframe,
            )
            for number, native in enumerate(container.demux(video=0))
            if native.size
        ]


def recorded(clips: Clips, path: Path, *, conceals: bool) -> tuple[list[int], Stream]:
    """Which of the camera's frames were shown, by their times, and the stream that showed them."""
    settings = StreamSettings(
        source="rtsp://camera/1",
        sinks=(parse_sink(str(path)),),
        scale=1,
        backend="reference",
        conceals=conceals,
        budget_ms=400,
    )

    async def play() -> Stream:
        clock, metrics = MonotonicClock(), Metrics()
        camera = Camera(clips, clock)
        engines = await asyncio.to_thread(choose_engines, settings, clock, metrics)
        chain = await asyncio.to_thread(
            build_chain, settings, engines, camera.video, clock=clock, metrics=metrics
        )
        stream = Stream(
            settings,
            source=camera,
            chain=chain,
            outlets=Outlets(settings, source=camera, clock=clock, metrics=metrics),
            clock=clock,
            metrics=metrics,
        )
        await stream.run()
        return stream

    stream = asyncio.run(play())
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        times = [Fraction(each.pts or 0) * Fraction(each.time_base or 0) for each in packets]
    return [round((time - times[0]) * FPS) for time in sorted(times)], stream


def test_frames_that_a_camera_lost_are_made_up_for(clips: Clips, tmp_path: Path) -> None:
    shown, stream = recorded(clips, tmp_path / "out.mp4", conceals=True)
    arrived = {number for number in range(FRAMES) if number not in LOST}
    made = set(shown) - arrived
    # How many of a gap are made up for depends on how late frames usually are on this machine.
    assert made & set(LOST[:3])
    assert made & set(LOST[3:])
    assert made <= set(LOST)
    assert shown == sorted(set(shown))
    assert stream.report()["frames"]["concealed"]["lost"] >= len(made)


def test_whoever_wants_no_made_frames_gets_none(clips: Clips, tmp_path: Path) -> None:
    shown, stream = recorded(clips, tmp_path / "out.mp4", conceals=False)
    assert shown == [number for number in range(FRAMES) if number not in LOST]
    assert stream.report()["frames"]["concealed"] == {}
