from __future__ import annotations

import asyncio
import os
import pty
import signal
import subprocess
import sys
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from pathlib import Path
from threading import Event, Thread, Timer

import pytest

from streamer.clock import ManualClock
from streamer.errors import ConfigError, SourceError
from streamer.sources.demux import Demuxer
from streamer.sources.device import DeviceSource, parse
from streamer.worker import Worker
from tests.clips import ffmpeg
from tests.programs import needs, output_of

CAMERA = Path(__file__).parents[2] / "peers" / "v4l2_camera.c"
STOPS = bytes(1)
DEADLINE_S = 60.0


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
        source = DeviceSource(demuxer, Worker("read"), number=0)
        packets = source.packets()
        times = [(await anext(packets)).time_s for _ in range(5)]
        await source.close()
        return times

    times = asyncio.run(scenario())
    assert all(abs(time - Fraction(n, 30)) <= Fraction(1, 1000) for n, time in enumerate(times))


@contextmanager
def camera() -> Iterator[tuple[str, Callable[[], object]]]:
    """The name of a device that gives thirty pictures a second, and what makes it stop."""
    own, device = pty.openpty()
    tty.setraw(device)
    is_over = Event()

    def film() -> None:
        while not is_over.wait(1 / 30):
            os.write(own, b"\x80")

    filming = Thread(target=film)
    filming.start()
    try:
        yield os.ttyname(device), partial(os.write, own, STOPS)
    finally:
        is_over.set()
        filming.join()
        os.close(device)
        os.close(own)


@contextmanager
def running(*arguments: str, preloaded: Path) -> Iterator[subprocess.Popen[str]]:
    """``streamer run`` with that library in place of the system's calls."""
    with subprocess.Popen(
        [sys.executable, "-m", "streamer", "run", *arguments],
        env={**os.environ, "LD_PRELOAD": str(preloaded)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        ending = Timer(DEADLINE_S, process.kill)
        ending.start()
        try:
            yield process
        finally:
            ending.cancel()
            process.kill()


@needs("ffmpeg", "g++")
def test_a_camera_that_stops_is_opened_again_and_let_go(tmp_path: Path) -> None:
    library, output = tmp_path / "camera.so", tmp_path / "out.ts"
    output_of("g++", "-x", "c", "-shared", "-fPIC", "-o", str(library), str(CAMERA), "-ldl")
    arguments = ("--to", str(output), "--tier", "plain")
    with (
        camera() as (path, stop),
        running(f"device:{path}", *arguments, preloaded=library) as process,
    ):
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")

        def until(text: str) -> None:
            assert any(text in line for line in lines), f"it never said: {text}"

        until("is live")
        stop()
        until("is lost: it sent no picture for 5 s")
        until("is live: back after")
        stop()
        until("is lost: it sent no picture for 5 s")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0
    assert ffmpeg("-i", str(output), "-f", "framemd5", "-").count(b"\n") > 20
