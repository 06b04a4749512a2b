"""Playlists as servers have them: parts of one file, redirects, names that are no plain ASCII."""

from __future__ import annotations

import asyncio
import itertools
import re
from fractions import Fraction
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


def playlist(folder: Path, *options: str, segments: int = 2) -> None:
    """Segments of half a second as ``live.m3u8``."""
    folder.mkdir(exist_ok=True)
    hls = ("-f", "hls", "-hls_time", "0.5", "-hls_playlist_type", "vod", *options)
    ffmpeg(*moving(frames=15 * segments), *h264(), *hls, str(folder / "live.m3u8"))


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


@pytest.mark.parametrize("kind", [TRANSPORT, FRAGMENTS])
@pytest.mark.parametrize("packed", [r"\.m3u8$", "."])
def test_what_a_server_packs_unasked_is_unpacked(
    packed: str, kind: tuple[str, ...], tmp_path: Path
) -> None:
    playlist(tmp_path, *kind, segments=4)
    with serving(tmp_path) as server:
        server.packs = packed
        films = pictures_at(f"{server.url}/live.m3u8")
    assert len({film.pts for film in films}) == len(films) == 60


def test_a_packed_playlist_that_breaks_off_is_said(tmp_path: Path) -> None:
    playlist(tmp_path, *TRANSPORT)
    with serving(tmp_path) as server:
        server.packs, server.cut_after = ".", 50
        with pytest.raises(SourceError, match="sends gzip that cannot be unpacked; check the"):
            pictures_at(f"{server.url}/live.m3u8")


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


def test_playlists_and_segments_may_be_called_anything(tmp_path: Path) -> None:
    playlist(tmp_path / "edge", *TRANSPORT, "-hls_segment_filename", str(tmp_path / "edge/part%d"))
    (tmp_path / "edge" / "live.m3u8").rename(tmp_path / "edge" / "list")
    with serving(tmp_path) as server:
        server.rules.append(("^/watch", 302, {"Location": "/edge/list?for=me"}))
        assert len(pictures_at(f"{server.url}/watch?v=1")) == 30


def test_a_segment_that_is_missing_is_passed_over_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    playlist(tmp_path, *TRANSPORT, segments=3)
    (tmp_path / "live1.ts").unlink()
    with serving(tmp_path) as server:
        films = pictures_at(f"{server.url}/live.m3u8")
    assert len(films) == 30
    steps = [after.dts - before.dts for before, after in itertools.pairwise(films)]
    assert max(steps) == 16 * 3000
    assert "a segment is left out, the server answered 404 Not Found" in caplog.text


@pytest.mark.parametrize("missing", [("live0.ts",), ("live1.ts", "live2.ts")])
def test_the_first_segment_or_two_in_a_row_are_not_passed_over(
    missing: tuple[str, ...], tmp_path: Path
) -> None:
    playlist(tmp_path, *TRANSPORT, segments=4)
    for name in missing:
        (tmp_path / name).unlink()
    with serving(tmp_path) as server, pytest.raises(SourceError, match="answered 404 Not Found"):
        pictures_at(f"{server.url}/live.m3u8")


def test_a_header_that_changes_in_the_middle_ends_the_connection(tmp_path: Path) -> None:
    """libav would go on with the first one, and make noise of what follows."""
    parts = []
    for name, size in (("film", "320x180"), ("advert", "160x90"), ("same", "320x180")):
        playlist(tmp_path / name, *FRAGMENTS, "-s", size, segments=1)
        text = (tmp_path / name / "live.m3u8").read_text()
        places = re.sub(r"(init\.mp4|live\d\.m4s)", rf"{name}/\1", text)
        parts.append(re.sub(r"(?s)^.*?(#EXT-X-MAP.*)#EXT-X-ENDLIST\n", r"\1", places))
    film, advert, same = parts

    def joined(*parts: str) -> None:
        head = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:1\n"
        body = "#EXT-X-DISCONTINUITY\n".join(parts)
        (tmp_path / "all.m3u8").write_text(f"{head}{body}#EXT-X-ENDLIST\n")

    with serving(tmp_path) as server:
        joined(film, same)
        assert len(pictures_at(f"{server.url}/all.m3u8")) == 30
        joined(film, advert)
        with pytest.raises(SourceError, match="goes on with another header"):
            pictures_at(f"{server.url}/all.m3u8")


def test_parts_that_each_begin_at_zero_leave_one_behind_another_with_their_sound(
    tmp_path: Path,
) -> None:
    text = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n"
    for part in ("film", "advert", "more"):
        (tmp_path / part).mkdir()
        inputs = (*moving()[:4], "-f", "lavfi", "-i", "sine", "-t", "1")
        hls = ("-f", "hls", "-hls_time", "0.5", "-hls_playlist_type", "vod")
        ffmpeg(*inputs, *h264(), "-c:a", "aac", *hls, str(tmp_path / part / "live.m3u8"))
        found = re.findall(r"(#EXTINF.*\n)(.*)\n", (tmp_path / part / "live.m3u8").read_text())
        text += "#EXT-X-DISCONTINUITY\n"
        text += "".join(f"{length}{part}/{name}\n" for length, name in found)
    (tmp_path / "all.m3u8").write_text(f"{text}#EXT-X-ENDLIST\n")
    with serving(tmp_path) as server:
        _, got = asyncio.run(read(f"{server.url}/all.m3u8", 1000))
    newest: dict[str, Fraction] = {}
    for packet in got:
        decoded_s = packet.dts * packet.time_base
        assert decoded_s > newest.get(packet.stream, -1)
        newest[packet.stream] = decoded_s
        assert abs(newest["video"] - newest.get("audio", 0)) < Fraction(1, 2)
    assert sum(packet.stream == "video" for packet in got) == 90
    assert newest["video"] == pytest.approx(3, abs=0.3)
