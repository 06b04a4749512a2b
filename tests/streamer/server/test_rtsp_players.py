"""Real players at our server: ffmpeg, ffprobe and GStreamer, each a program of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from streamer.clock import MonotonicClock
from streamer.errors import SourceError
from streamer.frame import Packet
from streamer.media import AudioInfo
from streamer.rtp.annex_b import nal_units
from streamer.sources.counter import read
from streamer.sources.rtsp import RtspSource
from tests.programs import needs
from tests.streamer.server.rtsp_client import RtspClient
from tests.streamer.server.rtsp_live import (
    FPS,
    HEIGHT,
    WIDTH,
    Camera,
    aac,
    audio_of,
    filming,
    picture,
    serving,
)
from tests.streamer.server.watcher import run, until
from tests.streamer.sources.rtsp_viewer import PATIENT

G711 = audio_of("pcm_alaw", rate_hz=8_000, channels=1)
OPUS = audio_of("opus", rate_hz=48_000, channels=2)
PLAYED_WITHIN_S = 120
SOON = ("-analyzeduration", "300000")
"""ffmpeg looks at a stream for a second before it plays; a third is enough here."""

PASSWORD = "correct horse"

GI_PYTHON = "/usr/bin/python3"
"""GStreamer's Python module comes with the system's interpreter only."""

PULL = """
import sys
import gi
gi.require_version("Gst", "1.0")
from gi.repository import Gst
Gst.init(None)
url, protocols, sound, wanted = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
pipeline = Gst.parse_launch(
    f"rtspsrc name=source location={url} protocols={protocols} latency=200 "
    "source. ! application/x-rtp,media=video ! rtph264depay ! h264parse ! avdec_h264 ! "
    "videoconvert ! video/x-raw,format=I420 ! appsink name=pictures sync=false "
    f"source. ! application/x-rtp,media=audio ! {sound} ! appsink name=sounds sync=false"
)
pictures, sounds = pipeline.get_by_name("pictures"), pipeline.get_by_name("sounds")
pipeline.set_state(Gst.State.PLAYING)
for _ in range(wanted):
    sample = pictures.emit("try-pull-sample", 60 * Gst.SECOND)
    if sample is None:
        sys.exit("no picture")
    buffer = sample.get_buffer()
    sys.stdout.buffer.write(buffer.pts.to_bytes(8, "big"))
    sys.stdout.buffer.write(buffer.extract_dup(0, buffer.get_size()))
heard = 0
while heard < wanted:
    sample = sounds.emit("try-pull-sample", 60 * Gst.SECOND)
    if sample is None:
        sys.exit("no sound")
    heard += 1
pipeline.set_state(Gst.State.NULL)
"""


def needs_gstreamer() -> pytest.MarkDecorator:
    check = [GI_PYTHON, "-c", "import gi; gi.require_version('Gst', '1.0')"]
    is_there = (
        os.path.exists(GI_PYTHON)
        and subprocess.run(check, capture_output=True, check=False).returncode == 0
    )
    is_required = os.environ.get("STREAMER_REQUIRE_PROGRAMS") == "1"
    return pytest.mark.skipif(
        not is_there and not is_required,
        reason="needs GStreamer: apt-get install python3-gi gstreamer1.0-plugins-good "
        "gstreamer1.0-libav gir1.2-gstreamer-1.0",
    )


async def output_of(*command: str) -> bytes:
    """What a player writes; it is killed when the test does not wait any longer."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE
    )
    try:
        async with asyncio.timeout(PLAYED_WITHIN_S):
            said, complaints = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, complaints.decode(errors="replace")[-2000:]
    return said


def check_pictures(pictures: Sequence[np.ndarray[Any, Any]], *, lost: int = 0) -> list[int]:
    """Each is what the camera filmed, one after the other; returns their numbers."""
    numbers = []
    for seen in pictures:
        luma = np.ascontiguousarray(seen[:HEIGHT, :WIDTH])
        reading = read(luma)
        assert reading is not None, "the counter cannot be read"
        numbers.append(reading.frame_number)
        error = luma.astype(np.float32) - picture(reading.frame_number)[0]
        psnr = 10 * np.log10(255**2 / np.mean(error**2))
        assert psnr > 32, f"picture {reading.frame_number} came with {psnr:.1f} dB"
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    return numbers


def recorded(path: Path) -> tuple[list[tuple[Fraction, Any]], list[tuple[Fraction, bytes]]]:
    """Times and pictures, times and sounds, of what a player wrote."""
    pictures, sounds = [], []
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.pts is None or packet.stream.time_base is None:
                continue
            if packet.stream.type == "video":
                for frame in packet.decode():
                    assert isinstance(frame, av.VideoFrame)
                    assert frame.pts is not None
                    time_s = frame.pts * packet.stream.time_base
                    pictures.append((time_s, frame.to_ndarray(format="yuv420p")))
            else:
                sounds.append((packet.pts * packet.stream.time_base, bytes(packet)))
    return pictures, sounds


