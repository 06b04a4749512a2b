"""Receivers of pushed streams, each in a process of its own, and a live stream to push."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import Self

from streamer.clock import MonotonicClock
from streamer.config import EncodeSettings
from streamer.encode import Encoder
from streamer.frame import Packet
from streamer.media import AudioInfo
from streamer.metrics import Metrics
from streamer.sinks.base import Sink
from tests.streamer.pictures import frame_of, noise

DEADLINE_S = 90.0
"""Generous: the machine may be busy, and only a failure waits this long."""

G711 = AudioInfo(codec="pcm_alaw", rate_hz=8000, channels=1, time_base=Fraction(1, 8000))

RTSP_RECEIVER = """
import sys, av
options = {"rtsp_flags": "listen", "listen_timeout": "40", "rtsp_transport": "tcp"}
with av.open(sys.argv[1], options=options) as container:
    for stream in container.streams:
        print("#", stream.codec_context.name, flush=True)
    for packet in container.demux():
        if packet.size:
            print(f"{packet.stream_index}, {packet.dts}, {packet.pts}, 0, {packet.size}, crc"
                  + ("" if packet.is_keyframe else ", F=0x0"), flush=True)
"""


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Received:
    """One packet as a receiver saw it."""

    stream: int
    pts: int | None
    """``None`` where the receiver did not know yet: RTSP, before the first sender report."""
    is_keyframe: bool


class Peer:
    """A receiver: what it got so far, and what it said of the stream."""

    def __init__(self, *command: str) -> None:
        self.said: list[str] = []
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    @classmethod
    def ffmpeg(cls, *source: str) -> Peer:
        """``ffmpeg`` that reads ``source`` and prints a line for each packet."""
        program = shutil.which("ffmpeg")
        assert program is not None
        printed = ("-map", "0", "-c", "copy", "-copyts", "-flush_packets", "1", "-f", "framecrc")
        return cls(program, "-v", "error", "-nostdin", *source, *printed, "-")

    @classmethod
    def rtmp(cls, port: int, path: str = "/live/key") -> Peer:
        return cls.ffmpeg("-listen", "1", "-i", f"rtmp://127.0.0.1:{port}{path}")

    @classmethod
    def rtsp(cls, port: int) -> Peer:
        return cls(sys.executable, "-c", RTSP_RECEIVER, f"rtsp://127.0.0.1:{port}/live/key")

    @property
    def packets(self) -> list[Received]:
        lines = [line.split(",") for line in list(self.said) if not line.startswith("#")]
        return [
            Received(
                stream=int(parts[0]),
                pts=None if "None" in parts[2] else int(parts[2]),
                is_keyframe=len(parts) < 7 or "F=" not in parts[6],
            )
            for parts in lines
            if len(parts) >= 6
        ]

    def count(self, stream: int = 0) -> int:
        return sum(packet.stream == stream for packet in self.packets)

    def times(self, stream: int = 0) -> list[int]:
        return [p.pts for p in self.packets if p.stream == stream and p.pts is not None]

    def pause(self) -> None:
        """It keeps its connection and reads no more."""
        self._process.send_signal(signal.SIGSTOP)

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reading.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.said.append(line.decode().strip())


class MutePeer:
    """A TCP server that accepts and then neither reads nor says anything."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.port = int(self._socket.getsockname()[1])
        self._accepted: list[socket.socket] = []

    @property
    def accepted(self) -> int:
        try:
            while True:
                self._accepted.append(self._socket.accept()[0])
        except BlockingIOError:
            return len(self._accepted)

    def close(self) -> None:
        for one in (*self._accepted, self._socket):
            one.close()


class Camera:
    """Encodes noise at 30 fps by its times, faster by the clock, and sends it to a sink."""

    def __init__(self, *, with_sound: bool = False, size: tuple[int, int] = (96, 64)) -> None:
        self.clock = MonotonicClock()
        self.metrics = Metrics()
        self.sent = 0
        self.keyframes_asked = 0
        self.size = size
        self._with_sound = with_sound
        self._encoder = Encoder(
            "encode",
            EncodeSettings(preset="ultrafast"),
            fps=Fraction(30),
            is_live=True,
            clock=self.clock,
            metrics=self.metrics,
        )

    def request_keyframe(self) -> None:
        self.keyframes_asked += 1
        self._encoder.request_keyframe()

    def next_packets(self) -> list[Packet]:
        """The next picture, and the sound beside it."""
        planes = noise(width=self.size[0], height=self.size[1], seed=self.sent % 5)
        frame = frame_of(planes, pts=self.sent)
        packets = self._encoder.encode(frame, frame.planes)
        if self._with_sound:
            # 160 samples are 20 ms: five packets for three pictures.
            first, end = self.sent * 5 // 3, (self.sent + 1) * 5 // 3
            packets += [sound(number) for number in range(first, end)]
        self.sent += 1
        return packets

    async def film(self, sink: Sink, until: Callable[[], bool]) -> None:
        """Send until ``until`` holds; fails if it does not within the deadline."""
        end_ns = self.clock.now_ns() + round(DEADLINE_S * 1e9)
        while not until():
            assert self.clock.now_ns() < end_ns, "what was waited for did not happen"
            for packet in self.next_packets():
                await sink.send(packet)
            await asyncio.sleep(0.01)


def sound(number: int) -> Packet:
    """20 ms of G.711, a different level each."""
    return Packet(
        payload=bytes([0xD5 ^ (number % 64)]) * 160,
        pts=number * 160,
        dts=number * 160,
        duration=160,
        time_base=Fraction(1, 8000),
        arrived_ns=0,
        stream="audio",
    )


async def holds(condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` holds; fails if it does not within the deadline."""
    clock = MonotonicClock()
    end_ns = clock.now_ns() + round(DEADLINE_S * 1e9)
    while not condition():
        assert clock.now_ns() < end_ns, "what was waited for did not happen"
        await asyncio.sleep(0.02)
