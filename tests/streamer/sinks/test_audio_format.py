"""The table of containers and codecs, each entry muxed and read back by ffprobe."""

from __future__ import annotations

import asyncio
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from streamer.errors import SinkError
from streamer.frame import Packet
from streamer.media import AudioInfo
from streamer.sinks.audio_format import (
    HOLDS,
    Template,
    describe,
    described,
    holds_as_is,
)
from streamer.sinks.file import MP4_OPTIONS
from streamer.sinks.muxer import Muxer
from streamer.sinks.muxer_protocol import Output
from tests.clips import ffmpeg
from tests.programs import needs, output_of
from tests.streamer.sinks.network_peers import Camera, Peer, free_port, holds

pytestmark = needs("ffmpeg", "ffprobe")

ENCODERS = {
    "aac": "aac",
    "ac3": "ac3",
    "alac": "alac",
    "dts": "dca",
    "eac3": "eac3",
    "flac": "flac",
    "mlp": "mlp",
    "mp2": "mp2",
    "mp3": "libmp3lame",
    "opus": "libopus",
    "s302m": "s302m",
    "truehd": "truehd",
    "vorbis": "libvorbis",
    "wavpack": "wavpack",
}
"""The encoder in ffmpeg of each codec whose name is not its own."""

CARRIERS = {
    "alac": "mov",
    "pcm_alaw": "mov",
    "pcm_mulaw": "mov",
    "s302m": "ts",
    "eac3": "mkv",
    "mlp": "mkv",
    "truehd": "mkv",
    "wmav2": "asf",
}
"""What the clip of a codec is in; the others are in NUT."""

SUFFIXES = {"mp4": ".mp4", "matroska": ".mkv", "mpegts": ".ts", "flv": ".flv", "hls": ".m3u8"}


@pytest.fixture(scope="module")
def coded_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the clips of this module lie, each made once."""
    return tmp_path_factory.mktemp("coded")


IN_FILES = [(format, codec) for format in SUFFIXES for codec in sorted(HOLDS[format])]


def coded(folder: Path, codec: str, *, rate_hz: int = 48_000) -> Path:
    """One second of ``codec``, stereo, in a container that holds anything."""
    path = folder / f"{codec}-{rate_hz}.{CARRIERS.get(codec, 'nut')}"
    if path.exists():
        return path
    options: tuple[str, ...] = ("-strict", "-2")
    if codec == "s302m":
        options += ("-sample_fmt", "s16")
    source = f"sine=frequency=440:duration=1:sample_rate={rate_hz}"
    coder = ENCODERS.get(codec, codec)
    ffmpeg("-f", "lavfi", "-i", source, "-ac", "2", "-c:a", coder, *options, str(path))
    return path


def opened(path: Path) -> tuple[Any, AudioInfo, list[Packet]]:
    """What a file source gives of a file's sound."""
    container = av.open(str(path))
    stream = container.streams.audio[0]
    audio = AudioInfo(
        codec=stream.codec_context.name,
        rate_hz=stream.codec_context.sample_rate,
        channels=stream.codec_context.channels,
        time_base=Fraction(stream.time_base or 1),
        codec_parameters=stream,
    )
    packets = [
        Packet(
            payload=native,
            pts=native.pts or 0,
            dts=native.dts or 0,
            time_base=Fraction(native.time_base or 1),
            duration=native.duration or 0,
            arrived_ns=0,
            is_keyframe=True,
            stream="audio",
        )
        for native in container.demux(stream)
        if native.size
    ]
    return container, audio, packets


def muxed(path: Path, format: str, audio: AudioInfo, sounds: list[Packet]) -> Muxer:
    """A second of picture and ``sounds``, written in the order of their times."""
    camera = Camera()
    pictures = [packet for _ in range(30) for packet in camera.next_packets()]
    options = {"hls": {"hls_segment_type": "fmp4"}, "mp4": MP4_OPTIONS}.get(format, {})
    muxer = Muxer(Output(url=str(path), format=format, options=options), audio)
    muxer.open(pictures[0].payload, time_base=pictures[0].time_base)
    for packet in sorted([*pictures, *sounds], key=lambda one: one.time_s):
        muxer.write(packet)
    muxer.close()
    return muxer


def probed(path: Path) -> dict[str, Any]:
    """What ffprobe says of the sound, all of it decoded."""
    answer = output_of(
        *("ffprobe", "-v", "error", "-select_streams", "a:0", "-count_packets"),
        *("-show_entries", "stream:frame=nb_samples", "-of", "json", str(path)),
    )
    whole = json.loads(answer)
    found: dict[str, Any] = whole["streams"][0]
    found["samples"] = sum(frame["nb_samples"] for frame in whole["frames"])
    return found


