"""HLS on a disk that is full: it is said, and it goes on once there is room again."""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import suppress
from pathlib import Path

import pytest

from streamer.errors import SinkError
from streamer.sinks.muxer_hls import shown
from tests.measure import times_of
from tests.programs import needs
from tests.streamer.sinks.network_peers import Camera, holds
from tests.streamer.sinks.test_hls import segments, writing

pytestmark = needs("ffmpeg", "ffprobe")


def test_what_is_shown_stays_while_a_disk_is_full_and_what_comes_after_it_plays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "live"
    full = folder / "index.m3u8.tmp"

    def is_lost_again() -> bool:
        with suppress(FileExistsError):
            # It is written first, and then takes the place of the playlist.
            full.symlink_to("/dev/full")
        return caplog.text.count("lost (No space left on device)") >= 2

    async def scenario() -> None:
        camera = Camera(with_sound=True)
        sink = writing(camera, folder)
        await camera.film(sink, lambda: len(segments(folder)) >= 2)
        before = segments(folder)
        await camera.film(sink, is_lost_again)
        assert segments(folder)[: len(before)] == before
        assert all((folder / name).stat().st_size for name in segments(folder))
        full.unlink(missing_ok=True)
        await camera.film(sink, lambda: caplog.text.count("is back after") >= 2)
        back = camera.sent
        await camera.film(sink, lambda: camera.sent > back + 60)
        await sink.close()

    with caplog.at_level(logging.INFO):
        asyncio.run(scenario())
    assert len(times_of(folder / "index.m3u8")) > 30


def test_a_disk_that_is_full_for_the_last_segment_alone_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "live"

    async def scenario() -> None:
        camera = Camera(with_sound=True)
        sink = writing(camera, folder)
        await camera.film(sink, lambda: camera.sent >= 40)
        # 0.5 s each: the third holds the rest, and is written at the end.
        await holds(lambda: len(segments(folder)) == 2)
        last = re.fullmatch(r"(seg-\w+)-(\d+)\.m4s", segments(folder)[-1])
        assert last is not None
        (folder / f"{last[1]}-{int(last[2]) + 1}.m4s.tmp").symlink_to("/dev/full")
        with pytest.raises(SinkError, match=r"lacks its end \(No space left on device\); check"):
            await sink.close()

    asyncio.run(scenario())
    # It is not listed: what is before it plays, to an end.
    assert len(segments(folder)) == 2
    assert len(times_of(folder / "index.m3u8")) >= 25
    assert {path.name for path in folder.iterdir()} == shown(folder)
