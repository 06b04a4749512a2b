from __future__ import annotations

import asyncio
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from functools import partial
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
from streamer.sinks.audio_transcode import AudioTranscoder
from streamer.sinks.file import EARLY_PACKETS, FileSink
from tests.measure import stream_of, times_of
from tests.programs import needs
from tests.streamer.pictures import frame_of, noise
from tests.streamer.sinks.network_peers import G711, sound


def encoded(frames: int, *, is_live: bool = True) -> list[Packet]:
    encoder = Encoder(
        "encode",
        EncodeSettings(preset="ultrafast"),
        fps=Fraction(30),
        is_live=is_live,
        clock=ManualClock(),
        metrics=Metrics(),
    )
    packets = []
    for pts in range(frames):
        frame = frame_of(noise(width=64, height=48, seed=pts), pts=pts)
        packets += encoder.encode(frame, frame.planes)
    return packets + encoder.flush()


async def write(
    path: Path,
    packets: list[Packet],
    audio: AudioInfo | None = None,
    *,
    fps: Fraction | None = None,
    is_live: bool = False,
) -> None:
    sink = FileSink(str(path), audio=audio, fps=fps, is_live=is_live)
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


@needs("ffprobe")
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.ts"])
def test_the_rate_is_stated(name: str, tmp_path: Path) -> None:
    asyncio.run(write(tmp_path / name, encoded(6, is_live=False), fps=Fraction(30)))
    assert stream_of(tmp_path / name)["avg_frame_rate"] == "30/1"


def test_a_file_begins_with_a_keyframe(tmp_path: Path) -> None:
    packets = encoded(6)
    asyncio.run(write(tmp_path / "out.mkv", [packets[3], *packets]))
    assert len(times(tmp_path / "out.mkv")) == 6


