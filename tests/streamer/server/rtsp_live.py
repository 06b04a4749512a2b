"""A live camera for the RTSP tests: counted pictures and sound from real encoders, in real time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from fractions import Fraction
from typing import Any

import av
import numpy as np

from streamer.clock import Clock, MonotonicClock
from streamer.config import EncodeSettings
from streamer.encode import Encoder
from streamer.frame import Frame, Packet, Planes
from streamer.media import AudioInfo, Color
from streamer.metrics import Metrics
from streamer.server.rtsp import RtspServer
from streamer.sinks.rtsp_mount import RtspMount
from streamer.sources.counter import burn

WIDTH, HEIGHT, FPS = 320, 192, 25
TONE_HZ = 440


def picture(number: int, *, width: int = WIDTH, height: int = HEIGHT) -> Planes:
    """A slope that wanders, noise at the bottom for the encoder to spend bits on, and the number."""
    luma = np.empty((height, width), np.uint8)
    luma[...] = (np.arange(width) // 2 + np.arange(height)[:, None] + 2 * number) % 160 + 40
    rows = height // 4
    luma[-rows:] = np.random.default_rng(number).integers(90, 120, (rows, width), np.uint8)
    chroma = tuple(np.full((height // 2, width // 2), level, np.uint8) for level in (110, 150))
    planes = (luma, chroma[0], chroma[1])
    burn(planes, milliseconds=number * 1000 // FPS, frame_number=number)
    return planes


class Camera:
    """Encodes one picture after the other, and the sound up to each; keyframes on request."""

    def __init__(
        self,
        *,
        audio: AudioInfo | None = None,
        width: int = WIDTH,
        height: int = HEIGHT,
        bitrate_kbps: int = 1_500,
        first: int = 0,
        clock: Clock | None = None,
    ) -> None:
        self.clock = clock or MonotonicClock()
        self.keyframe_requests = 0
        self.sent: list[Packet] = []
        self.number = first
        self._size = {"width": width, "height": height}
        self._encoder = Encoder(
            "encode",
            EncodeSettings(bitrate_kbps=bitrate_kbps),
            fps=Fraction(FPS),
            is_live=True,
            clock=self.clock,
            metrics=Metrics(),
        )
        self._sound = None if audio is None else sound(audio, from_s=Fraction(first, FPS))
        self._waiting: Packet | None = None

    def request_keyframe(self) -> None:
        self.keyframe_requests += 1
        self._encoder.request_keyframe()

    def mount(self, name: str = "cam", *, audio: AudioInfo | None = None, **more: Any) -> RtspMount:
        return RtspMount(
            name,
            audio=audio,
            request_keyframe=self.request_keyframe,
            clock=self.clock,
            **more,
        )

    def next_packets(self) -> list[Packet]:
        """One picture's, after the sound that belongs before it."""
        planes = picture(self.number, **self._size)
        frame = Frame(
            planes=planes,
            pts=self.number * 90_000 // FPS,
            time_base=Fraction(1, 90_000),
            arrived_ns=self.clock.now_ns(),
            color=Color(matrix="bt709"),
            duration=90_000 // FPS,
        )
        self.number += 1
        packets = [*self._sound_until(frame.time_s), *self._encoder.encode(frame, planes)]
        self.sent += packets
        return packets

    def _sound_until(self, time_s: Fraction) -> Iterator[Packet]:
        while self._sound is not None:
            packet, self._waiting = self._waiting or next(self._sound), None
            if packet.time_s > time_s:
                self._waiting = packet
                return
            yield packet

    async def film(self, *mounts: RtspMount) -> None:
        """In real time, for ever; what a machine missed that stood still is not made up for.

        In one burst it would be more than a socket for datagrams holds.
        """
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            for packet in self.next_packets():
                for mount in mounts:
                    await mount.send(packet)
            due_s = max(due_s + 1 / FPS, loop.time() - 0.2)
            await asyncio.sleep(max(0, due_s - loop.time()))


def sound(audio: AudioInfo, *, from_s: Fraction = Fraction(0)) -> Iterator[Packet]:
    """A tone in ``audio``'s codec, from zero; numbered packets, from ``from_s``, of G.711."""
    if audio.codec.startswith("pcm"):
        yield from _numbered(audio, int(from_s * 50))
        return
    for native in _tone(audio):
        yield Packet(
            payload=bytes(native),
            pts=native.pts or 0,
            dts=native.pts or 0,
            time_base=Fraction(1, audio.rate_hz),
            arrived_ns=0,
            stream="audio",
        )


def _numbered(audio: AudioInfo, number: int) -> Iterator[Packet]:
    """20 ms each; the first four bytes are its number, the rest silence."""
    samples = audio.rate_hz // 50
    while True:
        yield Packet(
            payload=number.to_bytes(4, "big") + b"\xd5" * (samples * audio.channels - 4),
            pts=number * samples,
            dts=number * samples,
            time_base=Fraction(1, audio.rate_hz),
            arrived_ns=0,
            stream="audio",
        )
        number += 1


def _encoder_of(audio: AudioInfo) -> Any:
    name = "libopus" if audio.codec == "opus" else audio.codec
    codec: Any = av.CodecContext.create(name, "w")
    codec.sample_rate = audio.rate_hz
    codec.layout = "stereo" if audio.channels == 2 else "mono"
    codec.format = "flt" if audio.codec == "opus" else "fltp"
    codec.time_base = Fraction(1, audio.rate_hz)
    codec.open()
    return codec


def _tone(audio: AudioInfo) -> Iterator[Any]:
    codec = _encoder_of(audio)
    is_planar = codec.format.is_planar
    at = 0
    while True:
        count = codec.frame_size
        wave = np.sin(2 * np.pi * TONE_HZ * (at + np.arange(count)) / audio.rate_hz) / 4
        both = np.tile(wave, (audio.channels, 1)).astype(np.float32)
        shaped = both if is_planar else np.ascontiguousarray(both.T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(
            shaped, format=codec.format.name, layout=codec.layout.name
        )
        frame.sample_rate, frame.pts = audio.rate_hz, at
        at += count
        yield from codec.encode(frame)


def aac(*, rate_hz: int = 48_000, channels: int = 2) -> AudioInfo:
    plain = AudioInfo(
        codec="aac", rate_hz=rate_hz, channels=channels, time_base=Fraction(1, rate_hz)
    )
    config = bytes(_encoder_of(plain).extradata)
    return AudioInfo(
        codec="aac",
        rate_hz=rate_hz,
        channels=channels,
        time_base=plain.time_base,
        extradata=config,
    )


def audio_of(codec: str, *, rate_hz: int, channels: int) -> AudioInfo:
    return AudioInfo(
        codec=codec, rate_hz=rate_hz, channels=channels, time_base=Fraction(1, rate_hz)
    )


@contextmanager
def filming(camera: Camera, *mounts: RtspMount) -> Iterator[None]:
    """The camera runs while the block does."""
    task = asyncio.get_running_loop().create_task(camera.film(*mounts))
    try:
        yield
    finally:
        task.cancel()
    if task.done() and not task.cancelled():
        task.result()


@asynccontextmanager
async def serving(
    mounts: Mapping[str, RtspMount], *, clock: Clock | None = None, **options: Any
) -> AsyncIterator[RtspServer]:
    """A server over ``mounts`` on a free port."""
    server = RtspServer(
        mounts, host="127.0.0.1", port=0, clock=clock or MonotonicClock(), **options
    )
    async with server:
        yield server
