from __future__ import annotations

import asyncio
from fractions import Fraction
from pathlib import Path

import pytest

from streamer.clock import ManualClock
from streamer.errors import ConfigError, SourceError
from streamer.sources.demux import Demuxer
from streamer.sources.device import DeviceSource, parse
from streamer.worker import Worker
from tests.clips import ffmpeg
from tests.programs import needs


@pytest.mark.parametrize(
    ("url", "path", "options"),
    [
        ("device:/dev/video0", "/dev/video0", {}),
        ("device:/dev/video0?", "/dev/video0", {}),
        (
            "device:/dev/v4l/by-id/cam?size=640x360&fps=30000/1001&format=mjpeg",
            "/dev/v4l/by-id/cam",
            {"video_size": "640x360", "framerate": "30000/1001", "input_format": "mjpeg"},
        ),
    ],
)
def test_a_device_and_its_mode_are_read(url: str, path: str, options: dict[str, str]) -> None:
    assert parse(url) == (path, options)


@pytest.mark.parametrize("url", ["device:", "device:video0", "device:?size=2x2", "dev:/dev/video0"])
def test_what_names_no_device_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="names no device; use device:/dev/video0"):
        parse(url)


@pytest.mark.parametrize("wish", ["size=big", "size=", "fps=fast", "format=a b", "gain=3", "x"])
def test_a_wish_that_no_device_understands_is_refused(wish: str) -> None:
    with pytest.raises(ConfigError, match="says nothing about a device; use device:/dev/video0"):
        parse(f"device:/dev/video0?{wish}")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/dev/no-such-camera", "/dev/no-such-camera does not exist; check the path"),
        ("/dev/null", "/dev/null cannot be opened as video"),
    ],
)
def test_a_device_that_does_not_open_is_said(path: str, said: str) -> None:
    async def scenario() -> None:
        with pytest.raises(SourceError, match=said):
            await DeviceSource.open(f"device:{path}", clock=ManualClock())

    asyncio.run(scenario())


@needs("ffmpeg")
def test_times_count_from_the_first_picture_not_from_the_machines_start(tmp_path: Path) -> None:
    """Video4Linux stamps pictures with the kernel's clock; here it has run for five days."""
    clip = tmp_path / "camera.mkv"
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=30", "-t", "0.2", "-c:v", "mjpeg"),
        *("-output_ts_offset", "432000", str(clip)),
    )

    async def scenario() -> list[Fraction]:
        demuxer = Demuxer(str(clip), name="camera", clock=ManualClock(), format=None, options={})
        source = DeviceSource(demuxer, Worker("read"))
        packets = source.packets()
        times = [(await anext(packets)).time_s for _ in range(5)]
        await source.close()
        return times

    times = asyncio.run(scenario())
    assert all(abs(time - Fraction(n, 30)) <= Fraction(1, 1000) for n, time in enumerate(times))
