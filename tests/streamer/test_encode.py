from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from streamer.clock import MonotonicClock
from streamer.config import EncodeSettings
from streamer.encode import BITS_PER_PIXEL, Encoder, live_bitrate_bps
from streamer.errors import SinkError
from streamer.frame import Frame, Packet
from streamer.media import Color
from streamer.metrics import Metrics

WIDTH, HEIGHT = 320, 192


def frames(count: int, *, time_base: Fraction = Fraction(1, 30), step: int = 1) -> Iterator[Frame]:
    """New noise each time, so that an encoder can spend all the bits it is given."""
    random = np.random.default_rng(1)
    half = np.full((HEIGHT // 2, WIDTH // 2), 128, np.uint8)
    for number in range(count):
        luma = random.integers(16, 235, (HEIGHT, WIDTH), np.uint8)
        yield Frame(
            planes=(luma, half, half),
            pts=number * step,
            time_base=time_base,
            arrived_ns=number,
            color=Color(matrix="bt709"),
            duration=step,
        )


def encoder(*, is_live: bool, fps: Fraction | None = Fraction(30), **settings: int) -> Encoder:
    return Encoder(
        "encode",
        EncodeSettings(**settings),  # type: ignore[arg-type]
        fps=fps,
        is_live=is_live,
        clock=MonotonicClock(),
        metrics=Metrics(),
    )


def size_bytes(packets: list[Packet]) -> int:
    return sum(len(packet.payload) for packet in packets)


def test_live_each_frame_comes_out_at_once_with_its_own_time_and_arrival() -> None:
    live = encoder(is_live=True)
    for number, frame in enumerate(frames(20)):
        (packet,) = live.encode(frame, frame.planes)
        assert (packet.pts, packet.dts) == (3000 * number, 3000 * number)
        assert packet.time_base == Fraction(1, 90_000)
        assert packet.arrived_ns == number
        assert packet.is_keyframe == (number == 0)


def test_a_requested_keyframe_is_the_very_next_frame_and_repeats_the_headers() -> None:
    live = encoder(is_live=True)
    packets = []
    for number, frame in enumerate(frames(12)):
        if number == 7:
            live.request_keyframe()
        packets += live.encode(frame, frame.planes)
    assert [n for n, packet in enumerate(packets) if packet.is_keyframe] == [0, 7]
    # From the seventh packet alone a decoder must be able to start.
    decoder = av.CodecContext.create("h264", "r")
    decoded = [f for p in packets[7:] for f in decoder.decode(av.Packet(p.payload))]
    assert len(decoded + decoder.decode(None)) == 5


def test_the_bitrate_follows_its_target_while_running_and_never_exceeds_the_ceiling() -> None:
    live = encoder(is_live=True, bitrate_kbps=4000)
    fifty = list(frames(150))
    packets = [p for frame in fifty for p in live.encode(frame, frame.planes)]
    high_kbps = size_bytes(packets[75:]) * 8 / 2.5 / 1000
    live.set_target_bitrate(1_000_000)
    later = [replace(frame, pts=frame.pts + 150) for frame in fifty]
    packets = [p for frame in later for p in live.encode(frame, frame.planes)]
    low_kbps = size_bytes(packets[75:]) * 8 / 2.5 / 1000
    assert 3000 < high_kbps < 4600
    assert 700 < low_kbps < 1400
    live.set_target_bitrate(50_000_000)
    last = [replace(frame, pts=frame.pts + 300) for frame in fifty]
    packets = [p for frame in last for p in live.encode(frame, frame.planes)]
    assert size_bytes(packets[75:]) * 8 / 2.5 / 1000 < 4600


@pytest.mark.parametrize("stated", [None, Fraction(30)])
@pytest.mark.parametrize("real", [15, 24, 60])
def test_pictures_that_come_at_another_rate_than_stated_get_the_bitrate_that_was_asked_for(
    real: int, stated: Fraction | None
) -> None:
    live = encoder(is_live=True, fps=stated, bitrate_kbps=2000)
    packets: list[Packet] = []
    for frame in frames(6 * real, time_base=Fraction(1, real)):
        (packet,) = live.encode(frame, frame.planes)
        packets.append(packet)
    later = packets[2 * real :]
    assert size_bytes(later) * 8 / 4 / 1000 == pytest.approx(2000, rel=0.15)
    # What has to wait on a line that carries just so much.
    waiting_bits = 0.0
    for packet in later:
        waiting_bits = max(0.0, waiting_bits - 2_000_000 / real) + len(packet.payload) * 8
        assert waiting_bits < 2_000_000 / 3


@pytest.mark.parametrize("real", [60, 90])
def test_a_default_bitrate_gives_each_picture_as_much_at_every_rate(real: int) -> None:
    live = encoder(is_live=True, fps=None)
    all_frames = frames(4 * real, time_base=Fraction(1, real))
    packets = [p for frame in all_frames for p in live.encode(frame, frame.planes)]
    mean_bits = size_bytes(packets[2 * real :]) * 8 / (2 * real)
    assert mean_bits == pytest.approx(BITS_PER_PIXEL * WIDTH * HEIGHT, rel=0.15)


def test_a_new_bitrate_goes_above_the_first_ceiling_from_a_keyframe_on() -> None:
    live = encoder(is_live=True, bitrate_kbps=300)
    before: list[Packet] = []
    after: list[Packet] = []
    for number, frame in enumerate(frames(120)):
        if number == 60:
            live.set_bitrate(3000)
        (before if number < 60 else after).extend(live.encode(frame, frame.planes))
    assert after[0].is_keyframe
    assert [packet.pts for packet in after] == [3000 * number for number in range(60, 120)]
    assert size_bytes(after) > 4 * size_bytes(before)


def test_a_file_keeps_ticks_that_ninety_kilohertz_would_round() -> None:
    rate = Fraction(24_000, 1001)
    offline = encoder(is_live=False, fps=rate)
    packets = [p for f in frames(30, time_base=1 / rate) for p in offline.encode(f, f.planes)]
    packets += offline.flush()
    assert sorted(packet.time_s for packet in packets) == [n / rate for n in range(30)]


def test_a_file_is_coded_without_b_frames() -> None:
    offline = encoder(is_live=False)
    packets = [p for frame in frames(60) for p in offline.encode(frame, frame.planes)]
    packets += offline.flush()
    assert len(packets) == 60
    assert all(packet.pts == packet.dts for packet in packets)


def test_a_frame_whose_time_is_not_later_is_left_out_and_counted() -> None:
    metrics = Metrics()
    live = Encoder(
        "encode", EncodeSettings(), fps=None, is_live=True, clock=MonotonicClock(), metrics=metrics
    )
    first, second = frames(2)
    assert len(live.encode(second, second.planes)) == 1
    assert live.encode(first, first.planes) == []
    assert live.encode(second, second.planes) == []
    assert metrics.counts("dropped.") == {"encode.time_not_later": 2}


def test_a_new_size_opens_the_encoder_anew_with_a_keyframe() -> None:
    live = encoder(is_live=True)
    large, small = frames(2)
    cropped = tuple(plane[: len(plane) // 2] for plane in small.planes)
    assert live.encode(large, large.planes)[0].is_keyframe
    (packet,) = live.encode(small, (cropped[0], cropped[1], cropped[2]))
    decoded = av.CodecContext.create("h264", "r").decode(av.Packet(packet.payload))
    assert packet.is_keyframe
    assert (decoded[0].width, decoded[0].height) == (WIDTH, HEIGHT // 2)


def test_the_default_bitrate_grows_with_the_picture_and_its_rate() -> None:
    plain = EncodeSettings()
    hd = live_bitrate_bps(plain, 1280, 720, Fraction(30))
    assert live_bitrate_bps(plain, 1280, 720, Fraction(60)) == 2 * hd
    assert live_bitrate_bps(plain, 2560, 1440, Fraction(30)) == 4 * hd
    assert live_bitrate_bps(EncodeSettings(bitrate_kbps=900), 1280, 720, None) == 900_000


def test_a_size_that_libx264_refuses_ends_in_one_sentence() -> None:
    live = encoder(is_live=True)
    (frame,) = frames(1)
    odd = (frame.planes[0][:, :-1], frame.planes[1], frame.planes[2])
    with pytest.raises((SinkError, ValueError)):
        live.encode(frame, odd)
