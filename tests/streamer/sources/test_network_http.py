import asyncio
import logging
import re
import ssl
from pathlib import Path

import pytest

from streamer.decode import Decoder
from streamer.errors import SourceError
from streamer.metrics import Metrics
from tests.clips import Clips, ffmpeg, h264, moving
from tests.programs import needs, output_of
from tests.streamer.sources.network_reader import CLOCK, check, read
from tests.streamer.sources.peers import (
    encoded,
    ffmpeg_clip,
    sending,
    serving,
    wait_for,
)

pytestmark = needs("ffmpeg")


def test_a_live_playlist_comes_at_its_own_rate(tmp_path: Path) -> None:
    playlist = tmp_path / "live.m3u8"
    hls = ("-f", "hls", "-hls_time", "0.5", "-hls_list_size", "60", "-hls_flags", "delete_segments")
    with serving(tmp_path) as server, sending([*encoded(), *hls, str(playlist)]):
        wait_for(playlist, "#EXTINF", 3)
        source, got = asyncio.run(read(f"{server.url}/live.m3u8", 120))
        check(source, got)
    assert source.video.is_live
    films = [packet for packet in got if packet.stream == "video"]
    passed_s = (films[-1].arrived_ns - films[0].arrived_ns) / 1e9
    # Segments come at once; released in their own time they take as long as they show.
    assert passed_s > 0.9 * float(films[-1].time_s - films[0].time_s)


@pytest.mark.parametrize("suffix", [".mp4", ".ts"])
def test_a_file_over_http_comes_whole_paced_and_ends(
    clips: Clips, tmp_path: Path, suffix: str
) -> None:
    clip = clips.with_sound(suffix)
    (tmp_path / clip.name).write_bytes(clip.read_bytes())
    with serving(tmp_path) as server:
        source, got = asyncio.run(read(f"{server.url}/{clip.name}", 1000))
    films = [packet for packet in got if packet.stream == "video"]
    assert len(films) == 30
    assert not source.video.is_live
    assert films[-1].arrived_ns - films[0].arrived_ns > 0.9e9
    decoder = Decoder(source.video, low_delay=False, clock=CLOCK, metrics=Metrics())
    frames = [frame for packet in films for frame in decoder.decode(packet)]
    assert len(frames + decoder.flush()) == 30


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_file_without_a_length_of_its_own_ends_where_the_server_says(
    tmp_path: Path, *, knows_ranges: bool
) -> None:
    clip = tmp_path / "recorded.webm"
    live = ("-f", "webm", "-live", "1")
    ffmpeg(*moving(frames=15), "-c:v", "libvpx", "-deadline", "realtime", *live, str(clip))
    with serving(tmp_path) as server:
        server.knows_ranges = knows_ranges
        source, got = asyncio.run(read(f"{server.url}/{clip.name}", 1000))
    assert not source.video.is_live
    assert len(got) == 15
    assert got[-1].arrived_ns - got[0].arrived_ns > 0.4e9


def test_an_mp4_whose_index_comes_last_needs_a_server_that_knows_ranges(tmp_path: Path) -> None:
    for name, options in (("late", ()), ("early", ("-movflags", "+faststart"))):
        ffmpeg(*moving(frames=6), *h264(), *options, str(tmp_path / f"{name}.mp4"))
    with serving(tmp_path) as server:
        assert len(asyncio.run(read(f"{server.url}/late.mp4", 100))[1]) == 6
        server.knows_ranges = False
        assert len(asyncio.run(read(f"{server.url}/early.mp4", 100))[1]) == 6
        with pytest.raises(SourceError, match=r"index comes last, and its server knows no ranges"):
            asyncio.run(read(f"{server.url}/late.mp4", 100))


def test_channels_in_an_order_of_their_own_do_not_end_the_reader(tmp_path: Path) -> None:
    noise = (
        "-f",
        "lavfi",
        "-i",
        "anoisesrc=amplitude=0.1:duration=0.2,aformat=channel_layouts=7.1",
    )
    sound = ("-c:a", "pcm_s24le", "-t", "0.2")
    ffmpeg(*moving()[:4], *noise, *h264(), *sound, str(tmp_path / "eight.mov"))
    with serving(tmp_path) as server:
        source, got = asyncio.run(read(f"{server.url}/eight.mov", 1000))
    assert len([packet for packet in got if packet.stream == "video"]) == 6
    assert source.audio is not None
    assert source.audio.channels == 8


def test_what_a_cut_connection_left_of_a_file_is_asked_for(clips: Clips, tmp_path: Path) -> None:
    clip = clips.with_sound(".ts")
    data = clip.read_bytes()
    (tmp_path / clip.name).write_bytes(data)
    with serving(tmp_path) as server:
        server.cut_after = len(data) // 2 + 1
        got = asyncio.run(read(f"{server.url}/{clip.name}", 1000))[1]
        assert len([packet for packet in got if packet.stream == "video"]) == 30
        server.knows_ranges = False
        with pytest.raises(SourceError, match="broke off before its end, and then answered 200 OK"):
            asyncio.run(read(f"{server.url}/{clip.name}", 1000))


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ((401, {}), "answered 401 Unauthorized; add user:password@"),
        ((404, {}), "answered 404 Not Found; check the path"),
        ((302, {"Location": "/live"}), "redirected more than 5 times"),
        ((302, {"Location": "file:///etc/passwd"}), "leads to file://, which is not followed"),
    ],
)
def test_what_a_server_answers_is_said_without_secrets(
    tmp_path: Path, rule: tuple[int, dict[str, str]], said: str
) -> None:
    with serving(tmp_path) as server:
        server.rules.append((".", *rule))
        url = server.url.replace("//", "//user:hunter2@") + "/live?token=t0ken"
        with pytest.raises(SourceError, match=re.escape(said)) as refused:
            asyncio.run(read(url, 1))
    assert "hunter2" not in str(refused.value)
    assert "t0ken" not in str(refused.value)


