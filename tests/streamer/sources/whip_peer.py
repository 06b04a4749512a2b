"""A publisher in its own process: aiortc sends a drawn camera, and loses packets where asked to.

Its parent does the signalling: the offer leaves on standard output, the answer and then commands
come on standard input, one JSON value a line.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
    rtcrtpsender,
)
from aiortc.rtp import is_rtcp

from streamer.sources import counter

AUDIO_HZ = 48_000
AUDIO_SAMPLES = 960


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is published, and what the line does to it."""

    codec: str = "VP8"
    width: int = 640
    height: int = 360
    fps: int = 30
    has_audio: bool = False
    loss: float = 0.0
    """The share of RTP packets that never leave."""
    seed: int = 1
    repairs: bool = True
    """Whether packets that are asked for again are sent again."""
    first_sequence: int | None = None
    """Of each stream of packets; at random where not given."""
    loses: tuple[int, ...] = ()
    """Sequence numbers of the picture whose first attempts never leave."""
    begins_at_ms: int = 0
    """How long the camera waits before its first picture."""


class Camera(MediaStreamTrack):
    """Pictures with the time burnt in; grey stripes that move, so that there is something to code."""

    kind = "video"

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.width, self.height = settings.width, settings.height
        self._settings = settings
        self._number = 0
        self._began = 0.0

    async def recv(self) -> av.VideoFrame:
        if not self._number:
            await asyncio.sleep(self._settings.begins_at_ms / 1000)
            self._began = time.monotonic()
        due = self._began + self._number / self._settings.fps
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        frame = self._draw()
        frame.pts = self._number * 90_000 // self._settings.fps
        frame.time_base = Fraction(1, 90_000)
        self._number += 1
        return frame

    def _draw(self) -> av.VideoFrame:
        width, height = self.width, self.height
        y = np.empty((height, width), np.uint8)
        y[:] = 60 + ((np.arange(width) + 3 * self._number) // 16 % 8) * 16
        u, v = (np.full((height // 2, width // 2), level, np.uint8) for level in (110, 150))
        counter.burn(
            (y, u, v), milliseconds=time.monotonic_ns() // 1_000_000, frame_number=self._number
        )
        planes = np.concatenate([plane.reshape(-1) for plane in (y, u, v)])
        return av.VideoFrame.from_ndarray(planes.reshape(-1, width), format="yuv420p")


class Microphone(MediaStreamTrack):
    """A tone of 1 kHz during the first tenth of each second of the monotonic clock."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._number = 0
        self._began = 0.0

    async def recv(self) -> av.AudioFrame:
        self._began = self._began or time.monotonic()
        due = self._began + self._number * AUDIO_SAMPLES / AUDIO_HZ
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        at = due + np.arange(AUDIO_SAMPLES) / AUDIO_HZ
        tone = 8_000 * np.sin(2 * np.pi * 1_000 * at) * (at % 1 < 0.1)
        samples = np.repeat(tone.astype(np.int16), 2)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
        frame.sample_rate = AUDIO_HZ
        frame.pts = self._number * AUDIO_SAMPLES
        frame.time_base = Fraction(1, AUDIO_HZ)
        self._number += 1
        return frame


class Publisher:
    """An aiortc connection that sends ``settings`` and obeys its parent."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._random = random.Random(settings.seed)
        if (first := settings.first_sequence) is not None:
            rtcrtpsender.random_sequence_number = lambda: first
        self._loses = set(settings.loses)
        self._is_mute = False
        self._camera = Camera(settings)
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))

    async def offer(self) -> str:
        video = self.connection.addTransceiver(self._camera, direction="sendonly")
        known = RTCRtpSender.getCapabilities("video").codecs
        wanted = (self._settings.codec.lower(), "rtx")
        video.setCodecPreferences([codec for codec in known if codec.name.lower() in wanted])
        if self._settings.has_audio:
            self.connection.addTransceiver(Microphone(), direction="sendonly")
        await self.connection.setLocalDescription()
        return self.connection.localDescription.sdp

    async def accept(self, answer_sdp: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(answer_sdp, "answer"))
        for sender in self.connection.getSenders():
            if not self._settings.repairs:
                sender._retransmit = self._refuse  # type: ignore[method-assign]
        self._lose_packets(self.connection.getSenders()[0].transport)

    async def obey(self, command: dict[str, Any]) -> None:
        if "size" in command:
            self._camera.width, self._camera.height = command["size"]
        if "mute" in command:
            self._is_mute = command["mute"]

    async def _refuse(self, sequence_number: int) -> None:
        return None

    def _lose_packets(self, transport: Any) -> None:
        send = transport._send_rtp
        picture = self.connection.getSenders()[0]._ssrc.to_bytes(4, "big")

        async def send_or_lose(data: bytes) -> None:
            if self._is_mute:
                return
            sequence = int.from_bytes(data[2:4], "big")
            if data[8:12] == picture and not is_rtcp(data) and sequence in self._loses:
                self._loses.remove(sequence)
                return
            if not is_rtcp(data) and self._random.random() < self._settings.loss:
                return
            await send(data)

        transport._send_rtp = send_or_lose


async def main(settings: Settings) -> None:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    publisher = Publisher(settings)
    sys.stdout.write(json.dumps(await publisher.offer()) + "\n")
    sys.stdout.flush()
    await publisher.accept(json.loads(await reader.readline()))
    while line := await reader.readline():
        await publisher.obey(json.loads(line))
    await publisher.connection.close()


def as_argument(settings: Settings) -> str:
    """For the command line of this program."""
    return json.dumps(asdict(settings))


if __name__ == "__main__":
    asyncio.run(main(Settings(**json.loads(sys.argv[1]))))
