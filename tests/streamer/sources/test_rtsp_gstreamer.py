"""GStreamer's server as the camera, in a process of its own."""

import asyncio
import ssl
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from streamer.clock import MonotonicClock
from streamer.errors import SourceLost
from streamer.frame import Packet
from streamer.sources import counter
from streamer.sources.network import NetworkSource
from streamer.sources.rtsp import RtspSource
from tests.programs import needs, output_of
from tests.rtsp_camera import camera, needs_gstreamer
from tests.streamer.sources.rtsp_viewer import opened, packets_of, refusal_of, run

pytestmark = needs_gstreamer()

PASSWORD = "p@/:w secret"
ENCODED = "me:p%40%2F%3Aw%20secret"


def decoded(codec: str, packets: Sequence[Packet]) -> list[av.VideoFrame]:
    """The pictures in ``packets``, by a decoder that knows nothing else."""
    decoder: Any = av.CodecContext.create(codec, "r")
    frames: list[av.VideoFrame] = []
    for packet in packets:
        if packet.stream == "video":
            native = av.Packet(packet.payload)
            native.pts = packet.pts
            frames += decoder.decode(native)
    return [*frames, *decoder.decode(None)]


@pytest.mark.parametrize(
    ("codec", "audio", "name", "transport"),
    [
        ("h264", "alaw", "pcm_alaw", ""),
        ("h264", "aac", "aac", "?transport=udp"),
        ("h265", "opus", "opus", ""),
        ("vp8", "ulaw", "pcm_mulaw", ""),
    ],
)
def test_picture_and_sound_arrive_and_decode(
    codec: str, audio: str, name: str, transport: str
) -> None:
    libav_name = {"h265": "hevc"}.get(codec, codec)

    async def work() -> None:
        arguments = ("--codec", codec, "--audio", audio, "--size", "320x240")
        with camera(*arguments) as server:
            source = await opened(server.url + transport)
            packets = await packets_of(source, 80)
            await source.close()
        assert (source.video.codec, source.video.width, source.video.height) == (
            libav_name,
            320,
            240,
        )
        assert source.video.fps == Fraction(30)
        assert source.audio is not None
        assert source.audio.codec == name
        assert packets[0].is_keyframe
        pictures = [packet for packet in packets if packet.stream == "video"]
        sounds = [packet for packet in packets if packet.stream == "audio"]
        assert len(decoded(libav_name, pictures)) == len(pictures)
        assert [packet.pts for packet in pictures] == sorted(packet.pts for packet in pictures)
        assert sounds
        heard: Any = av.CodecContext.create(name, "r")
        if source.audio.extradata:
            heard.extradata = source.audio.extradata
        heard.sample_rate, heard.layout = (
            source.audio.rate_hz,
            {1: "mono", 2: "stereo"}[source.audio.channels],
        )
        samples = [
            frame.samples for sound in sounds for frame in heard.decode(av.Packet(sound.payload))
        ]
        assert sum(samples) > 0
        # Both began together, so they end together but for some packets' length.
        assert abs(float(pictures[-1].time_s - sounds[-1].time_s)) < 1

    run(work)


@pytest.mark.parametrize("auth", ["basic", "digest"])
def test_a_password_is_given_and_a_wrong_one_is_refused(auth: str) -> None:
    async def work() -> None:
        with camera("--auth", auth, "--user", "me", password=PASSWORD) as server:
            source = await opened(server.url_with(ENCODED))
            assert len(await packets_of(source, 3)) == 3
            await source.close()
            text = await refusal_of(server.url_with("me:secret-but-wrong"))
            assert "does not take this user and password (401" in text
            assert "asks for a password" in await refusal_of(server.url)

    run(work)


def test_a_path_that_does_not_exist_is_refused() -> None:
    async def work() -> None:
        with camera() as server:
            assert "no stream at this path (404)" in await refusal_of(server.url + "-of-none")

    run(work)


def test_a_size_change_is_told_on_the_keyframe_that_brings_it() -> None:
    async def work() -> None:
        with camera("--then-size", "640x360", "--change-after", "0.5") as server:
            source = await opened(server.url)
            assert source.video.width == 320
            before: list[Packet] = []
            after: list[Packet] = []
            async for packet in source.packets():
                (after if after or packet.video is not None else before).append(packet)
                if len(after) == 5:
                    break
            await source.close()
        assert after[0].is_keyframe
        assert after[0].video is not None
        assert (after[0].video.width, after[0].video.height) == (640, 360)
        assert source.video == after[0].video
        assert {frame.width for frame in decoded("h264", before)} == {320}
        assert {frame.width for frame in decoded("h264", after)} == {640}

    run(work)