def test_a_password_goes_to_its_own_host_only(tmp_path: Path, clips: Clips) -> None:
    clip = clips.with_sound(".ts")
    (tmp_path / "a.ts").write_bytes(clip.read_bytes())
    with serving(tmp_path) as home, serving(tmp_path) as other:
        home.rules.append(("^/live", 302, {"Location": f"{other.url}/a.ts"}))
        asyncio.run(read(home.url.replace("//", "//user:hunter2@") + "/live", 3))
        assert "Authorization" in home.asked[0][1]
        assert all("Authorization" not in headers for _, headers in other.asked)
        assert other.asked


PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:1,\n{}\n"


@pytest.mark.parametrize(
    "segment",
    ["file:///etc/passwd", "subfile,,start,0,end,9,,:/etc/passwd"],
)
def test_a_playlist_reaches_no_other_scheme(tmp_path: Path, segment: str) -> None:
    (tmp_path / "live.m3u8").write_text(PLAYLIST.format(segment) + "#EXT-X-ENDLIST\n")
    with serving(tmp_path) as server, pytest.raises(SourceError):
        asyncio.run(read(f"{server.url}/live.m3u8", 1))
    assert {path for path, _ in server.asked} == {"/live.m3u8"}


def test_every_host_a_playlist_or_a_redirect_leads_to_is_judged(
    tmp_path: Path, clips: Clips
) -> None:
    clip = clips.with_sound(".ts")
    (tmp_path / "a.ts").write_bytes(clip.read_bytes())
    asked: list[str] = []

    def may_connect(host: str) -> bool:
        asked.append(host)
        return host == "127.0.0.1"

    with serving(tmp_path) as server:
        url = f"http://127.0.0.2:{server.server_port}/a.ts"
        (tmp_path / "live.m3u8").write_text(PLAYLIST.format(url) + "#EXT-X-ENDLIST\n")
        server.rules.append(("^/moved", 302, {"Location": url}))
        for path in ("live.m3u8", "moved"):
            asked.clear()
            with pytest.raises(SourceError):
                asyncio.run(read(f"{server.url}/{path}", 1, may_connect=may_connect))
            assert asked[0] == "127.0.0.1"
            assert set(asked) == {"127.0.0.1", "127.0.0.2"}
        assert not any(path == "/a.ts" for path, _ in server.asked)
        assert len(asyncio.run(read(f"{server.url}/a.ts", 3, may_connect=may_connect))[1]) == 3


def test_sound_alone_is_refused_with_what_it_has(tmp_path: Path) -> None:
    ffmpeg_clip(tmp_path / "a.ts", "-f", "lavfi", "-i", "sine", "-t", "1", "-c:a", "aac")
    with serving(tmp_path) as server, pytest.raises(SourceError, match=r"no video \(it has: audio"):
        asyncio.run(read(f"{server.url}/a.ts", 1))


def test_a_picture_that_changes_its_size_says_so_on_the_keyframe(tmp_path: Path) -> None:
    for number, size in enumerate(("320x180", "640x360")):
        ffmpeg_clip(
            tmp_path / f"{number}.ts",
            *("-f", "lavfi", "-i", f"testsrc2=size={size}:rate=30", "-t", "0.5", "-c:v", "libx264"),
            *("-pix_fmt", "yuv420p", "-bf", "0", "-output_ts_offset", str(number * 0.5)),
        )
    whole = b"".join((tmp_path / f"{number}.ts").read_bytes() for number in range(2))
    (tmp_path / "both.ts").write_bytes(whole)
    with serving(tmp_path) as server:
        source, got = asyncio.run(read(f"{server.url}/both.ts", 1000))
    told = [(packet.video.width, packet.is_keyframe) for packet in got if packet.video]
    assert told == [(640, True)]
    assert source.video.height == 360


def test_libav_and_the_child_write_nothing_to_the_terminal(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "a.ts").write_bytes(b"\x47" + bytes(200_000))
    with caplog.at_level(logging.DEBUG), serving(tmp_path) as server:
        for _ in range(2):
            with pytest.raises(SourceError):
                asyncio.run(read(f"{server.url}/a.ts?token=t0ken", 1))
    assert capfd.readouterr() == ("", "")
    assert "t0ken" not in caplog.text


@needs("openssl")
def test_a_certificate_has_to_be_trusted(
    tmp_path: Path, clips: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.ts").write_bytes(clips.with_sound(".ts").read_bytes())
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    output_of(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
        "-keyout", str(key), "-out", str(certificate),
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with serving(tmp_path, tls=context) as server:
        url = f"https://127.0.0.1:{server.server_port}/a.ts"
        with pytest.raises(SourceError, match="certificate that is not trusted"):
            asyncio.run(read(url, 1))
        assert server.asked == []
        # What the child inherits.
        monkeypatch.setenv(ssl.get_default_verify_paths().openssl_cafile_env, str(certificate))
        assert len(asyncio.run(read(url, 3))[1]) == 3
