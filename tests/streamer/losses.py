"""A camera behind a line that loses packets in bursts, as the decoder sees it: all our own parts."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from fractions import Fraction
from functools import cache
from typing import Any

import av
import cv2
import numpy as np

from streamer.clock import ManualClock
from streamer.decode import Decoder
from streamer.frame import RTP_TIME_BASE, Frame, Packet, Plane, Planes
from streamer.media import VideoInfo
from streamer.metrics import Metrics
from streamer.rtp.packet import RtpPacket
from streamer.rtp.packetise_h264 import H264Packetiser
from streamer.rtp.receiver import TrackReceiver
from streamer.rtp.unit import TrackFormat
from streamer.sources.elementary import describe_video
from tests.impairment import Burst, Fates, Impairment
from tests.streamer.rtp.sending import as_bytes

WIDTH, HEIGHT, FRAMES = 320, 192, 40
TICKS = 3000
"""Between two pictures: 30 a second."""

SPEED = (3.25, 1.5)
"""Pixels to the right and down in each picture, in its middle."""
ZOOM = 1.01
"""How much more of the scene each picture shows than the one before."""


@cache
def scene() -> Plane:
    """Blurred noise, larger than the picture that moves over it."""
    noise = np.random.default_rng(3).integers(0, 256, (640, 800), np.uint8)
    soft = cv2.GaussianBlur(noise, (0, 0), 2.5).astype(np.float32)
    return np.asarray(np.clip((soft - 128) * 5 + 128, 16, 235), dtype=np.uint8)


def drawn(number: int) -> Plane:
    """The luma of one picture, with the noise of a sensor."""
    scales = [ZOOM**n for n in range(number + 1)]
    across, down = (180 + speed * sum(scales[:-1]) for speed in SPEED)
    picture = _seen(scene(), scales[-1], across, down)
    noise = np.random.default_rng(number).normal(0, 2, picture.shape)
    return np.asarray(np.clip(picture + noise, 16, 235), dtype=np.uint8)


def _seen(picture: Plane, scale: float, across: float, down: float) -> Plane:
    """What lies around the point (``across``, ``down``), as large as a picture."""
    place = np.array(
        [[scale, 0, across - scale * WIDTH / 2], [0, scale, down - scale * HEIGHT / 2]]
    )
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    size = (WIDTH, HEIGHT)
    seen = cv2.warpAffine(picture, place, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(seen, dtype=np.uint8)


@cache
def coded(slices: int) -> tuple[bytes, ...]:
    """The pictures as access units of H.264: a keyframe, and what refers to it."""
    context: Any = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    context.time_base = Fraction(1, 30)
    context.thread_count = 1
    context.options = {
        "preset": "veryfast",
        "tune": "zerolatency",
        "crf": "20",
        "x264-params": f"slices={slices}:sliced-threads=0:keyint=250:repeat-headers=1",
    }
    units = []
    grey = np.full((HEIGHT // 2, WIDTH), 128, np.uint8)
    for number in range(FRAMES):
        picture = av.VideoFrame.from_ndarray(np.vstack((drawn(number), grey)), format="yuv420p")
        picture.pts = number
        units += [bytes(packet) for packet in context.encode(picture)]
    assert len(units) == FRAMES
    return tuple(units)


def pieces(slices: int) -> Iterator[tuple[int, bytes]]:
    """Each RTP packet of the stream, with the number of its picture."""
    packetiser, sequence = H264Packetiser(max_payload_bytes=500), 0
    for number, unit in enumerate(coded(slices)):
        for piece in packetiser.split(unit):
            packet = RtpPacket(96, sequence, number * TICKS, 1, piece.is_marked, piece.payload)
            yield number, as_bytes(packet)
            sequence += 1


def in_bursts(slices: int, *, seed: int, share: float = 0.05, mean: float = 3.0) -> set[int]:
    """Numbers of RTP packets that a line loses (Gilbert-Elliott); the first picture arrives."""
    fates = Fates(seed, "to_client")
    burst = Burst(enter=share / mean / (1 - share), leave=1 / mean)
    return {
        index
        for index, (number, _) in enumerate(pieces(slices))
        if number and fates.next(Impairment(burst=burst)).is_lost
    }


def of_picture(number: int, slices: int) -> list[int]:
    """The numbers of a picture's RTP packets."""
    return [index for index, (of, _) in enumerate(pieces(slices)) if of == number]


def received(slices: int, lost: Collection[int] = ()) -> list[Packet]:
    """What the receiving side makes of the RTP packets that were not lost."""
    track = TrackFormat(codec="h264", clock_rate=90_000, payload_type=96)
    receiver = TrackReceiver(track, reorder_ns=0)
    units = []
    for index, (_, data) in enumerate(pieces(slices)):
        if index not in lost:
            units += receiver.receive(data, index)
    return [
        Packet(
            payload=unit.payload,
            pts=unit.timestamp,
            dts=unit.timestamp,
            time_base=RTP_TIME_BASE,
            arrived_ns=unit.arrived_ns,
            is_keyframe=unit.is_keyframe,
            follows_loss=unit.follows_loss,
            gaps=unit.gaps,
        )
        for unit in units
    ]


def video() -> VideoInfo:
    info = describe_video("h264", coded(1)[0], time_base=RTP_TIME_BASE)
    assert info is not None
    return info


def decoded(packets: list[Packet], *, metrics: Metrics | None = None) -> dict[int, Frame]:
    """The frames that a live stream shows, by the number of their picture."""
    decoder = Decoder(video(), low_delay=True, clock=ManualClock(), metrics=metrics or Metrics())
    frames = [frame for packet in packets for frame in decoder.decode(packet)]
    return {frame.pts // TICKS: frame for frame in frames + decoder.flush()}


def moved_on(earlier: Planes, last: Planes, step: float) -> Planes:
    """A prediction that knows how the scene moves; edges repeat."""
    middle = (WIDTH / 2 + step * SPEED[0], HEIGHT / 2 + step * SPEED[1])
    return _seen(last[0], ZOOM**step, *middle), last[1].copy(), last[2].copy()


def psnr(seen: Plane, wanted: Plane) -> float:
    """In dB, at most 60."""
    error = float(np.mean((seen.astype(np.float64) - wanted) ** 2))
    return float(10 * np.log10(255**2 / max(error, 0.065)))
