from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from streamer.addresses import parse_network
from streamer.config import EncodeSettings, SinkSpec
from streamer.errors import ConfigError
from streamer.rate import Rate
from streamer.settings_file import (
    EXAMPLE,
    KINDS,
    READERS,
    Limits,
    Listen,
    ServeSettings,
    read_serve_settings,
    read_settings,
)

TOKEN = "0123456789abcdef"


def written(folder: Path, text: str) -> Path:
    path = folder / "streams.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_example_in_the_messages_is_right(tmp_path: Path) -> None:
    (stream,) = read_settings(written(tmp_path, EXAMPLE))
    assert (stream.name, stream.source, stream.scale) == ("door", "clip.mp4", 2)
    assert stream.sinks == (SinkSpec(kind="webrtc"),)


def test_every_key_is_read(tmp_path: Path) -> None:
    text = (
        "streams: {file: {source: clip.mp4, to: ['null:'], crf: 20}, "
        "yard: {source: clip.mp4, to: ['null:', 'out.mkv'], scale: 3, "
        "budget_ms: 50, backend: reference, tier: lite, bitrate_kbps: 900, "
        "preset: fast, fps: 59.94, between: predict, conceal: false, "
        "denoise: 'off', steady: true, sharpen: 0.5}}"
    )
    file, stream = read_settings(written(tmp_path, text))
    assert all(f"{key}:" in text for key in KINDS)
    assert stream.sinks == (SinkSpec(kind="null"), SinkSpec(kind="file", target="out.mkv"))
    assert (stream.scale, stream.budget_ms) == (3, 50)
    assert (stream.backend, stream.variant) == ("reference", "lite")
    assert stream.rate == Rate(fps=Fraction(60_000, 1001))
    assert (stream.between, stream.conceals, stream.steady) == ("predict", False, True)
    assert (stream.denoise, stream.sharpen) == ("off", 0.5)
    assert stream.encode == EncodeSettings(bitrate_kbps=900, preset="fast")
    assert file.encode == EncodeSettings(crf=20)


def test_plain_is_a_tier_here_too(tmp_path: Path) -> None:
    text = "streams: {a: {source: clip.mp4, to: ['null:'], tier: plain}}"
    (stream,) = read_settings(written(tmp_path, text))
    assert (stream.backend, stream.variant) == ("reference", None)


@pytest.mark.parametrize(
    ("text", "denoise"),
    [("", "auto")] + [(f", denoise: {quoted}", word) for word in ("auto", "on", "off")
                      for quoted in (word, f"'{word}'")],
)  # fmt: skip
def test_on_and_off_need_no_quotes(text: str, denoise: str, tmp_path: Path) -> None:
    # YAML reads them as true and false.
    text = f"streams: {{yard: {{source: 'synthetic:', to: ['null:']{text}}}}}"
    (stream,) = read_settings(written(tmp_path, text))
    assert stream.denoise == denoise