def test_pictures_that_are_moved_have_decode_times_that_grow() -> None:
    async def work() -> None:
        with camera("--b-frames", "2") as server:
            source = await opened(server.url)
            packets = await packets_of(source, 40)
            await source.close()
        times = [packet.dts for packet in packets]
        assert times == sorted(set(times))
        assert [packet.pts for packet in packets] != sorted(packet.pts for packet in packets)
        assert all(packet.dts <= packet.pts for packet in packets[4:])
        assert len(decoded("h264", packets)) == len(packets)

    run(work)


def test_a_camera_of_the_feedback_profile_plays() -> None:
    async def work() -> None:
        with camera("--avpf") as server:
            source = await opened(server.url)
            assert len(await packets_of(source, 3)) == 3
            await source.close()

    run(work)


def test_a_server_that_dies_is_lost() -> None:
    async def work() -> None:
        with camera() as server:
            source = await opened(server.url)
            server.process.kill()
            with pytest.raises(SourceLost, match="is lost: "):
                await packets_of(source, 10_000)
            await source.close()

    run(work)


def test_video_that_only_libav_reads_is_read_with_libav() -> None:
    async def work() -> None:
        with camera("--codec", "mjpeg") as server:
            source = await RtspSource.open(server.url, clock=MonotonicClock())
            assert isinstance(source, NetworkSource)
            assert source.video.codec == "mjpeg"
            await source.close()

    run(work)


@pytest.mark.parametrize("asked", ["", "?transport=udp"])
def test_libav_too_takes_udp_where_there_is_no_tcp(asked: str) -> None:
    async def work() -> None:
        with camera("--codec", "mjpeg", "--transport", "udp") as server:
            source = await RtspSource.open(server.url + asked, clock=MonotonicClock())
            assert source.video.codec == "mjpeg"
            await source.close()

    run(work)


@needs("openssl")
def test_tls_is_checked_against_trusted_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    key, certificate, both = tmp_path / "key", tmp_path / "certificate", tmp_path / "both"
    output_of(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
        "-keyout", str(key), "-out", str(certificate),
    )  # fmt: skip
    both.write_bytes(key.read_bytes() + certificate.read_bytes())

    async def work() -> None:
        with camera("--certificate", str(both), "--user", "me", password=PASSWORD) as server:
            url = server.url_with(ENCODED)
            assert url.startswith("rtsps://")
            assert "certificate that is not trusted" in await refusal_of(url)
            plain = url.replace("rtsps://", "rtsp://")
            await refusal_of(plain)
            source = await opened(url + "?tls=insecure")
            await source.close()
            assert "the certificate is not checked" in caplog.text
            assert "secret" not in caplog.text
            monkeypatch.setenv(ssl.get_default_verify_paths().openssl_cafile_env, str(certificate))
            source = await opened(url)
            assert len(await packets_of(source, 3)) == 3
            await source.close()

    run(work)


def test_a_picture_is_handed_on_before_the_camera_sees_the_next_one() -> None:
    """The next frame is drawn only when the one before is out; a wait for it would be for ever."""
    width, height = 320, 240

    def drawn(number: int) -> bytes:
        planes = (
            np.full((height, width), 90, np.uint8),
            np.full((height // 2, width // 2), 128, np.uint8),
            np.full((height // 2, width // 2), 128, np.uint8),
        )
        counter.burn(planes, milliseconds=0, frame_number=number)
        return b"".join(plane.tobytes() for plane in planes)

    async def work() -> None:
        with camera("--stdin", "--size", f"{width}x{height}", "--gop", "1000") as server:
            feed = server.process.stdin
            assert feed is not None

            def write(number: int) -> None:
                feed.write(drawn(number))
                feed.flush()

            # Nothing is answered before a first frame gave the stream its description, and frames
            # are dropped until somebody watches: write until a picture is there.
            opening = asyncio.create_task(opened(server.url))
            number = 0
            while not opening.done():
                await asyncio.to_thread(write, number)
                number += 1
                await asyncio.wait([opening], timeout=0.05)
            source = await opening
            packets = source.packets()
            decoder: Any = av.CodecContext.create("h264", "r")
            decoder.thread_count = 1

            async def until(frame_number: int) -> None:
                """Read packets until one shows this frame; those before it were on the way."""
                async for packet in packets:
                    for frame in decoder.decode(av.Packet(packet.payload)):
                        luma = np.asarray(frame.to_ndarray()[:height, :width], np.uint8)
                        reading = counter.read(luma)
                        if reading is not None and reading.frame_number == frame_number:
                            return

            for next_number in range(number, number + 10):
                await asyncio.to_thread(write, next_number)
                async with asyncio.timeout(60):
                    await until(next_number)
            await source.close()

    run(work)
