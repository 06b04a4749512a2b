from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streamer.config import (
    Changes,
    EncodeSettings,
    SinkSpec,
    StreamSettings,
    parse_sink,
    place_of,
    redacted,
    source_kind,
)
from streamer.errors import ConfigError

NULL = SinkSpec(kind="null")


def settings(**fields: Any) -> StreamSettings:
    return StreamSettings(**{"source": "clip.mp4", "sinks": (NULL,), **fields})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("webrtc:", SinkSpec(kind="webrtc")),
        ("null:", NULL),
        ("y4m:-", SinkSpec(kind="y4m", target="-")),
        ("y4m:raw/out", SinkSpec(kind="y4m", target="raw/out")),
        ("out.y4m", SinkSpec(kind="y4m", target="out.y4m")),
        ("a b/out.mp4", SinkSpec(kind="file", target="a b/out.mp4")),
        ("OUT.MKV", SinkSpec(kind="file", target="OUT.MKV")),
        ("OUT.Y4M", SinkSpec(kind="y4m", target="OUT.Y4M")),
        ("out.ts", SinkSpec(kind="file", target="out.ts")),
    ],
)
def test_every_kind_of_output_is_understood(text: str, expected: SinkSpec) -> None:
    assert parse_sink(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "out",
        "out.avi",
        ".mp4x",
        "y4m:",
        "webrtc",
        "rtsp://",
        "hls:",
        "http://h/x.mp4",
        "x://h/o.y4m",
    ],
)
def test_what_is_no_output_is_refused_with_what_is_one(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is no output; use webrtc:, rtsp: "):
        parse_sink(text)


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("clip.mp4", "file"),
        ("/videos/a:b.mkv", "file"),
        ("frames/%04d.png", "file"),
        ("device:/dev/video0", "device"),
        ("synthetic:", "synthetic"),
        ("synthetic:640x360@30", "synthetic"),
        ("rtsp://camera/1", "rtsp"),
        ("RTSPS://camera/1", "rtsp"),
        ("rtmp://host/live/key", "network"),
        ("https://host/live.m3u8", "network"),
        ("udp://@:5000", "network"),
        ("srt://host:9000", "network"),
        ("whip:", "whip"),
    ],
)
def test_every_kind_of_source_is_understood(source: str, kind: str) -> None:
    assert source_kind(source) == kind


@pytest.mark.parametrize("source", ["gopher://h/x", "concat://a|b", "", "x-y+z://"])
def test_what_is_no_source_is_refused_with_what_is_one(source: str) -> None:
    with pytest.raises(ConfigError, match="use rtsp://"):
        source_kind(source)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"scale": 0}, "--scale 0 is not possible; use 1, 2, 3 or 4"),
        ({"denoise": "maybe"}, "--denoise 'maybe' is not possible; use auto, on, off"),
        ({"denoise": ""}, "use auto, on, off"),
        ({"sharpen": -0.1}, "--sharpen -0.1 is out of range; use 0 (not at all) to 1"),
        ({"sharpen": 1.01}, "--sharpen 1.01 is out of range"),
        ({"sharpen": float("nan")}, "--sharpen nan is out of range"),
        ({"budget_ms": 0.5}, "--budget-ms 0.5 is out of range; use 1 to 60000"),
        ({"budget_ms": float("nan")}, "--budget-ms nan is out of range"),
        ({"duration_s": -1.0}, "--duration -1 is out of range; use more than 0 seconds"),
        ({"duration_s": float("nan")}, "--duration nan is out of range"),
        ({"duration_s": float("inf")}, "--duration inf is out of range"),
        ({"sinks": ()}, "there is no output; add --to with webrtc:"),
        ({"name": "front door"}, "use 1 to 64 letters, digits, - _ ."),
        ({"name": "x" * 65}, "is no name for a stream"),
        ({"sinks": 2 * (SinkSpec(kind="file", target="o.ts"),)}, "two outputs have the same name"),
        ({"sinks": (SinkSpec(kind="file", target="./clip.mp4"),)}, "is the input as well"),
        ({"sinks": (SinkSpec(kind="y4m", target="no/such/o.y4m"),)}, "does not exist; make it"),
    ],
)
def test_a_setting_that_is_wrong_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        settings(**fields)
    assert said in str(refusal.value)


def test_standard_input_is_neither_standard_output_nor_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-").touch()
    for outputs in (("y4m:-",), ("y4m:-", "y4m:./-")):
        settings(source="-", sinks=tuple(map(parse_sink, outputs)))
    with pytest.raises(ConfigError, match="two outputs have the same name"):
        settings(source="-", sinks=2 * (parse_sink("y4m:-"),))
    with pytest.raises(ConfigError, match="is the input as well"):
        settings(source="./-", sinks=(parse_sink("y4m:./-"),))