@pytest.mark.parametrize(("format", "codec"), IN_FILES)
def test_what_a_container_holds_is_copied_and_read_back(
    format: str, codec: str, tmp_path: Path, coded_folder: Path
) -> None:
    container, audio, sounds = opened(coded(coded_folder, codec))
    target = tmp_path / f"out{SUFFIXES[format]}"
    with container:
        assert holds_as_is(format, audio)
        muxer = muxed(target, format, audio, sounds)
    assert muxer.transcoder is None
    found = probed(target)
    # MP4 has one number for both layers.
    assert found["codec_name"] == ("mp3" if (format, codec) == ("mp4", "mp2") else codec)
    assert (found["sample_rate"], found["channels"]) == ("48000", 2)
    assert int(found["nb_read_packets"]) > 0
    # Decodes to the length it had.
    assert abs(found["samples"] / 48_000 - 1) < 0.1


@pytest.mark.parametrize("codec", sorted(HOLDS["rtsp"]))
def test_what_rtsp_holds_is_copied_and_read_back(codec: str, coded_folder: Path) -> None:
    rate_hz = 8000 if codec.startswith("pcm") else 48_000
    container, audio, sounds = opened(coded(coded_folder, codec, rate_hz=rate_hz))

    def push() -> None:
        muxed_to_peer(f"rtsp://127.0.0.1:{port}/live/key", audio, sounds)

    async def scenario() -> None:
        with Peer.rtsp(port) as peer:
            for _ in range(200):
                try:
                    await asyncio.to_thread(push)
                    break
                except ConnectionRefusedError:
                    await asyncio.sleep(0.05)
            await holds(lambda: peer.count(1) >= 10)
            name = {"mp3": "mp3float"}.get(codec, codec)
            assert f"# {name}" in peer.said

    port = free_port()
    with container:
        asyncio.run(scenario())


def muxed_to_peer(url: str, audio: AudioInfo, sounds: list[Packet]) -> None:
    camera = Camera()
    pictures = [packet for _ in range(30) for packet in camera.next_packets()]
    options = {"rtsp_transport": "tcp"}
    muxer = Muxer(Output(url=url, format="rtsp", options=options), audio)
    muxer.open(pictures[0].payload, time_base=pictures[0].time_base)
    for packet in sorted([*pictures, *sounds], key=lambda one: one.time_s):
        muxer.write(packet)
    muxer.close()


@pytest.mark.parametrize(
    ("codec", "format"),
    [
        ("aac", "mp4"),
        ("aac", "flv"),
        ("aac", "hls"),
        ("opus", "mp4"),
        ("opus", "matroska"),
        ("opus", "mpegts"),
        ("aac", "mpegts"),
        ("mp3", "flv"),
        ("ac3", "hls"),
        ("flac", "matroska"),
        ("vorbis", "matroska"),
        ("pcm_s16le", "mp4"),
    ],
)
def test_sound_that_is_only_described_is_copied_too(
    codec: str, format: str, tmp_path: Path, coded_folder: Path
) -> None:
    container, audio, sounds = opened(coded(coded_folder, codec))
    with container:
        # As it comes from a network source, or reaches a child: no libav stream of this process.
        told = described(json.loads(json.dumps(describe(audio))))
        assert told.codec_parameters is None
        target = tmp_path / f"out{SUFFIXES[format]}"
        muxer = muxed(target, format, told, sounds)
    assert muxer.transcoder is None
    found = probed(target)
    assert found["codec_name"] == codec
    assert (found["sample_rate"], found["channels"]) == ("48000", 2)
    assert abs(found["samples"] / 48_000 - 1) < 0.1


@pytest.mark.parametrize("format", ["mp4", "flv", "hls", "matroska"])
def test_the_headers_of_broadcast_aac_are_taken_off(format: str, tmp_path: Path) -> None:
    source = tmp_path / "in.ts"
    sine = "sine=frequency=440:duration=1:sample_rate=44100"
    ffmpeg("-f", "lavfi", "-i", sine, "-ac", "2", "-c:a", "aac", str(source))
    container, audio, sounds = opened(source)
    assert bytes(sounds[0].payload)[0] == 0xFF
    with container:
        ways = [described(describe(audio))]
        if format in ("mp4", "matroska"):
            ways.append(audio)  # as the file sink has it
        for number, told in enumerate(ways):
            target = tmp_path / f"out{number}{SUFFIXES[format]}"
            muxed(target, format, told, sounds)
            found = probed(target)
            assert found["codec_name"] == "aac"
            assert abs(found["samples"] / 44_100 - 1) < 0.1


def test_a_codec_without_a_name_in_wave_is_said() -> None:
    audio = AudioInfo(codec="qdm2", rate_hz=44_100, channels=2, time_base=Fraction(1, 44_100))
    with pytest.raises(SinkError, match="qdm2 audio from this input cannot be described"):
        Template(audio)
