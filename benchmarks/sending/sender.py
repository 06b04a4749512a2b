"""Sends coded pictures to WebRTC viewers, by the streamer's output or by stock aiortc, and times it.

The pictures are coded before, as a live stream's are, and sent again and again at their rate. Commands
come in on standard input and answers go to standard output, a JSON line each: ``offers`` are answered,
``measure`` says what its thread did for so many seconds. That thread, the event loop's, does all
of the sending.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, Protocol

import av
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack

from benchmarks.latency.observer import say
from streamer.clock import Clock, MonotonicClock
from streamer.config import EncodeSettings
from streamer.encode import Encoder
from streamer.frame import RTP_TIME_BASE, Frame, Packet
from streamer.media import Color
from streamer.metrics import Metrics
from streamer.sinks.webrtc import WebRtcSink
from streamer.sources.scene import Scene

CODED_S = 1
"""Seconds of pictures that are sent over and over; they begin with a keyframe."""


class Way(Protocol):
    """How pictures get to viewers."""

    async def answer(self, offer_sdp: str) -> str:
        """Take a viewer in."""

    async def send(self, packet: Packet) -> None:
        """To every viewer who is connected."""


class Ours:
    """The streamer's WebRTC output."""

    def __init__(self, clock: Clock) -> None:
        self._sink = WebRtcSink(
            "viewers",
            request_keyframe=lambda: None,
            set_target_bitrate=lambda _: None,
            clock=clock,
            max_viewers=1000,
        )

    async def answer(self, offer_sdp: str) -> str:
        return (await self._sink.answer(offer_sdp)).answer_sdp

    async def send(self, packet: Packet) -> None:
        await self._sink.send(packet)


class Stock:
    """aiortc as it comes: a track for each viewer that gives what is coded already."""

    def __init__(self) -> None:
        self._tracks: list[tuple[RTCPeerConnection, CodedTrack]] = []

    async def answer(self, offer_sdp: str) -> str:
        connection, track = RTCPeerConnection(RTCConfiguration(iceServers=[])), CodedTrack()
        connection.addTrack(track)
        await connection.setRemoteDescription(RTCSessionDescription(offer_sdp, "offer"))
        await connection.setLocalDescription(await connection.createAnswer())
        self._tracks.append((connection, track))
        return str(connection.localDescription.sdp)

    async def send(self, packet: Packet) -> None:
        if not self._tracks:
            return
        coded = av.Packet(packet.payload)
        coded.pts, coded.time_base = packet.pts, packet.time_base
        for connection, track in self._tracks:
            if connection.connectionState == "connected":
                track.waiting.put_nowait(coded)


class CodedTrack(MediaStreamTrack):
    """Gives packets as they are put in."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self.waiting: asyncio.Queue[Any] = asyncio.Queue()

    async def recv(self) -> Any:
        return await self.waiting.get()


class Feeder:
    """Sends the pictures in turn, each at its time, for ever."""

    def __init__(self, way: Way, packets: Sequence[Packet], fps: int) -> None:
        self.fed = 0
        self.fed_bytes = 0
        self._way, self._packets, self._fps = way, packets, fps

    async def run(self) -> None:
        began_ns = time.monotonic_ns()
        while True:
            due_ns = began_ns + self.fed * 1_000_000_000 // self._fps
            await asyncio.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)
            packet = self._packets[self.fed % len(self._packets)]
            pts = self.fed * RTP_TIME_BASE.denominator // self._fps
            await self._way.send(replace(packet, pts=pts, dts=pts))
            self.fed += 1
            self.fed_bytes += len(packet.payload)

    async def measure(self, seconds: float) -> dict[str, float]:
        """What this thread takes for so long, and how many pictures were sent meanwhile."""
        pictures, size_bytes = self.fed, self.fed_bytes
        began_wall_s, began_ns = _wall_s(), time.monotonic_ns()
        thread_ns = time.thread_time_ns()
        await asyncio.sleep(seconds)
        return {
            "thread_ms": (time.thread_time_ns() - thread_ns) / 1e6,
            "seconds": (time.monotonic_ns() - began_ns) / 1e9,
            "pictures": self.fed - pictures,
            "bytes": self.fed_bytes - size_bytes,
            "began_wall_s": began_wall_s,
            "ended_wall_s": _wall_s(),
        }


def _wall_s() -> float:
    """By this clock strace notes when a call came; nothing is timed by it."""
    return time.clock_gettime(time.CLOCK_REALTIME)


def coded(*, width: int, height: int, fps: int, kbps: int, clock: Clock) -> list[Packet]:
    """The drawn scene as a live stream codes it; the same bytes every time."""
    settings = EncodeSettings(bitrate_kbps=kbps)
    encoder = Encoder(
        "coding", settings, fps=Fraction(fps), is_live=True, clock=clock, metrics=Metrics()
    )
    scene = Scene(seed=1, width=width, height=height, cut_s=Fraction(5))
    packets: list[Packet] = []
    for number in range(CODED_S * fps):
        planes = scene.draw(Fraction(number, fps))
        frame = Frame(
            planes=planes,
            pts=number,
            time_base=Fraction(1, fps),
            arrived_ns=0,
            color=Color.untagged(height),
        )
        packets += encoder.encode(frame, planes)
    return packets + encoder.flush()


async def serve(way: Way, packets: Sequence[Packet], fps: int) -> None:
    """Feed, and do what standard input asks for, until it ends."""
    feeder = Feeder(way, packets, fps)
    feeding = asyncio.create_task(feeder.run())
    say("ready")
    while line := await asyncio.to_thread(sys.stdin.readline):
        asked = json.loads(line)
        if asked["event"] == "offers":
            say("answers", sdps=[await way.answer(sdp) for sdp in asked["sdps"]])
        else:
            say("measured", number=asked["number"], **await feeder.measure(asked["seconds"]))
        if feeding.done():
            feeding.result()


def main() -> None:
    """Send until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=("streamer", "aiortc"))
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--fps", type=int, default=60)
    parser.add_argument("--kbps", type=int, default=11_000)
    options = parser.parse_args()
    clock = MonotonicClock()
    packets = coded(
        width=options.width,
        height=options.height,
        fps=options.fps,
        kbps=options.kbps,
        clock=clock,
    )

    async def run() -> None:
        way = Ours(clock) if options.way == "streamer" else Stock()
        await serve(way, packets, options.fps)

    asyncio.run(run())


if __name__ == "__main__":
    main()
