"""Containers that are told of sound only once there is sound: recordings and HLS of a muted camera."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from streamer.errors import SinkError
from streamer.frame import Packet
from streamer.media import AudioInfo
from streamer.sinks.base import Sink
from streamer.sinks.file import FileSink
from streamer.sinks.late_sound import WAIT_S, LateSound
from streamer.sinks.network import NetworkSink
from tests.measure import stream_of, times_of
from tests.programs import needs
from tests.streamer.sinks.network_peers import G711, Camera, free_port
from tests.streamer.sinks.test_hls import segments, writing

pytestmark = needs("ffmpeg", "ffprobe")

FPS = 30
WAIT = round(WAIT_S * FPS)
"""Pictures."""


class Muted(Camera):
    """A camera that announces sound, which comes after so many pictures, or never."""

    def __init__(self, pictures: int | None) -> None:
        super().__init__(with_sound=True)
        self._muted = pictures

    def next_packets(self) -> list[Packet]:
        is_heard = self._muted is not None and self.sent >= self._muted
        return [one for one in super().next_packets() if is_heard or one.stream == "video"]


def recorded(path: Path, camera: Camera) -> LateSound:
    def make(audio: AudioInfo | None) -> Sink:
        return FileSink(str(path), audio=audio, is_live=True)

    return LateSound(path.name, make, G711, request_keyframe=camera.request_keyframe)


def film(
    camera: Camera, pictures: int, sink: Sink, look: Callable[[], None] = lambda: None
) -> None:
    """``look`` is called before the sink is closed."""

    async def scenario() -> None:
        await camera.film(sink, lambda: camera.sent >= pictures)
        look()
        await sink.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.ts"])
def test_pictures_of_a_muted_camera_are_on_the_disk(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    camera, found = Muted(None), list[int]()

    def look() -> None:
        copy = tmp_path / f"killed-{name}"
        copy.write_bytes((tmp_path / name).read_bytes())
        found.append(len(times_of(copy)))

    film(camera, WAIT + 3 * FPS, recorded(tmp_path / name, camera), look)
    assert found[0] > WAIT + FPS
    assert len(times_of(tmp_path / name)) == WAIT + 3 * FPS
    assert not stream_of(tmp_path / name, "a")
    assert f"{name}: the input's sound does not come; it begins without" in caplog.text


def test_pictures_that_end_before_the_wait_does_are_recorded(tmp_path: Path) -> None:
    camera = Muted(None)
    film(camera, WAIT // 2, recorded(tmp_path / "out.mp4", camera))
    assert len(times_of(tmp_path / "out.mp4")) == WAIT // 2
    assert not stream_of(tmp_path / "out.mp4", "a")


@pytest.mark.parametrize("muted", [0, 3, WAIT - 2])
def test_sound_within_the_wait_is_in_the_recording(
    muted: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    camera = Muted(muted)
    film(camera, 90, recorded(tmp_path / "out.mp4", camera))
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    pictures, sound = times_of(tmp_path / "out.mp4"), times_of(tmp_path / "out.mp4", "a")
    assert len(pictures) == 90
    # The encoder's delay lies before.
    assert abs(float(sound[0]) - muted / FPS) < 0.08
    assert "does not come" not in caplog.text


def test_later_sound_begins_another_recording_and_no_picture_is_lost(tmp_path: Path) -> None:
    camera = Muted(2 * WAIT)
    film(camera, 4 * WAIT, recorded(tmp_path / "out.mp4", camera))
    first, second = tmp_path / "out.mp4", tmp_path / "out-2.mp4"
    assert not stream_of(first, "a")
    assert stream_of(second, "a")["codec_name"] == "aac"
    assert len(times_of(first)) + len(times_of(second)) == 4 * WAIT
    assert 2 * WAIT <= len(times_of(first)) <= 2 * WAIT + 5
    assert camera.keyframes_asked == 1


def test_hls_of_a_muted_camera_announces_no_sound(tmp_path: Path) -> None:
    camera = Muted(None)
    film(camera, WAIT + 2 * FPS, writing(camera, tmp_path, window=12, waits_for_sound=True))
    assert len(times_of(tmp_path / "index.m3u8")) == WAIT + 2 * FPS
    assert not stream_of(tmp_path / "index.m3u8", "a")


def test_players_of_hls_go_on_when_the_sound_comes_late(tmp_path: Path) -> None:
    """A list that ends, or is gone for a while, ends them, and so do segments that are gone."""
    camera, playlist = Muted(3 * WAIT), tmp_path / "index.m3u8"
    lists: list[str] = []

    def is_heard() -> bool:
        if lists or playlist.exists():
            lists.append(playlist.read_text())
            assert all((tmp_path / name).exists() for name in segments(tmp_path))
        return camera.sent >= 4 * WAIT and "#EXT-X-DISCONTINUITY\n" in lists[-1]

    async def scenario() -> None:
        sink = writing(camera, tmp_path, waits_for_sound=True)
        await camera.film(sink, is_heard)
        await sink.close()

    asyncio.run(scenario())
    assert not [one for one in lists if "#EXT-X-ENDLIST" in one]
    assert playlist.read_text().endswith("#EXT-X-ENDLIST\n")
    assert stream_of(playlist, "a")["codec_name"] == "aac"


def test_a_server_that_is_away_when_the_sound_comes_is_looked_for_further(
    caplog: pytest.LogCaptureFixture,
) -> None:
    camera = Muted(2 * WAIT)

    def make(audio: AudioInfo | None) -> Sink:
        return NetworkSink(
            f"rtmp://127.0.0.1:{free_port()}/live/key",
            audio=audio,
            clock=camera.clock,
            metrics=camera.metrics,
            request_keyframe=camera.request_keyframe,
        )

    async def scenario() -> None:
        sink = LateSound("push", make, G711, request_keyframe=camera.request_keyframe)
        await camera.film(sink, lambda: camera.sent >= 4 * WAIT)
        with pytest.raises(SinkError, match="was never reached"):
            await sink.close()

    asyncio.run(scenario())
    assert "push: there is sound now; it begins anew with it" in caplog.text