def test_frames_in_between_alone_mean_twice_as_many(tmp_path: Path) -> None:
    text = "streams: {yard: {source: 'synthetic:', to: ['null:'], between: predict}}"
    (stream,) = read_settings(written(tmp_path, text))
    assert stream.rate == Rate(times=2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("streams: [", "is not YAML"),
        ("", "lists no streams; it looks like: streams:"),
        ("[1, 2]", "lists no streams"),
        ("streams: {}", "lists no streams"),
        ("streams: {door: 7}", "'door' has no source"),
        ("streams: {door: {to: ['null:']}}", "'door' has no source"),
        ("streams: {door: {source: 7, to: ['null:']}}", "'door' has no source"),
        ("streams: {door: {source: a.mp4, to: 'null:'}}", "has 'null:' as its 'to'"),
        ("streams: {door: {source: a.mp4, to: ['null:'], size: 2}}", "the keys are: source, to"),
        ("streams: {door: {source: a.mp4, to: ['x.avi']}}", "'x.avi' is no output"),
        ("streams: {door: {source: a.mp4}}", "there is no output"),
        ("streams: {door: {source: a.mp4, to: ['null:'], scale: two}}", "'door'"),
        ("streams: {door: {source: a.mp4, to: ['null:'], budget_ms: fast}}", "'door'"),
        ("streams: {door: {source: a.mp4, to: ['null:'], scale: true}}", "'door'"),
        ("streams: {door: {source: a.mp4, to: ['null:'], backend: 5}}", "'door'"),
        ("streams: {door: {source: a.mp4, to: ['null:'], denoise: 1}}", "'door' has 1 as its 'den"),
        ("streams: {a: {source: a.mp4, to: ['null:'], sharpen: true}}", "it takes a number"),
        (
            "streams: {a: {source: a.mp4, to: ['null:'], sharpen: 2}}",
            "'a': sharpen 2 is out of range",
        ),
        ("streams: {a: {source: a.mp4, to: ['null:'], sharpen: .nan}}", "nan is out of range"),
        ("streams: {a: {source: a.mp4, to: ['null:'], conceal: 'no'}}", "it takes true or false"),
        ("streams: {a: {source: a.mp4, to: ['null:'], bitrate_kbps: 4M}}", "it takes a whole numb"),
        ("streams: {a: {source: a.mp4, to: [webrtc:]}}", "put it in quotes: to: ['webrtc:']"),
        ("streams: {a: {source: a.mp4, to: ['null:'], denoise: maybe}}", "use auto, on, off"),
        ("streams: {a: {source: a.mp4, to: ['null:']}, a: {source: b.mp4}}", "'a' is there twice"),
        ("streams: {a: {source: a.mp4, to: ['null:'], crf: 99}}", "crf 99 is out of range"),
        ("streams: {a: {source: a.mp4, to: ['webrtc:'], crf: 18}}", "use bitrate_kbps here"),
        (
            "streams: {a: {source: a.mp4, to: [o.mp4], crf: 9, bitrate_kbps: 500}}",
            "'a': a file is coded by a crf or by a bitrate, not both",
        ),
        (
            "streams: {a: {source: a.mp4, to: [o.mp4], tier: plain, backend: openvino}}",
            "'a': the tier plain is no network, which the backend openvino could run",
        ),
        (
            "streams: {a: {source: 'device:/dev/video0', to: [o.mp4], crf: 9}}",
            "use bitrate_kbps here",
        ),
        ("streams: {a: {source: a.mp4, to: ['null:'], fps: often}}", " fps often"),
        ("streams: {a: {source: a.mp4, to: ['null:'], between: guess}}", " between 'guess'"),
        ("stream: {}", "has an unknown key 'stream'; the keys are: token, token_file, listen"),
        ("streams: {'the door': {source: a.mp4, to: ['null:']}}", "use 1 to 64 letters"),
        ("token: !loud", "what begins with *, & or ! has to be in quotes, line 1"),
        ("streams:\n  a: *b", "what begins with *, & or ! has to be in quotes, line 2"),
        (
            "streams:\n  a: {source: 2020-13-45}",
            "a value is no timestamp, put it in quotes, line 2",
        ),
        ("allow_files: !!bool perhaps", "a value is no bool, put it in quotes, line 1"),
        ("streams: !!int ''", "a value is no int, put it in quotes, line 1"),
        ("streams: !!map [a]", "expected a mapping node, but found sequence, line 1"),
    ],
)
def test_what_is_wrong_is_said_with_the_file_and_the_stream(
    text: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as refusal:
        read_settings(written(tmp_path, text))
    message = str(refusal.value)
    assert said in message
    assert "streams.yaml" in message
    assert "\n" not in message


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read .*; check the path"):
        read_settings(tmp_path / "none.yaml")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ConfigError, match="is not YAML"):
        read_settings(binary)


def read(folder: Path, text: str, **environment: str) -> ServeSettings:
    return read_serve_settings(written(folder, text), environment=environment)