def test_two_ways_to_write_one_output_are_still_one_output(tmp_path: Path) -> None:
    same = (str(tmp_path / "out.ts"), f"{tmp_path}/./out.ts")
    with pytest.raises(ConfigError, match="two outputs have the same name"):
        settings(sinks=tuple(SinkSpec(kind="file", target=target) for target in same))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"crf": 52}, "crf 52 is out of range; use 0 (lossless) to 51 (worst)"),
        ({"bitrate_kbps": 99}, "use 100 to 200000"),
        ({"preset": "placebo"}, "use one of: ultrafast, superfast"),
    ],
)
def test_an_encode_setting_that_is_wrong_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        EncodeSettings(**fields)
    assert said in str(refusal.value)


def test_only_files_into_files_are_offline() -> None:
    assert settings().is_offline
    assert not settings(sinks=(NULL, SinkSpec(kind="webrtc"))).is_offline
    assert not settings(source="device:/dev/video0").is_offline
    assert not settings(source="synthetic:").is_offline


def test_users_and_passwords_are_never_repeated() -> None:
    assert redacted("see rtsp://me:pa@ss@host/live") == "see rtsp://***@host/live"
    assert redacted("rtsp://host/live") == "rtsp://host/live"
    assert redacted("rtsp://me:a/b@c@host/live: 401") == "rtsp://***@host/live: 401"
    assert redacted("srt://h:1?mode=x&passphrase=ab&c") == "srt://h:1?mode=x&passphrase=***"
    assert redacted("GET http://h/x?sign=abc 401") == "GET http://h/x?sign=*** 401"
    assert redacted("GET http://h/x?a=1&Token=abc 401") == "GET http://h/x?a=1&Token=*** 401"
    assert redacted("rtmp://h/live/KEY refused") == "rtmp://h/live/*** refused"
    # Slips, and how other programs write a relay's address.
    assert redacted("rtsp//me:pass@host/live") == "rtsp//***@host/live"
    assert redacted("'rtmp:/h/live/KEY' is no output") == "'rtmp:/h/live/***' is no output"
    assert redacted("rtmp//h/live/KEY refused") == "rtmp//h/live/*** refused"
    assert redacted("'turn:me:pass@host' is no server") == "'turn:***@host' is no server"
    assert redacted("rtmp:/h/live rtsp//host/live") == "rtmp:/h/live rtsp//host/live"
    # As many cheap cameras have it.
    assert redacted("454 rtsp://h/user=a_password=b_c=1.sdp") == "454 rtsp://h/user=a_password=***"
    assert redacted("GET /user=a/pwd=b 404") == "GET /user=a/pwd=*** 404"
    with pytest.raises(ConfigError) as refusal:
        parse_sink("ftp://me:secret@host/live")
    assert "secret" not in str(refusal.value)


def test_outputs_are_called_by_kind_and_name() -> None:
    assert parse_sink("/some/where/out.mp4").label == "file:out.mp4"
    assert parse_sink("webrtc:").label == "webrtc"
    assert parse_sink("rtmp://me:secret@host:1936/live/KEY").label == "rtmp://host:1936"


@pytest.mark.parametrize("wrong", [{"budget_ms": 0.0}, {"bitrate_kbps": 1}])
def test_a_change_to_what_is_not_possible_cannot_even_be_said(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="out of range"):
        Changes(**wrong)


def test_a_change_to_what_is_possible_can_be_said() -> None:
    changes = Changes(budget_ms=60.0, bitrate_kbps=900, tier="plain")
    assert (changes.budget_ms, changes.bitrate_kbps, changes.tier) == (60.0, 900, "plain")
    assert Changes() == Changes(budget_ms=None)


@pytest.mark.parametrize("denoise", ["auto", "on", "off"])
def test_noise_is_taken_away_while_there_is_any_always_or_never(denoise: str) -> None:
    assert settings(denoise=denoise).denoise == denoise
    assert settings().denoise == "auto"


@pytest.mark.parametrize("sharpen", [0, 0.5, 1])
def test_pictures_are_sharpened_as_far_as_asked_for(sharpen: float) -> None:
    assert settings(sharpen=sharpen).sharpen == sharpen
    assert settings().sharpen == 0


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("RTSP://admin:secret@camera:554/stream?a=b", "rtsp://camera:554"),
        ("rtmp://server/app/key", "rtmp://server"),
        ("rtsp://[2001:db8::1]:554/x", "rtsp://[2001:db8::1]:554"),
        ("srt://host:9000?passphrase=secret@word", "srt://***"),
        ("rtsp://admin:p@s:s/w%r@camera/stream", "rtsp://***"),
        ("rtsp://u:12/34@camera", "rtsp://***"),
        ("rtsp://u:p[ss@camera/stream", "rtsp://camera"),
        ("rtsp://[::1/x", "rtsp://[::1"),
    ],
)
def test_the_place_of_an_address_is_told_without_any_part_of_a_password(
    url: str, place: str
) -> None:
    assert place_of(url) == place


def test_a_folder_that_was_removed_under_its_feet_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    with pytest.raises(ConfigError, match=r"out\.mkv is to be in the folder where this runs"):
        StreamSettings(source="/clip.mkv", sinks=(parse_sink("out.mkv"),))
