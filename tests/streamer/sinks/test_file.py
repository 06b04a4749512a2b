from __future__ import annotations

import asyncio
from fractions import Fraction
from pathlib import Path

import av
import pytest

from streamer.clock import ManualClock
from streamer.config import EncodeSettings
from streamer.encode import Encoder
from streamer.errors import SinkError
from streamer.frame import Packet
from streamer.media import AudioInfo
from streamer.metrics import Metrics
from streamer.sinks.file import FileSink
from tests.streamer.pictures import frame_of, noise


def encoded(frames: int) -> list[Packet]:
    encoder = Encoder(
        "encode",
        EncodeSettings(preset="ultrafast"),
        fps=Fraction(30),
        is_live=True,
        clock=ManualClock(),
        metrics=Metrics(),
    )
    packets = []
    for pts in range(frames):
        frame = frame_of(noise(width=64, height=48, seed=pts), pts=pts)
        packets += encoder.encode(frame, frame.planes)
    return packets + encoder.flush()


async def write(path: Path, packets: list[Packet], audio: AudioInfo | None = None) -> None:
    sink = FileSink(str(path), audio=audio)
    try:
        for packet in packets:
            await sink.send(packet)
    finally:
        await sink.close()


def times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        return [(frame.pts or 0) * stream.time_base for frame in container.decode(stream)]


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.ts", "OUT.MP4"])
def test_packets_become_a_file_that_plays(name: str, tmp_path: Path) -> None:
    asyncio.run(write(tmp_path / name, encoded(6)))
    found = times(tmp_path / name)
    assert len(found) == 6
    assert all(abs(found[n] - Fraction(n, 30)) <= Fraction(1, 2000) for n in range(6))


def test_a_file_begins_with_a_keyframe(tmp_path: Path) -> None:
    packets = encoded(6)
    asyncio.run(write(tmp_path / "out.mkv", [packets[3], *packets]))
    assert len(times(tmp_path / "out.mkv")) == 6


def test_no_file_is_made_before_there_is_something_to_write(tmp_path: Path) -> None:
    asyncio.run(write(tmp_path / "out.mp4", []))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("codec", ["flac", "pcm_s16le", "vorbis"])
def test_sound_that_mpeg_ts_cannot_hold_is_refused_at_once(codec: str, tmp_path: Path) -> None:
    audio = AudioInfo(codec=codec, rate_hz=48_000, channels=2, time_base=Fraction(1, 48_000))
    with pytest.raises(SinkError, match=f"ts files cannot hold {codec} audio; write .mkv"):
        FileSink(str(tmp_path / "out.ts"), audio=audio)
    FileSink(str(tmp_path / "out.mkv"), audio=audio)


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.ts"])
def test_a_full_disk_is_said(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.symlink_to("/dev/full")
    with pytest.raises(SinkError, match=r"out\.\w+ could not be .*No space left on device"):
        asyncio.run(write(path, encoded(40)))


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.ts"])
def test_times_that_run_backwards_are_said(name: str, tmp_path: Path) -> None:
    packets = encoded(9)
    with pytest.raises(SinkError, match="the input's times run backwards, convert it with ffmpeg"):
        asyncio.run(write(tmp_path / name, [*packets, packets[3]]))
    assert len(times(tmp_path / name)) == 9


def test_a_folder_that_went_away_is_said(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="No such file or directory"):
        asyncio.run(write(tmp_path / "gone" / "out.mp4", encoded(2)))
