"""A live source loses frames: others stand in for them, at their times."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest

from streamer.clock import MonotonicClock
from streamer.config import StreamSettings, parse_sink
from streamer.enhance.assembly import build_chain, choose_engines
from streamer.frame import RTP_TIME_BASE, Frame, Origin, Packet
from streamer.media import AudioInfo, VideoInfo
from streamer.metrics import Metrics
from streamer.outlets import Outlets
from streamer.pipeline import Stream
from streamer.sources.elementary import describe_video
from tests.clips import Clips

FPS = 10
FRAMES = 36
GAPS = ((13, 14, 15, 16), (24, 25, 26, 27))
"""As many as are ever made up for, so that none is made of a frame that is only late. Among them is
the 16th, where libx264's frame_num wraps."""
LOST = {number for gap in GAPS for number in gap}


class Camera:
    """Sends moving pictures in their own time and loses some of them."""

    audio: AudioInfo | None = None

    def __init__(self, clips: Clips, clock: MonotonicClock) -> None:
        self.shown: Callable[[], Frame | None] | None = None
        """The last frame that was shown: after a gap the camera goes on when it is one that was
        made for the gap, however slow the machine is. Without it, the camera does not wait."""
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
            if number in LOST:
                lost = True
                continue
            if lost and self.shown is not None:
                async with asyncio.timeout(60):
                    while not stands_in(self.shown(), number):  # noqa: ASYNC110 - it has no event
                        await asyncio.sleep(0.001)
            yield replace(packet, arrived_ns=self._clock.now_ns(), follows_loss=lost)
            lost = False

    async def request_keyframe(self) -> None:
        """It cannot."""

    async def close(self) -> None:
        """Nothing is open."""


def stands_in(frame: Frame | None, number: int) -> bool:
    """Whether it was made for the gap before ``number``, or held because that was too late."""
    if frame is None or frame.origin is Origin.DECODED:
        return False
    return frame.origin is Origin.REPEATED or number - len(GAPS[0]) <= frame.time_s * FPS < number


def coded(clips: Clips) -> list[Packet]:
    """A picture that moves by three pixels a frame, as a camera codes it."""
    clip = clips.made(
        "zero_latency.h264",
        *("-f", "lavfi", "-i", "testsrc2=size=640x360:rate=10,crop=320:180:'3*n':40"),
        *("-frames:v", str(FRAMES), "-pix_fmt", "yuv420p"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency"),
    )
    with av.open(str(clip)) as container:
        return [
            Packet(
                payload=bytes(native),
                pts=number * 9000,
                dts=number * 9000,
                time_base=RTP_TIME_BASE,
                arrived_ns=0,
                is_keyframe=native.is_keyframe,
            )
            for number, native in enumerate(container.demux(video=0))
            if native.size
        ]


def recorded(clips: Clips, path: Path, *, conceals: bool) -> tuple[list[int], Stream]:
    """Which of the camera's frames were shown, by their times, and the stream that showed them.

    While the machine stands still for a second, frames are held: they lie at times of their own.
    """
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
        if conceals:
            camera.shown = lambda: stream.last_frame
        await stream.run()
        return stream

    stream = asyncio.run(play())
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        times = [Fraction(each.pts or 0) * Fraction(each.time_base or 0) for each in packets]
    numbers = [(time - times[0]) * FPS for time in sorted(times)]
    return [int(number) for number in numbers if number.denominator == 1], stream


def test_frames_that_a_camera_lost_are_made_up_for(clips: Clips, tmp_path: Path) -> None:
    for _ in range(10):
        shown, stream = recorded(clips, tmp_path / "out.mp4", conceals=True)
        made = set(shown) & LOST
        assert shown == sorted(set(shown))
        assert set(shown) <= set(range(FRAMES))
        assert stream.report()["frames"]["concealed"].get("lost", 0) >= len(made)
        # A machine that stands still around a gap costs the frames beside it too.
        whole = [set(gap) for gap in GAPS if {gap[0] - 1, gap[-1] + 1} <= set(shown)]
        assert all(made & gap for gap in whole)
        if whole:
            return
    pytest.fail("no gap was ever made up for, or this machine stands still all the time")


def test_whoever_wants_no_made_frames_gets_none(clips: Clips, tmp_path: Path) -> None:
    shown, stream = recorded(clips, tmp_path / "out.mp4", conceals=False)
    assert shown == sorted(set(shown))
    assert not set(shown) & LOST
    # A machine that stands still for a while may have lost some; then it says so.
    assert len(shown) + sum(stream.dropped.values()) == FRAMES - len(LOST)
    assert stream.report()["frames"]["concealed"] == {}
