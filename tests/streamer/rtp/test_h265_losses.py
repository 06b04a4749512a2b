"""H.265 behind a line that loses packets in bursts: what is decoded, and what a viewer sees of it."""

from __future__ import annotations

import random
from fractions import Fraction
from functools import cache
from itertools import groupby
from typing import Any

import av
import numpy as np
import pytest

from streamer.clock import ManualClock
from streamer.decode import Decoder
from streamer.frame import RTP_TIME_BASE, Frame, Origin, Packet
from streamer.metrics import Metrics
from streamer.pace import MOST_LOST
from streamer.rtp.packet import RtpPacket
from streamer.rtp.receiver import TrackReceiver
from streamer.rtp.unit import TrackFormat
from streamer.sources.elementary import describe_video
from tests.impairment import Burst, Fates, Impairment
from tests.streamer.losses import HEIGHT, TICKS, WIDTH, drawn
from tests.streamer.rtp.sending import as_bytes, cut_h265
from tests.streamer.viewer_model import Arrival, Stream

pytestmark = pytest.mark.skipif(
    "libx265" not in av.codecs_available, reason="this PyAV has no encoder of H.265"
)

FRAMES, GOP = 40, 10
INTERVAL_MS = 1000 / 30

Coded = tuple[tuple[int, bytes], ...]
"""Number and access unit of each picture, in decoding order."""

KINDS = [(0, 1), (0, 2), (2, 1)]
"""B-frames between two others, and slices."""


@cache
def coded(b_frames: int, slices: int) -> Coded:
    context: Any = av.CodecContext.create("libx265", "w")
    context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    context.time_base = Fraction(1, 30)
    # Without a pool of threads libx265 crashes where a picture has slices.
    context.options = {
        "preset": "ultrafast",
        "x265-params": f"log-level=none:keyint={GOP}:min-keyint={GOP}:scenecut=0:open-gop=0:"
        f"bframes={b_frames}:slices={slices}:repeat-headers=1:crf=24:pools=1:frame-threads=1",
    }
    units: list[tuple[int, bytes]] = []
    grey = np.full((HEIGHT // 2, WIDTH), 128, np.uint8)
    for number in range(FRAMES):
        picture = av.VideoFrame.from_ndarray(np.vstack((drawn(number), grey)), format="yuv420p")
        picture.pts = number
        units += [(packet.pts, bytes(packet)) for packet in context.encode(picture)]
    units += [(packet.pts, bytes(packet)) for packet in context.encode(None)]
    assert len(units) == FRAMES
    return tuple(units)


def arrived(units: Coded, *, seed: int | None) -> list[Packet]:
    """What the receiving side makes of the pictures; ``seed`` decides what is lost, if anything,
    of all behind the first group, from which the rhythm is learnt."""
    receiver = TrackReceiver(
        TrackFormat(codec="hevc", clock_rate=90_000, payload_type=96), reorder_ns=0
    )
    fates, burst = Fates(seed or 0, "to_client"), Burst(enter=0.05 / 4 / 0.95, leave=1 / 4)
    found, sequence = [], 0
    for number, unit in units:
        nals = [nal for nal in unit.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if nal]
        payloads = cut_h265(nals, size=500, rng=random.Random(1), aggregates=False, don=False)
        for index, (payload, _) in enumerate(payloads):
            sequence += 1
            is_lost = fates.next(Impairment(burst=burst)).is_lost
            if seed is not None and number >= GOP and is_lost:
                continue
            marker = index == len(payloads) - 1
            packet = RtpPacket(96, sequence, number * TICKS, 1, marker, payload)
            found += receiver.receive(as_bytes(packet), sequence)
    return [
        Packet(
            payload=unit.payload,
            pts=unit.timestamp,
            dts=order,
            time_base=RTP_TIME_BASE,
            arrived_ns=unit.arrived_ns,
            is_keyframe=unit.is_keyframe,
            follows_loss=unit.follows_loss,
            gaps=unit.gaps,
        )
        for order, unit in enumerate(found)
    ]


def decoded(units: Coded, packets: list[Packet]) -> dict[int, Frame]:
    """The frames of a live stream by the number of their picture."""
    video = describe_video("hevc", units[0][1], time_base=RTP_TIME_BASE)
    assert video is not None
    decoder = Decoder(video, low_delay=True, clock=ManualClock(), metrics=Metrics())
    frames = [frame for packet in packets for frame in decoder.decode(packet)]
    return {frame.pts // TICKS: frame for frame in frames + decoder.flush()}


@pytest.mark.parametrize(("b_frames", "slices"), KINDS)
def test_nothing_is_shown_that_was_not_sent(b_frames: int, slices: int) -> None:
    units = coded(b_frames, slices)
    whole = decoded(units, arrived(units, seed=None))
    assert list(whole) == list(range(FRAMES))
    losses = 0
    for seed in range(1, 9):
        packets = arrived(units, seed=seed)
        assert not any(packet.is_damaged for packet in packets)
        frames = decoded(units, packets)
        losses += FRAMES - len(packets)
        assert list(frames) == sorted(frames)
        for number, frame in frames.items():
            assert np.array_equal(frame.planes[0], whole[number].planes[0]), (seed, number)
    assert losses > 10


@pytest.mark.parametrize(("b_frames", "slices"), KINDS)
def test_all_is_shown_from_a_keyframe_to_the_next_loss(b_frames: int, slices: int) -> None:
    units = coded(b_frames, slices)
    order = [number for number, _ in units]
    for seed in range(1, 9):
        packets = arrived(units, seed=seed)
        came = {packet.pts // TICKS for packet in packets}
        frames = decoded(units, packets)
        for key in range(0, FRAMES, GOP):
            group = [number for number in order if key <= number < key + GOP]
            lost = next((at for at, number in enumerate(group) if number not in came), GOP)
            assert frames.keys() >= set(group[:lost]), (seed, key)


def test_a_viewer_sees_four_predictions_and_then_the_last_one_until_the_next_keyframe() -> None:
    units = coded(0, 1)
    held = 0
    for seed in range(1, 9):
        arrivals = [
            Arrival(number, number * INTERVAL_MS)
            for number in decoded(units, arrived(units, seed=seed))
        ]
        seen = Stream().watch(arrivals)
        shown = {frame.pts // TICKS: frame.origin for frame, _ in seen.shown}
        missing = sorted(set(range(arrivals[-1].number)) - {one.number for one in arrivals})
        for _, run in groupby(enumerate(missing), lambda pair: pair[1] - pair[0]):
            lost = [number for _, number in run]
            stood_in = [number for number in lost if number in shown]
            assert all(shown[number] is Origin.PREDICTED for number in stood_in)
            assert stood_in == lost[:MOST_LOST]
            held += len(lost) > MOST_LOST
    assert held > 2
