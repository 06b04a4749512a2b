"""HLS as libav writes it and as ffmpeg reads it, from the folder and over HTTP."""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path

import pytest

from streamer.errors import SinkError
from streamer.media import AudioInfo
from streamer.sinks.hls import HlsSink
from streamer.sinks.muxer_hls import OURS
from streamer.sinks.muxer_session import Patience
from tests.measure import stream_of, times_of
from tests.programs import needs
from tests.streamer.sinks.network_peers import DEADLINE_S, G711, Camera

pytestmark = needs("ffmpeg", "ffprobe")


def writing(
    camera: Camera,
    folder: Path,
    *,
    audio: AudioInfo | None = G711,
    segment_s: float = 0.5,
    window: int = 6,
    waits_for_sound: bool = False,
) -> HlsSink:
    return HlsSink(
        str(folder),
        audio=audio,
        waits_for_sound=waits_for_sound,
        clock=camera.clock,
        metrics=camera.metrics,
        request_keyframe=camera.request_keyframe,
        segment_s=segment_s,
        window=window,
        # What is in the folder is the point, not how fast this machine fills it.
        patience=Patience(take_s=DEADLINE_S, finish_s=DEADLINE_S),
    )


def segments(folder: Path) -> list[str]:
    playlist = folder / "index.m3u8"
    if not playlist.exists():
        return []
    return [line for line in playlist.read_text().splitlines() if line.endswith(".m4s")]


def lengths_s(folder: Path) -> list[float]:
    return [float(n) for n in re.findall(r"#EXTINF:([\d.]+)", (folder / "index.m3u8").read_text())]


async def written(folder: Path, *, pictures: int, window: int = 6) -> Camera:
    camera = Camera(with_sound=True)
    sink = writing(camera, folder, window=window)
    await camera.film(sink, lambda: camera.sent >= pictures)
    await sink.close()
    return camera


def test_a_folder_is_made_and_filled_with_what_plays(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "live"
    camera = asyncio.run(written(folder, pictures=75))
    assert camera.metrics.counts("dropped.") == {}
    assert stream_of(folder / "index.m3u8", "v")["codec_name"] == "h264"
    assert stream_of(folder / "index.m3u8", "a")["codec_name"] == "aac"
    times = times_of(folder / "index.m3u8")
    assert len(times) == 75
    assert all(abs((times[n] - times[0]) - n / 30) < 0.001 for n in range(75))
    playlist = (folder / "index.m3u8").read_text()
    assert playlist.count("#EXT-X-PROGRAM-DATE-TIME:") == len(segments(folder))
    assert "#EXT-X-INDEPENDENT-SEGMENTS" in playlist
    assert playlist.endswith("#EXT-X-ENDLIST\n")


@pytest.mark.parametrize("late_s", [0.3, 2.0])
def test_sound_that_begins_after_the_picture_stays_at_its_time(
    late_s: float, tmp_path: Path
) -> None:
    """Within the first segment, and long after the header was written."""

    async def scenario() -> None:
        camera = Camera(with_sound=True)
        sink = writing(camera, tmp_path, window=12)
        while camera.sent < 120:
            for packet in camera.next_packets():
                if packet.stream == "video" or packet.time_s >= late_s:
                    await sink.send(packet)
            await asyncio.sleep(0.01)
        await sink.close()

    asyncio.run(scenario())
    pictures, sound = (times_of(tmp_path / "index.m3u8", kind) for kind in "va")
    assert len(pictures) == 120
    # An AAC encoder's delay of 21 ms lies before.
    assert abs(float(sound[0] - pictures[0]) - late_s) < 0.08
    # Browsers go by the fragments' own times, and pass over what the header's edit list adds to them.
    starts = fragment_starts(b"".join((tmp_path / one).read_bytes() for one in segments(tmp_path)))
    assert abs(starts[2] / 48_000 - float(sound[0])) < 0.03


def fragment_starts(fragments: bytes) -> dict[int, int]:
    """By track, where the first fragment of fragmented MP4 begins, in ticks of the track."""
    starts: dict[int, int] = {}
    for head in re.finditer(rb"tfhd.{4}(.{4}).*?tfdt(.).{3}(.{8})", fragments, re.DOTALL):
        track, version, time = (int.from_bytes(part, "big") for part in head.groups())
        starts.setdefault(track, time if version else time >> 32)
    return starts


def test_each_segment_begins_with_a_keyframe_that_was_asked_for(tmp_path: Path) -> None:
    camera = asyncio.run(written(tmp_path, pictures=75))
    # 2.5 s: the encoder alone would give one keyframe in four seconds.
    assert camera.keyframes_asked >= 4
    found = lengths_s(tmp_path)
    assert len(found) >= 5
    assert all(abs(length - 0.5) < 0.07 for length in found[:-1])


def test_old_segments_go_and_the_playlist_slides(tmp_path: Path) -> None:
    asyncio.run(written(tmp_path, pictures=240, window=3))
    listed = segments(tmp_path)
    assert len(listed) == 3
    assert set(listed) <= {path.name for path in tmp_path.iterdir()}
    assert len(list(tmp_path.glob("seg-*.m4s"))) < 3 + 3 + 3
    assert not list(tmp_path.glob("*.tmp"))


def test_an_earlier_runs_segments_are_not_mixed_in_and_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / "seg-notes.m4s").write_text("mine")
    (tmp_path / "index.html").write_text("mine")
    asyncio.run(written(tmp_path, pictures=40))
    first = {path.name for path in tmp_path.iterdir() if OURS.fullmatch(path.name)}
    before = int(segments(tmp_path)[0].rsplit("-", 1)[1].removesuffix(".m4s"))
    # That run ended with this one; its clock was ahead, or its segments were short.
    last = before + 500
    (tmp_path / f"seg-{'0' * 8}-{last}.m4s").write_text("old")
    asyncio.run(written(tmp_path, pictures=40))
    second = {path.name for path in tmp_path.iterdir() if OURS.fullmatch(path.name)}
    assert first & second == {"index.m3u8"}
    after = int(segments(tmp_path)[0].rsplit("-", 1)[1].removesuffix(".m4s"))
    # A player that knows the earlier list takes the new one for a later one.
    assert after > last
    assert (tmp_path / "seg-notes.m4s").read_text() == "mine"
    assert (tmp_path / "index.html").read_text() == "mine"


def test_nothing_is_made_before_the_first_picture(tmp_path: Path) -> None:
    async def scenario() -> None:
        await writing(Camera(), tmp_path / "live").close()

    asyncio.run(scenario())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    async def scenario() -> None:
        camera = Camera()
        sink = writing(camera, tmp_path / "file" / "live")
        with pytest.raises(SinkError, match=r"HLS folder .* cannot be used .*choose one"):
            await camera.film(sink, lambda: False)
        await sink.close()

    asyncio.run(scenario())


def test_a_folder_with_signs_in_its_name_works(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    folder = tmp_path / "50% off: %d%% live"
    asyncio.run(written(folder, pictures=40))
    assert {name for name in segments(folder) if not (folder / name).exists()} == set()
    assert len(segments(folder)) == 3
    assert {path.name for path in folder.iterdir() if not OURS.fullmatch(path.name)} == set()