@needs("ffprobe")
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.ts"])
def test_what_was_written_a_second_ago_outlives_a_sudden_end(name: str, tmp_path: Path) -> None:
    async def cut_off() -> None:
        sink = FileSink(str(tmp_path / name), audio=None, fps=Fraction(30))
        for packet in encoded(150):
            await sink.send(packet)
        # What a program that is killed now leaves behind.
        shutil.copy(tmp_path / name, tmp_path / f"cut-{name}")
        await sink.close()

    asyncio.run(cut_off())
    assert len(times_of(tmp_path / f"cut-{name}")) >= 119
    assert len(times_of(tmp_path / name)) == 150


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """For all of this process; what is larger fails as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@needs("ffprobe")
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.ts"])
def test_a_recording_is_never_written_over(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, packets = tmp_path / name, encoded(150)
    record = partial(write, path, packets, is_live=True)
    asyncio.run(record())
    assert not caplog.text
    with (
        files_of_at_most(sum(len(packet.payload) for packet in packets) // 2),
        pytest.raises(SinkError, match=r"out-2\.\w+ could not be written further"),
    ):
        asyncio.run(record())
    before = len(times_of(path.with_stem("out-2")))
    assert before > 30
    mine = path.with_stem("out-3")
    mine.write_text("mine")
    path.with_stem("out-4").touch()
    asyncio.run(record())
    found = {one.name for one in tmp_path.iterdir()}
    assert found == {f"out{number}{path.suffix}" for number in ("", "-2", "-3", "-4")}
    assert len(times_of(path)) == len(times_of(path.with_stem("out-4"))) == 150
    assert len(times_of(path.with_stem("out-2"))) == before
    assert mine.read_text() == "mine"
    assert f"{path} holds a recording already; this one is out-4{path.suffix}" in caplog.text


def test_no_file_is_made_before_there_is_something_to_write(tmp_path: Path) -> None:
    asyncio.run(write(tmp_path / "out.mp4", []))
    assert list(tmp_path.iterdir()) == []


@needs("ffprobe")
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.ts"])
def test_sound_that_a_container_cannot_hold_is_coded_anew_and_that_is_said_once(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sounds = [sound(number) for number in range(50)]
    pictures = encoded(30)
    packets = sorted([*pictures, *sounds], key=lambda packet: packet.time_s)
    asyncio.run(write(tmp_path / name, packets, G711))
    assert caplog.text.count("the sound is coded anew") == 1
    assert "cannot hold pcm_alaw" in caplog.text
    assert ("; .mkv takes most" in caplog.text) == (name != "out.mkv")
    found = stream_of(tmp_path / name, "a")
    assert (found["codec_name"], found["sample_rate"], found["channels"]) == ("aac", "48000", 1)
    times = times_of(tmp_path / name, "a")
    # A second of it, beginning with the picture; the encoder's delay of 21 ms lies before.
    assert 47 <= len(times) <= 49
    assert abs(times[0] - times_of(tmp_path / name)[0] + Fraction(1024, 48_000)) < Fraction(2, 1000)
    assert len(times_of(tmp_path / name)) == 30


@needs("ffprobe")
def test_sound_that_is_only_described_is_copied_bit_for_bit(tmp_path: Path) -> None:
    transcoder = AudioTranscoder(G711, "aac")
    sounds = [out for number in range(50) for out in transcoder.transcode(sound(number))]
    audio = replace(transcoder.audio, codec_parameters=None)
    packets = sorted([*encoded(30), *sounds], key=lambda packet: packet.time_s)
    asyncio.run(write(tmp_path / "out.mp4", packets, audio))
    assert stream_of(tmp_path / "out.mp4", "a")["codec_name"] == "aac"
    with av.open(str(tmp_path / "out.mp4")) as container:
        copied = [bytes(packet) for packet in container.demux(audio=0) if packet.size]
    assert copied == [bytes(packet.payload) for packet in sounds]


def test_sound_before_the_first_picture_is_kept_for_it(tmp_path: Path) -> None:
    packets = [*(sound(number) for number in range(10)), *encoded(6)]
    asyncio.run(write(tmp_path / "out.ts", packets, G711))
    assert len(times(tmp_path / "out.ts")) == 6
    with av.open(str(tmp_path / "out.ts")) as container:
        assert sum(packet.size > 0 for packet in container.demux(audio=0)) >= 9


@pytest.mark.parametrize("is_live", [False, True])
def test_a_file_keeps_all_sound_before_its_first_picture(tmp_path: Path, *, is_live: bool) -> None:
    """Pictures may be minutes apart there; in front of a camera that shows nothing it has an end."""
    count = EARLY_PACKETS + 500
    packets = [*(sound(number) for number in range(count)), *encoded(1)]
    asyncio.run(write(tmp_path / "out.mkv", packets, G711, is_live=is_live))
    with av.open(str(tmp_path / "out.mkv")) as container:
        times = [p.pts for p in container.demux(audio=0) if p.size]
    kept_s = EARLY_PACKETS * 0.02 if is_live else count * 0.02
    # AAC of 1024 samples at 48 kHz.
    assert abs(len(times) * 1024 / 48_000 - kept_s) < 0.1


def test_what_follows_a_hole_in_uncompressed_sound_does_not_play_early(tmp_path: Path) -> None:
    """MP4 has no times for it. Half a packet may be missing time and again, or more than a second
    at once."""
    audio = AudioInfo(codec="pcm_s16le", rate_hz=8000, channels=2, time_base=Fraction(1, 8000))
    numbers = [*range(10), *range(100, 110), *range(200, 220)]
    packets = [
        # A quarter is missing of each of the last twenty.
        replace(sound(number), payload=bytes([number] * (480 if number >= 200 else 640)))
        for number in numbers
    ]
    asyncio.run(write(tmp_path / "out.mp4", [*encoded(1), *packets], audio))
    with av.open(str(tmp_path / "out.mp4")) as container:
        heard = b"".join(bytes(one) for one in container.demux(audio=0) if one.size)[::4]
    begins = [heard.index(number) / 160 for number in numbers]
    assert max(begin - number for begin, number in zip(begins, numbers, strict=True)) <= 0
    assert max(number - begin for begin, number in zip(begins, numbers, strict=True)) <= 1


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.ts"])
@pytest.mark.parametrize("is_live", [False, True])
def test_nobody_waits_for_the_hour_at_which_a_recording_begins(
    name: str, tmp_path: Path, *, is_live: bool
) -> None:
    """As a broadcast's clock says, or where sound came late and the recording goes on with it."""
    hours_s = 40_000
    packets = [sound(0), *encoded(6), sound(1)]
    later = [
        replace(one, pts=one.pts + ticks, dts=one.dts + ticks)
        for one in packets
        for ticks in [int(hours_s / one.time_base)]
    ]
    asyncio.run(write(tmp_path / name, later, G711, is_live=is_live))
    begins_s = hours_s if name == "out.ts" else 1
    before = [one.time_s for one in packets if one.stream == "video"]
    assert [time_s - begins_s for time_s in times(tmp_path / name)] == pytest.approx(
        before, abs=6e-4
    )


def test_sound_of_an_unknown_codec_is_refused_at_once(tmp_path: Path) -> None:
    audio = AudioInfo(codec="no-codec", rate_hz=48_000, channels=2, time_base=Fraction(1, 48_000))
    with pytest.raises(SinkError, match="ts files cannot hold no-codec audio, and it cannot be"):
        FileSink(str(tmp_path / "out.ts"), audio=audio)


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
