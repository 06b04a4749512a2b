"""Playlists as servers have them: parts of one file, redirects, names that are no plain ASCII."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from streamer.errors import SourceError
from streamer.frame import Packet
from tests.clips import ffmpeg, h264, moving
from tests.programs import needs
from tests.streamer.sources.network_reader import read
from tests.streamer.sources.peers import serving

pytestmark = needs("ffmpeg")

FRAGMENTS = ("-hls_segment_type", "fmp4")
TRANSPORT = ("-hls_segment_type", "mpegts")


def playlist(folder: Path, *options: str) -> None:
    """One second in two segments as ``live.m3u8``."""
    folder.mkdir(exist_ok=True)
    hls = ("-f", "hls", "-hls_time", "0.5", "-hls_playlist_type", "vod", *options)
    ffmpeg(*moving(frames=30), *h264(), *hls, str(folder / "live.m3u8"))


def pictures_at(url: str) -> list[Packet]:
    got = asyncio.run(read(url, 1000))[1]
    return [packet for packet in got if packet.stream == "video"]


@pytest.mark.parametrize("kind", [TRANSPORT, FRAGMENTS])
def test_segments_that_are_parts_of_one_file_come_whole(
    kind: tuple[str, ...], tmp_path: Path
) -> None:
    playlist(tmp_path, *kind, "-hls_flags", "single_file")
    with serving(tmp_path) as server:
        films = pictures_at(f"{server.url}/live.m3u8")
    assert len({film.pts for film in films}) == len(films) == 30
    asked = [headers.get("Range", "") for path, headers in server.asked if ".m3u8" not in path]
    assert len(asked) >= 2
    assert all(re.fullmatch(r"bytes=\d+-\d+", wanted) for wanted in asked)


def test_a_server_that_gives_no_parts_is_said(tmp_path: Path) -> None:
    playlist(tmp_path, *TRANSPORT, "-hls_flags", "single_file")
    text = (tmp_path / "live.m3u8").read_text()
    # Without its first part, so that what is asked for does not begin with the file.
    first = re.search(r"#EXTINF.*?\.ts\n", text, re.DOTALL)
    assert first is not None
    (tmp_path / "live.m3u8").write_text(text.replace(first[0], ""))
    with serving(tmp_path) as server:
        server.rules.append((r"\.ts", 200, {}))
        with pytest.raises(SourceError, match="answered 200 OK; use a server that knows ranges"):
            pictures_at(f"{server.url}/live.m3u8")


@pytest.mark.parametrize("kind", [TRANSPORT, FRAGMENTS])
def test_segments_are_looked_for_where_the_playlist_was_moved_to(
    kind: tuple[str, ...], tmp_path: Path
) -> None:
    playlist(tmp_path / "edge", *kind)
    with serving(tmp_path) as home, serving(tmp_path) as edge:
        home.rules.append(("^/go/", 302, {"Location": f"{edge.url}/edge/live.m3u8"}))
        assert len(pictures_at(f"{home.url}/go/live.m3u8")) == 30
    assert {path for path, _ in home.asked} == {"/go/live.m3u8"}


def test_qualities_are_looked_for_where_their_list_was_moved_to(tmp_path: Path) -> None:
    playlist(tmp_path / "edge", *TRANSPORT, "-b:v", "400k", "-master_pl_name", "all.m3u8")
    with serving(tmp_path) as server:
        server.rules.append(("^/go/", 302, {"Location": "/edge/all.m3u8"}))
        assert len(pictures_at(f"{server.url}/go/all.m3u8")) == 30


@pytest.mark.parametrize("place", ["//127.0.0.2:{port}/a.ts", "http://127.0.0.2:{port}/a.ts"])
def test_hosts_in_a_playlist_that_was_moved_are_judged(place: str, tmp_path: Path) -> None:
    playlist(tmp_path / "edge", *TRANSPORT)
    asked: list[str] = []

    def may_connect(host: str) -> bool:
        asked.append(host)
        return host == "127.0.0.1"

    with serving(tmp_path) as server:
        server.rules.append(("^/go/", 302, {"Location": "/edge/live.m3u8"}))
        text = (tmp_path / "edge" / "live.m3u8").read_text()
        moved = re.sub(r"live\d+\.ts", place.format(port=server.server_port), text)
        (tmp_path / "edge" / "live.m3u8").write_text(moved)
        with pytest.raises(SourceError):
            asyncio.run(read(f"{server.url}/go/live.m3u8", 1, may_connect=may_connect))
    assert set(asked) == {"127.0.0.1", "127.0.0.2"}
    assert {path for path, _ in server.asked} == {"/go/live.m3u8", "/edge/live.m3u8"}


@pytest.mark.parametrize("place", ["file:///etc/passwd", "subfile,,start,0,end,9,,:/etc/passwd"])
def test_a_playlist_that_was_moved_reaches_no_other_scheme(place: str, tmp_path: Path) -> None:
    playlist(tmp_path / "edge", *TRANSPORT)
    text = (tmp_path / "edge" / "live.m3u8").read_text()
    (tmp_path / "edge" / "live.m3u8").write_text(re.sub(r"live\d+\.ts", place, text))
    with serving(tmp_path) as server:
        server.rules.append(("^/go/", 302, {"Location": "/edge/live.m3u8"}))
        with pytest.raises(SourceError):
            pictures_at(f"{server.url}/go/live.m3u8")


@pytest.mark.parametrize("path", ["edge", "go"])
def test_names_with_spaces_and_letters_outside_ascii_are_found(path: str, tmp_path: Path) -> None:
    segments = str(tmp_path / "edge" / "entrée %d.ts")
    playlist(tmp_path / "edge", *TRANSPORT, "-hls_segment_filename", segments)
    with serving(tmp_path) as server:
        server.rules.append(("^/go/", 302, {"Location": "/edge/live.m3u8"}))
        assert len(pictures_at(f"{server.url}/{path}/live.m3u8")) == 30
    assert "/edge/entrée 0.ts" in {unquote(path) for path, _ in server.asked}