def test_everything_a_server_needs_is_read(tmp_path: Path) -> None:
    (tmp_path / "hls").mkdir()
    text = f"""
listen: "[::1]:9000"
token: {TOKEN}
rtsp: {{listen: "127.0.0.1:9554", users: {{viewer: pass word}}}}
allow_sources: [10.0.0.0/8, "fd00::/8"]
allow_files: true
allow_origins: ["https://studio.example", "http://localhost:3000"]
hls_folder: {tmp_path / "hls"}
ice_servers: ["stun:stun.example.org"]
limits: {{streams: 2, pixels: 921600}}
streams: {{yard: {{source: "synthetic:", to: ["null:"]}}}}
"""
    settings = read(tmp_path, text)
    assert all(f"{key}:" in text for key in READERS)
    assert settings.listen == Listen(host="::1", port=9000)
    assert str(settings.listen) == "[::1]:9000"
    assert settings.token == TOKEN
    assert settings.rtsp is not None
    assert settings.rtsp.users == {"viewer": "pass word"}
    assert settings.sources.allowed == (parse_network("10.0.0.0/8"), parse_network("fd00::/8"))
    assert settings.allow_files
    assert settings.allow_origins == ("https://studio.example", "http://localhost:3000")
    assert settings.hls_folder == tmp_path / "hls"
    assert settings.limits == Limits(streams=2, pixels=921_600)
    assert [one.name for one in settings.streams] == ["yard"]
    assert TOKEN not in repr(settings)
    assert "pass word" not in repr(settings)


def test_what_is_not_said_is_safe(tmp_path: Path) -> None:
    settings = read(tmp_path, "streams: {a: {source: 'synthetic:', to: ['null:']}}")
    assert settings.listen == Listen(host="127.0.0.1", port=8080)
    assert settings.token is None
    assert settings.rtsp is None
    assert settings.sources.allowed == ()
    assert not settings.allow_files
    assert settings.hls_folder is None
    assert read(tmp_path, "listen: 127.0.0.1:1").streams == (), "streams may come over the API"


def test_a_stream_that_is_served_over_rtsp_brings_its_server(tmp_path: Path) -> None:
    settings = read(tmp_path, "streams: {a: {source: 'synthetic:', to: ['rtsp:']}}")
    assert settings.rtsp is not None
    assert settings.rtsp.listen == Listen(host="127.0.0.1", port=8554)