@needs("ffmpeg")
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_ffmpeg_records_every_picture_at_its_time_and_the_sound_beside_it(
    transport: str, tmp_path: Path
) -> None:
    film = tmp_path / "film.mkv"

    async def scenario() -> None:
        # After 22 hours RTP's 32 bits are used up: what is sent has nothing to do with zero.
        camera = Camera(audio=G711, first=22 * 3600 * FPS)
        mount = camera.mount(audio=G711)
        async with serving({"cam": mount}) as server:
            with filming(camera, mount):
                await output_of(
                    *("ffmpeg", "-v", "error", "-rtsp_transport", transport),
                    *("-i", f"{server.url}cam", "-c", "copy", "-t", "2", str(film)),
                )
            await until(lambda: mount.clients == 0, "the session stayed")

    run(scenario())
    pictures, sounds = recorded(film)
    assert len(pictures) > FPS
    numbers = check_pictures([picture for _, picture in pictures])
    times = [time_s for time_s, _ in pictures]
    assert times == sorted(set(times))
    # ffmpeg 5 gives the very first picture no time of its own.
    offsets = [float(t - Fraction(n, FPS)) for t, n in zip(times, numbers, strict=True)][1:]
    assert max(offsets) - min(offsets) < 0.003, "Matroska counts in milliseconds"
    counts = [int.from_bytes(data[:4], "big") for _, data in sounds]
    assert counts == list(range(counts[0], counts[0] + len(counts)))
    sound_offsets = [float(t - Fraction(n, 50)) for (t, _), n in zip(sounds, counts, strict=True)]
    assert max(sound_offsets) - min(sound_offsets) < 0.003
    assert abs(sound_offsets[-1] - offsets[-1]) < 0.003, "picture and sound are aligned"


@needs("ffmpeg")
@pytest.mark.parametrize(
    ("audio", "codec", "rate"),
    [
        (aac(rate_hz=44_100, channels=1), "aac", "44100"),
        (audio_of("pcm_mulaw", rate_hz=16_000, channels=2), "pcm_mulaw", "16000"),
    ],
    ids=lambda value: getattr(value, "codec", None),
)
def test_ffprobe_sees_what_is_served(audio: AudioInfo, codec: str, rate: str) -> None:
    async def scenario() -> None:
        camera = Camera(audio=audio)
        mount = camera.mount(audio=audio)
        async with serving({"cam": mount}) as server:
            with filming(camera, mount):
                said = await output_of(
                    *("ffprobe", "-v", "error", "-rtsp_transport", "tcp", "-of", "json"),
                    *("-show_streams", f"{server.url}cam"),
                )
        video, sound = json.loads(said)["streams"]
        assert (video["codec_name"], video["width"], video["height"]) == ("h264", WIDTH, HEIGHT)
        assert Fraction(video["r_frame_rate"]) == FPS
        assert video["color_space"] == "bt709"
        assert (sound["codec_name"], sound["sample_rate"]) == (codec, rate)
        assert sound["channels"] == audio.channels

    run(scenario())


@needs("ffmpeg")
@pytest.mark.parametrize("audio", [aac(), OPUS], ids=["aac", "opus"])
def test_ffmpeg_hears_the_tone(audio: AudioInfo) -> None:
    async def scenario() -> bytes:
        camera = Camera(audio=audio)
        mount = camera.mount(audio=audio)
        async with serving({"cam": mount}) as server:
            with filming(camera, mount):
                return await output_of(
                    *("ffmpeg", "-v", "error", *SOON, "-rtsp_transport", "tcp", "-i"),
                    *(f"{server.url}cam", "-vn", "-ac", "1", "-ar", "48000", "-t", "1"),
                    *("-f", "s16le", "-"),
                )

    heard = np.frombuffer(run(scenario()), np.int16).astype(np.float32)[12_000:36_000]
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    assert np.argmax(spectrum) * 48_000 / len(heard) == pytest.approx(440, abs=4)


