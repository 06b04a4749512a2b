"""Order, time, rotation and fields: what must be right beside the picture's values."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from streamer.frame import Packet
from tests.clips import HEIGHT, WIDTH, Clips, ffmpeg, h264, holed, interlaced, moving, turned
from tests.measure import pictures_of, psnr, times_of
from tests.programs import needs
from tests.streamer.decoding import decoded, decoder_of, opened

pytestmark = needs("ffmpeg", "ffprobe")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi"])
def test_b_frames_come_out_in_order_with_their_own_times(suffix: str, clips: Clips) -> None:
    clip = clips.plain(suffix)
    frames = decoded(clip)
    theirs = pictures_of(clip)
    assert len(frames) == len(theirs) == 30
    for frame, picture in zip(frames, theirs, strict=True):
        assert psnr(frame.planes, picture) == 99
    if suffix != ".avi":
        assert [frame.time_s for frame in frames] == times_of(clip)
    assert all(a.time_s < b.time_s for a, b in pairwise(frames))


def test_raw_h264_without_time_stamps_gets_times_of_its_rate(clips: Clips) -> None:
    frames = decoded(clips.plain(".h264"))
    steps = {b.time_s - a.time_s for a, b in pairwise(frames)}
    assert len(frames) == 30
    assert steps == {Fraction(1, 30)}


def test_time_stamps_that_come_twice_do_not_put_pictures_behind_the_sound(clips: Clips) -> None:
    source = clips.made("twice_source.mp4", *moving(), *h264("-bf", "0"))
    twice = clips.made(
        "twice.mkv", "-i", str(source), "-c", "copy", "-bsf:v", "setts=ts='floor(N*4/5)*DURATION'"
    )
    frames, stated = decoded(twice), times_of(twice)
    assert len(frames) == len(stated) == 30
    assert all(one.time_s < later.time_s for one, later in pairwise(frames))
    assert all(
        0 <= frame.time_s - time <= Fraction(33, 1000)
        for frame, time in zip(frames, stated, strict=True)
    )


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_picture_that_was_filmed_on_its_side_stands_upright(
    degrees: int, clips: Clips, tmp_path: Path
) -> None:
    clip = turned(clips, tmp_path, degrees)
    frames, theirs = decoded(clip), pictures_of(clip)
    assert len(frames) == len(theirs) == 3
    is_on_its_side = degrees != 180
    for frame, picture in zip(frames, theirs, strict=True):
        assert (frame.width < frame.height) == is_on_its_side
        assert psnr(frame.planes, picture) == 99
        assert frame.sample_aspect == (Fraction(1, 2) if is_on_its_side else Fraction(2))
        assert all(plane.flags.c_contiguous for plane in frame.planes)


def combing(luma: NDArray[np.uint8]) -> float:
    """How much neighbouring lines differ beyond what lines two apart do."""
    rows = luma.astype(np.int16)
    near = np.abs(rows[1:-1] - rows[:-2]).mean()
    return float(near / (np.abs(rows[2:] - rows[:-2]).mean() + 0.1))


def test_interlaced_pictures_become_progressive_and_keep_number_and_time(clips: Clips) -> None:
    clip = interlaced(clips)
    frames = decoded(clip)
    assert [frame.time_s for frame in frames] == times_of(clip)
    assert all(b.time_s - a.time_s == Fraction(1, 25) for a, b in pairwise(frames))
    combed = [combing(picture[0]) for picture in pictures_of(clip)]
    clean = [combing(frame.planes[0]) for frame in frames]
    assert np.mean(clean) < 0.8 * np.mean(combed)


def test_with_low_delay_each_packet_gives_its_frame_at_once(clips: Clips) -> None:
    clip = clips.made("nob.mp4", *moving(frames=6), *h264("-bf", "0"))
    demuxer = opened(clip)
    decoder = decoder_of(demuxer, low_delay=True)
    for _ in range(6):
        packet = demuxer.next_packet()
        assert packet is not None
        (frame,) = decoder.decode(packet)
        assert frame.pts == packet.pts
    assert decoder.flush() == []
    demuxer.close()


@pytest.mark.parametrize("codec", ["mpeg1video", "mpeg2video", "mpeg4", "libx264"])
def test_live_pictures_with_b_frames_come_out_in_order(codec: str, clips: Clips) -> None:
    coded = ("-c:v", codec, "-pix_fmt", "yuv420p", "-b:v", "4M", "-bf", "2", "-g", "12")
    clip = clips.made(f"live_{codec}.ts", *moving(), *coded)
    demuxer = opened(clip)
    decoder = decoder_of(demuxer, low_delay=True)
    frames = []
    while (packet := demuxer.next_packet()) is not None:
        frames += decoder.decode(packet)
    frames += decoder.flush()
    demuxer.close()
    assert [frame.time_s for frame in frames] == times_of(clip)
    for frame, picture in zip(frames, pictures_of(clip), strict=True):
        assert psnr(frame.planes, picture) > 50


def test_a_frame_knows_when_its_own_packet_arrived(clips: Clips) -> None:
    demuxer = opened(clips.plain())
    decoder = decoder_of(demuxer)
    arrived: dict[int, int] = {}
    frames = []
    while (packet := demuxer.next_packet()) is not None:
        arrived[packet.pts] = len(arrived)
        frames += decoder.decode(replace(packet, arrived_ns=arrived[packet.pts]))
    frames += decoder.flush()
    demuxer.close()
    assert {frame.pts: frame.arrived_ns for frame in frames} == arrived


def test_a_frame_that_waited_for_later_packets_knows_which_one_released_it(clips: Clips) -> None:
    source = clips.made("reordered.mp4", *moving(frames=12), *h264())
    demuxer = opened(source)
    decoder = decoder_of(demuxer, low_delay=True)
    waited = []
    for number in range(12):
        packet = demuxer.next_packet()
        assert packet is not None
        for frame in decoder.decode(replace(packet, arrived_ns=number)):
            assert frame.stamps_ns["released"] == number
            waited.append(number - frame.arrived_ns)
    demuxer.close()
    assert max(waited) >= 1


def test_packets_of_noise_are_counted_and_stop_nothing(clips: Clips) -> None:
    demuxer = opened(clips.plain(".ts"))
    decoder = decoder_of(demuxer)
    noise = np.random.default_rng(5).integers(0, 256, 400, np.uint8).tobytes()
    frames = []
    for number in range(30):
        packet = demuxer.next_packet()
        assert packet is not None
        if number == 20:
            broken = Packet(payload=noise, pts=1, dts=1, time_base=packet.time_base, arrived_ns=0)
            frames += decoder.decode(broken)
        frames += decoder.decode(packet)
    frames += decoder.flush()
    demuxer.close()
    assert decoder.refused == 1
    assert len(frames) == 30


def test_interlaced_pictures_that_change_their_size_go_on(clips: Clips, tmp_path: Path) -> None:
    joined = tmp_path / "joined.ts"
    parts = [interlaced(clips, size).read_bytes() for size in ("320x180", "160x96")]
    joined.write_bytes(b"".join(parts))
    assert {frame.height for frame in decoded(joined)} == {180, 96}


def test_bytes_without_libav_around_them_keep_their_time(clips: Clips) -> None:
    demuxer = opened(clips.plain())
    decoder = decoder_of(demuxer)
    times, frames = [], []
    while (packet := demuxer.next_packet()) is not None:
        times.append(packet.pts)
        frames += decoder.decode(replace(packet, payload=bytes(packet.payload)))
    frames += decoder.flush()
    demuxer.close()
    assert [frame.pts for frame in frames] == sorted(times)


def test_a_stream_that_changes_its_size_goes_on(clips: Clips, tmp_path: Path) -> None:
    small = clips.made("small.ts", *moving(size="160x90", frames=10), *h264())
    joined = tmp_path / "joined.ts"
    joined.write_bytes(clips.plain(".ts").read_bytes() + small.read_bytes())
    sizes = [(frame.width, frame.height) for frame in decoded(joined)]
    assert set(sizes) == {(WIDTH, HEIGHT), (160, 90)}
    assert sizes == sorted(sizes, reverse=True)


def test_a_hole_in_a_transport_stream_counts_as_damage(clips: Clips, tmp_path: Path) -> None:
    demuxer = opened(holed(clips, tmp_path))
    decoder = decoder_of(demuxer)
    while (packet := demuxer.next_packet()) is not None:
        decoder.decode(packet)
    decoder.flush()
    demuxer.close()
    assert decoder.refused > 0
    assert ffmpeg("-i", str(tmp_path / "holed.ts"), "-f", "md5", "-")
