"""HLS on a disk that is full: it is said, and it goes on once there is room again."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from pathlib import Path

import pytest

from tests.measure import times_of
from tests.programs import needs
from tests.streamer.sinks.network_peers import Camera
from tests.streamer.sinks.test_hls import writing

pytestmark = needs("ffmpeg", "ffprobe")


def test_a_full_disk_is_noticed_and_what_comes_after_it_plays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "live"
    full = folder / "index.m3u8.tmp"

    def is_said() -> bool:
        if folder.exists():
            with suppress(FileExistsError):
                # libav opens it, writes, and renames it, whatever became of the writing.
                full.symlink_to("/dev/full")
        return "lost (No space left on device)" in caplog.text

    async def scenario() -> None:
        camera = Camera(with_sound=True)
        sink = writing(camera, folder)
        await camera.film(sink, is_said)
        full.unlink(missing_ok=True)
        await camera.film(sink, lambda: "is back after" in caplog.text)
        before = camera.sent
        await camera.film(sink, lambda: camera.sent > before + 60)
        await sink.close()

    with caplog.at_level(logging.INFO):
        asyncio.run(scenario())
    assert len(times_of(folder / "index.m3u8")) > 30