@needs_gstreamer()
@pytest.mark.parametrize(
    ("protocols", "audio", "sound"),
    [
        ("tcp", aac(), "rtpmp4gdepay ! avdec_aac"),
        ("udp", OPUS, "rtpopusdepay ! opusdec"),
        ("udp", G711, "rtppcmadepay ! alawdec"),
    ],
)
def test_gstreamer_plays_picture_and_sound(protocols: str, audio: AudioInfo, sound: str) -> None:
    wanted = FPS

    async def scenario() -> bytes:
        camera = Camera(audio=audio)
        mount = camera.mount(audio=audio)
        async with serving({"cam": mount}) as server:
            with filming(camera, mount):
                return await output_of(
                    *(GI_PYTHON, "-c", PULL, f"{server.url}cam", protocols, sound, str(wanted))
                )

    said = run(scenario())
    size = 8 + WIDTH * HEIGHT * 3 // 2
    assert len(said) == wanted * size
    parts = [said[at : at + size] for at in range(0, len(said), size)]
    check_pictures(
        [np.frombuffer(part[8:], np.uint8).reshape(-1, WIDTH)[:HEIGHT] for part in parts]
    )
    times_ns = [int.from_bytes(part[:8], "big") for part in parts]
    assert times_ns == sorted(set(times_ns))


@needs("ffmpeg")
def test_ffmpeg_gets_in_with_the_password_and_not_without() -> None:
    async def scenario() -> None:
        camera = Camera()
        mount = camera.mount()
        async with serving({"cam": mount}, users={"ann": PASSWORD}) as server:
            with filming(camera, mount):
                command = ("ffmpeg", "-v", "error", *SOON, "-rtsp_transport", "tcp", "-i")
                rest = ("-frames:v", "10", "-f", "null", "-")
                place = server.url.removeprefix("rtsp://") + "cam"
                await output_of(*command, f"rtsp://ann:correct%20horse@{place}", *rest)
                for wrong in ("ann:wrong@", ""):
                    with pytest.raises(AssertionError, match="401 Unauthorized"):
                        await output_of(*command, f"rtsp://{wrong}{place}", *rest)
                with pytest.raises(AssertionError, match="404 Not Found"):
                    await output_of(*command, f"rtsp://ann:correct%20horse@{place}2", *rest)

    run(scenario())


@needs("ffmpeg")
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_player_killed_in_the_middle_disturbs_nobody(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamer.server.rtsp_session.ABANDONED_S", 0.5)

    async def scenario() -> None:
        camera = Camera()
        mount = camera.mount()
        async with serving({"cam": mount}) as server, RtspClient(server.port) as other:
            with filming(camera, mount):
                await other.play()
                player = await asyncio.create_subprocess_exec(
                    *("ffmpeg", "-v", "error", *SOON, "-rtsp_transport", transport),
                    *("-i", f"{server.url}cam", "-f", "null", "-"),
                    stdin=DEVNULL,
                    stderr=DEVNULL,
                )
                try:
                    await until(lambda: mount.clients == 2, "it does not play")
                    number = camera.number
                    await until(lambda: camera.number > number + FPS, "the camera stopped")
                finally:
                    player.send_signal(signal.SIGKILL)
                    await player.wait()
                await until(lambda: mount.clients == 1, "its session stayed")
                await other.got(len(other.packets[0]) + 20)
        sequences = [packet.sequence for packet in other.packets[0]]
        assert sequences == [(sequences[0] + n) % 2**16 for n in range(len(sequences))]

    run(scenario())


def content(packet: Packet) -> tuple[bytes, ...]:
    """What a packet says, whichever start codes stand in it."""
    payload = bytes(packet.payload)
    return tuple(nal_units(payload)) if packet.stream == "video" else (payload,)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_our_own_client_gets_what_our_server_sends(transport: str) -> None:
    async def scenario() -> None:
        camera = Camera(audio=G711)
        mount = camera.mount(audio=G711)
        async with serving({"cam": mount}, users={"ann": PASSWORD}) as server:
            place = server.url.removeprefix("rtsp://")
            url = f"rtsp://ann:{PASSWORD}@{place}cam?transport={transport}".replace(" ", "%20")
            with filming(camera, mount):
                source = await RtspSource.open(url, clock=MonotonicClock(), limits=PATIENT)
                assert (source.video.width, source.video.height) == (WIDTH, HEIGHT)
                assert source.audio is not None
                assert source.audio.codec == "pcm_alaw"
                got: dict[str, list[Packet]] = {"video": [], "audio": []}
                async with asyncio.timeout(60):
                    async for packet in source.packets():
                        got[packet.stream].append(packet)
                        if min(len(packets) for packets in got.values()) >= FPS:
                            break
                await source.close()
            with pytest.raises(SourceError):
                await RtspSource.open(url.replace("correct", "wrong"), clock=MonotonicClock())
        origins = {}
        for stream, packets in got.items():
            sent = {content(p): p.time_s for p in camera.sent if p.stream == stream}
            assert all(content(packet) in sent for packet in packets), "the payload was changed"
            offsets = [float(p.time_s - sent[content(p)]) for p in packets]
            assert max(offsets) - min(offsets) < 0.001
            assert not any(packet.follows_loss for packet in packets)
            origins[stream] = offsets[-1]
        assert origins["video"] == pytest.approx(origins["audio"], abs=0.001)

    run(scenario())