def test_the_token_may_come_from_a_file_or_from_the_environment(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"{TOKEN}from-file\n")
    assert read(tmp_path, f"token_file: {secret}").token == f"{TOKEN}from-file"
    assert read(tmp_path, "allow_files: false", STREAMER_TOKEN=TOKEN).token == TOKEN
    named = read(tmp_path, f"token: {TOKEN}x", STREAMER_TOKEN=TOKEN)
    assert named.token == f"{TOKEN}x", "the file is nearer"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("token: short", "token is no token of 16 to 256 letters"),
        ("token: 1234567890123456", "token is no token"),
        ("token: 'a token with spaces in it'", "make one with: openssl rand -hex 16"),
        (f"{{token: {TOKEN}, token_file: x}}", "has a token and a token_file; keep one"),
        ("token_file: /no/such/file", "token_file: /no/such/file cannot be read"),
        ("token_file: 7", "token_file is no path"),
        ("listen: 8080", "listen: 8080 is no address to listen on; write it as 127.0.0.1:8080"),
        ("listen: ':8080'", "is no address to listen on"),
        ("listen: 127.0.0.1:99999", "a port is 0 to 65535"),
        ("rtsp: true", "rtsp: it is no mapping; it looks like: rtsp:"),
        ("rtsp: {user: {}}", "rtsp: there is no key 'user'; the keys are: listen, users"),
        ("rtsp: {users: {}}", "users lists nobody"),
        ("rtsp: {users: {'a:b': x}}", "'a:b' is no user"),
        ("rtsp: {users: {viewer: 12345}}", "the password of viewer is no text"),
        ("allow_sources: 10.0.0.0/8", "'10.0.0.0/8' is no list of texts"),
        ("allow_sources: [home]", "allow_sources: 'home' is no network"),
        ("allow_files: 'yes'", "allow_files: it is 'yes'; write true or false"),
        ("allow_origins: ['*']", "allow_origins: '*' is no origin"),
        ("allow_origins: ['https://a.example/x']", "is no origin"),
        ("hls_folder: ''", "'' is no folder; make it first"),
        ("hls_folder: /no/such/folder", "'/no/such/folder' is no folder; make it first"),
        ("limits: {streams: 0}", "limits: streams is 0; it is a whole number from 1 on"),
        ("limits: {pixels: true}", "limits: pixels is True"),
        ("limits: {frames: 3}", "there is no key 'frames'; the keys are: streams, pixels"),
        ("streams: []", "lists no streams"),
        ("streams: {no: {source: x, to: ['null:']}}", "a stream's name is False"),
        ("streams: {~: {source: x, to: ['null:']}}", "a stream's name is None"),
        ("streams: {..: {source: x, to: ['null:']}}", "'..' is no name for a stream"),
        ("streams: {a: {source: \"a\\0b.mp4\", to: ['null:']}}", "a name holds a zero byte"),
        ("? [a, b]\n: c", "a key is no text, line 1"),
        ("streams: 2020-13-45", "is not YAML (a value is no timestamp, put it in quotes, line 1)"),
        pytest.param("streams: " + "[" * 5000, "has too many levels", id="deep"),
        pytest.param("#" * (2 << 20), "it is longer than 1 MiB", id="long"),
        ("token_file: /dev/zero", "token_file: /dev/zero is not text"),
    ],
)
def test_what_a_server_cannot_use_is_said_with_the_file_and_the_key(
    text: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as refusal:
        read(tmp_path, text)
    message = str(refusal.value)
    assert said in message
    assert "streams.yaml" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "text",
    [
        "token: [hunter2hunter2hunter2",
        "token: hunter2 is too short",
        "token: !hunter2",
        "token: *hunter2",
        "rtsp: {users: {viewer: !hunter2 , guest: word}}",
        "rtsp: {users: {viewer: &hunter2 a, guest: &hunter2 b}}",
        "rtsp: {users: {viewer: hunter2\x07}}",
        "streams: {a: {source: 'rtsp://u:hunter2@h/x', to: 'rtmp://u:hunter2@h/a/hunter2'}}",
        "streams: {a: {source: 'x', to: ['rtmp://u:hunter2@/'], scale: 9}}",
        "streams: {a: {source: 'ftp://u:hunter2@h/x', to: ['null:']}}",
    ],
)
def test_no_refusal_repeats_a_secret(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refusal:
        read(tmp_path, text)
    assert "hunter2" not in str(refusal.value)


def test_nothing_is_offered_to_the_whole_network_without_a_password(tmp_path: Path) -> None:
    here = read(tmp_path, "listen: 127.0.0.1:8080")
    with pytest.raises(
        ConfigError, match=r"listen on 0\.0\.0\.0:8080 .* without a token; make one"
    ):
        here.listening_on(host="0.0.0.0", port=None)
    assert here.listening_on(host="::1", port=0).listen == Listen(host="::1", port=0)
    open_rtsp = read(tmp_path, f"{{token: {TOKEN}, rtsp: {{listen: '0.0.0.0:8554'}}}}")
    with pytest.raises(ConfigError, match=r"serve RTSP on 0\.0\.0\.0:8554 .* without a password"):
        open_rtsp.listening_on(host=None, port=None)
    everywhere = read(tmp_path, f"{{token: {TOKEN}, listen: '0.0.0.0:80'}}")
    assert everywhere.listening_on(host=None, port=None).listen.host == "0.0.0.0"
