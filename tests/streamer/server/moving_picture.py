"""A live stream for the tests: a moving picture, encoded once per rendition, sent by real sinks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from streamer.clock import MonotonicClock
from streamer.errors import ConfigError
from streamer.frame import RTP_TIME_BASE, Packet
from streamer.rtc.session import Session, View
from streamer.sinks.webrtc import WebRtcSink

WIDTH, HEIGHT, FPS = 320, 180, 30

# Y, U, V of each half: unmistakable, also after encoding.
ENHANCED = (160, 70, 90)  # green
PLAIN = (110, 100, 190)  # red
CLOCK_SIZE = 40
CLOCK_STEPS = 16


def clock_level(number: int) -> int:
    """The grey that says which frame this is, in steps that survive encoding."""
    return 40 + 12 * (number % CLOCK_STEPS)


def paint(number: int, view: View) -> NDArray[np.uint8]:
    """Frame ``number`` as I420, (rows * 3 / 2, WIDTH); its clock is drawn into both halves."""
    halves = (ENHANCED, PLAIN) if view == "compare" else (ENHANCED,)
    rows = HEIGHT * len(halves)
    planes = [np.empty((rows, WIDTH), np.uint8)]
    planes += [np.empty((rows // 2, WIDTH // 2), np.uint8) for _ in range(2)]
    noise = np.random.default_rng(number).integers(-6, 7, (HEIGHT // 3, WIDTH), np.int16)
    for half, levels in enumerate(halves):
        for plane, level in zip(planes, levels, strict=True):
            part = plane.shape[0] // len(halves)
            plane[half * part : (half + 1) * part] = level
        top = half * HEIGHT
        _paint_clock(planes, top, number)
        # Something to encode: noise in the lower third, and a bar that wanders.
        lower = planes[0][top + 2 * HEIGHT // 3 : top + HEIGHT]
        lower[...] = np.clip(lower.astype(np.int16) + noise[: lower.shape[0]], 16, 235)
        bar = (number * 3) % WIDTH
        planes[0][top + HEIGHT // 2 : top + HEIGHT // 2 + 8, bar : bar + 12] = 235
    return np.concatenate([plane.reshape(-1) for plane in planes]).reshape(-1, WIDTH)


def _paint_clock(planes: list[NDArray[np.uint8]], top: int, number: int) -> None:
    for left in (0, WIDTH - CLOCK_SIZE):
        planes[0][top : top + CLOCK_SIZE, left : left + CLOCK_SIZE] = clock_level(number)
        for plane in planes[1:]:
            plane[top // 2 : (top + CLOCK_SIZE) // 2, left // 2 : (left + CLOCK_SIZE) // 2] = 128


class Rendition:
    """One encoder and the sink behind it."""

    def __init__(self, view: View, *, bitrate_bps: int = 1_500_000, **sink: Any) -> None:
        self.view = view
        self.keyframe_requests = 0
        self.bitrates_bps: list[int] = []
        self.keyframes: list[int] = []
        self.packets: list[Packet] = []
        self._wants_keyframe = False
        self._codec = _open_encoder(view, bitrate_bps)
        self.sink = WebRtcSink(
            view,
            request_keyframe=self._request_keyframe,
            set_target_bitrate=self.bitrates_bps.append,
            clock=MonotonicClock(),
            max_bitrate_bps=bitrate_bps,
            **sink,
        )

    def _request_keyframe(self) -> None:
        self.keyframe_requests += 1
        self._wants_keyframe = True

    def encode(self, number: int, arrived_ns: int) -> list[Packet]:
        """The packets of one frame; runs in a thread."""
        frame = av.VideoFrame.from_ndarray(paint(number, self.view), format="yuv420p")
        frame.pts = number * 90_000 // FPS
        frame.time_base = RTP_TIME_BASE
        if self._wants_keyframe:
            self._wants_keyframe = False
            frame.pict_type = av.video.frame.PictureType.I
        return [_to_packet(packet, arrived_ns) for packet in self._codec.encode(frame)]

    async def send(self, packets: list[Packet]) -> None:
        for packet in packets:
            if packet.is_keyframe:
                self.keyframes.append(packet.pts)
            self.packets.append(packet)
            await self.sink.send(packet)


def _open_encoder(view: View, bitrate_bps: int) -> Any:
    codec: Any = av.CodecContext.create("libx264", "w")
    codec.width, codec.height = WIDTH, HEIGHT * (2 if view == "compare" else 1)
    codec.pix_fmt = "yuv420p"
    codec.time_base = RTP_TIME_BASE
    codec.framerate = Fraction(FPS)
    codec.bit_rate = bitrate_bps
    codec.gop_size = 100_000  # keyframes only on request
    codec.thread_count = 1
    codec.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "profile": "baseline",
        "forced-idr": "1",
    }
    return codec


def _to_packet(packet: Any, arrived_ns: int) -> Packet:
    return Packet(
        payload=bytes(packet),
        pts=packet.pts,
        dts=packet.dts,
        time_base=RTP_TIME_BASE,
        arrived_ns=arrived_ns,
        is_keyframe=packet.is_keyframe,
    )


class LiveStream:
    """A ``StreamHandle`` over two renditions of the moving picture."""

    def __init__(self, name: str = "camera", **sink: Any) -> None:
        self._name = name
        self.renditions: dict[View, Rendition] = {
            "enhanced": Rendition("enhanced", **sink),
            "compare": Rendition("compare", **sink),
        }
        self.frames = 0
        self.sessions: list[Session] = []
        self.sample_aspect = 1.0

    @property
    def name(self) -> str:
        return self._name

    async def answer(self, offer_sdp: str, *, view: View) -> Session:
        session = await self.renditions[view].sink.answer(offer_sdp)
        self.sessions.append(session)
        return session

    async def hang_up(self, session_id: str) -> bool:
        for rendition in self.renditions.values():
            if await rendition.sink.hang_up(session_id):
                return True
        return False

    @property
    def viewers(self) -> int:
        return sum(rendition.sink.viewers for rendition in self.renditions.values())

    def statistics(self) -> Mapping[str, Any]:
        whole = {"n": self.frames, "p50": 21.4, "p95": 33.5, "p99": 38.2, "max": 44.0}
        return {
            "name": self._name,
            "source": {"codec": "h264", "width": WIDTH // 2, "height": HEIGHT // 2, "fps": FPS},
            "output": {
                "width": WIDTH,
                "height": HEIGHT,
                "fps": FPS,
                "sample_aspect": self.sample_aspect,
                "bitrate_kbps": 1480,
            },
            "fps": {"in": 29.97, "out": 29.97},
            "latency_ms": {"arrived_to_sent": whole},
            "tier": "lite",
            "tiers": {"lite": 899, "plain": 1},
            "frames": {"decoded": 900, "sent": 900, "dropped": {"decoded_link.full": 2}},
            "engines": [
                {
                    "model": "sr-lite-x2-live",
                    "backend": "ort-cpu",
                    "precision": "int8",
                    "device": "cpu",
                }
            ],
            "viewers": self.viewers,
            "uptime_s": self.frames / FPS,
        }

    async def run(self) -> None:
        """Encode and send in real time until cancelled.

        A late frame is sent at once, but what a machine missed that stood still is not made up for.
        """
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        clock = MonotonicClock()
        while True:
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            due_s = max(due_s + 1 / FPS, loop.time() - 0.5)
            for rendition in self.renditions.values():
                packets = await asyncio.to_thread(rendition.encode, self.frames, clock.now_ns())
                await rendition.send(packets)
            self.frames += 1

    async def close(self) -> None:
        for rendition in self.renditions.values():
            await rendition.sink.close()


class DeafStream:
    """A stream that cannot be watched."""

    name = "deaf"

    async def answer(self, offer_sdp: str, *, view: View) -> Session:
        raise ConfigError("this stream has no WebRTC output; add --to webrtc:")

    async def hang_up(self, session_id: str) -> bool:
        return False

    def statistics(self) -> Mapping[str, Any]:
        return {}


@asynccontextmanager
async def running(stream: LiveStream) -> AsyncIterator[LiveStream]:
    """``stream`` while it runs; closed afterwards."""
    task = asyncio.create_task(stream.run())
    try:
        yield stream
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await stream.close()
        assert task.cancelled(), task.exception()
