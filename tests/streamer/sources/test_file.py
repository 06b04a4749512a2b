from __future__ import annotations

import asyncio
import struct
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from streamer.clock import MonotonicClock
from streamer.errors import SourceError, SourceLost
from streamer.frame import Packet
from streamer.sources.base import PacketSource
from streamer.sources.file import FileSource
from tests.clips import Clips, h264, moving
from tests.programs import needs

pytestmark = needs("ffmpeg", "ffprobe")


async def opened(path: Path | str, *, paced: bool = False) -> FileSource:
    return await FileSource.open(str(path), clock=MonotonicClock(), paced=paced)


async def packets_of(source: FileSource) -> list[Packet]:
    try:
        return [packet async for packet in source.packets()]
    finally:
        await source.close()


def test_a_file_gives_its_picture_and_its_sound(clips: Clips) -> None:
    async def scenario() -> None:
        source = await opened(clips.with_sound())
        assert isinstance(source, PacketSource)
        video, audio = source.video, source.audio
        assert (video.codec, video.width, video.height) == ("h264", 320, 180)
        assert (video.fps, video.frames, video.is_live) == (Fraction(30), 30, False)
        assert audio is not None
        assert (audio.codec, audio.rate_hz, audio.channels) == ("aac", 44_100, 1)
        packets = await packets_of(source)
        assert sum(packet.stream == "video" for packet in packets) == 30
        assert sum(packet.stream == "audio" for packet in packets) > 40
        assert packets[0].is_keyframe

    asyncio.run(scenario())


def test_a_path_with_colons_and_spaces_is_a_path(clips: Clips, tmp_path: Path) -> None:
    odd = tmp_path / "rtsp: 10:30 #1 50%.mp4"
    odd.write_bytes(clips.plain().read_bytes())

    async def scenario() -> None:
        assert len(await packets_of(await opened(odd))) == 30

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["short.mp4", "short.h264"])
def test_a_paced_file_comes_no_faster_than_its_clock(name: str, clips: Clips) -> None:
    clip = clips.made(name, *moving(frames=6), *h264("-bf", "0"))

    async def scenario() -> None:
        packets = await packets_of(await opened(clip, paced=True))
        assert len(packets) == 6
        first = packets[0]
        assert packets[-1].time_s - first.time_s == Fraction(5, 30)
        for packet in packets:
            due_ns = first.arrived_ns + float(packet.time_s - first.time_s) * 1e9
            assert packet.arrived_ns >= due_ns - 2_000_000
        assert all(b.arrived_ns > a.arrived_ns for a, b in pairwise(packets))

    asyncio.run(scenario())


def test_a_playlist_in_a_file_does_not_reach_the_network(tmp_path: Path) -> None:
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttp://127.0.0.1:9/part.ts\n#EXT-X-ENDLIST\n"
    )

    async def scenario() -> None:
        with pytest.raises(SourceError, match=r"list\.m3u8"):
            await opened(playlist)

    asyncio.run(scenario())


def test_a_file_cut_short_gives_what_it_has_and_then_says_so(clips: Clips, tmp_path: Path) -> None:
    whole = clips.made("fast.mp4", *moving(), *h264(), "-movflags", "+faststart").read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) * 6 // 10])

    async def scenario() -> None:
        source = await opened(cut)
        got: list[Packet] = []

        async def read() -> None:
            async for packet in source.packets():
                got.append(packet)  # noqa: PERF401 - what came before the loss counts

        with pytest.raises(SourceLost, match=r"cut\.mp4 ends early: \d+ of its 30 frames"):
            await read()
        await source.close()
        assert 8 <= len(got) < 30

    asyncio.run(scenario())


def trimmed(path: Path) -> bytes:
    """``path`` shown from 0.5 s for 0.3 s, as phones trim: all samples stay, the edit list says which."""
    data = bytearray(path.read_bytes())
    movie_hz = struct.unpack_from(">I", data, data.index(b"mvhd") + 16)[0]
    media_hz = struct.unpack_from(">I", data, data.index(b"mdhd") + 16)[0]
    at = data.index(b"elst") + 12
    begin = struct.unpack_from(">i", data, at + 4)[0]
    struct.pack_into(">Ii", data, at, movie_hz * 3 // 10, begin + media_hz // 2)
    return bytes(data)


def test_a_trimmed_file_is_whole_and_one_that_is_cut_too_is_not(
    clips: Clips, tmp_path: Path
) -> None:
    film = clips.made("fast.mp4", *moving(), *h264(), "-movflags", "+faststart")
    whole, cut = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    whole.write_bytes(trimmed(film))
    cut.write_bytes(whole.read_bytes()[: film.stat().st_size * 8 // 10])

    async def scenario() -> None:
        assert 9 <= len(await packets_of(await opened(whole))) < 30
        with pytest.raises(SourceLost, match=r"cut\.mp4 ends early: \d+ of its 1\d frames"):
            await packets_of(await opened(cut))

    asyncio.run(scenario())


def test_pictures_that_an_avi_leaves_out_are_not_missing_and_what_was_cut_off_is(
    clips: Clips, tmp_path: Path
) -> None:
    some = ("-vf", "select='not(between(mod(n,7),2,4))'", "-fps_mode", "vfr", "-c:v", "mpeg4")
    whole, cut = clips.made("variable.avi", *moving(frames=16), *some), tmp_path / "cut.avi"
    cut.write_bytes(whole.read_bytes()[:-5000])

    async def scenario() -> None:
        assert len(await packets_of(await opened(whole))) == 16
        with pytest.raises(
            SourceLost, match=r"cut\.avi ends early: 5000 bytes of what it announces"
        ):
            await packets_of(await opened(cut))

    asyncio.run(scenario())


def test_closing_twice_and_asking_for_keyframes_does_no_harm(clips: Clips) -> None:
    async def scenario() -> None:
        source = await opened(clips.plain())
        await source.request_keyframe()
        await source.close()
        await source.close()

    asyncio.run(scenario())
