from __future__ import annotations

from pathlib import Path

import pytest

from streamer.config import SinkSpec
from streamer.errors import ConfigError
from streamer.settings_file import EXAMPLE, KINDS, read_settings


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
        "streams: {yard: {source: 'synthetic:', to: ['null:', 'webrtc:'], scale: 3, "
        "budget_ms: 50, backend: reference, variant: lite}}"
    )
    (stream,) = read_settings(written(tmp_path, text))
    assert all(f"{key}:" in text for key in KINDS)
    assert stream.sinks == (SinkSpec(kind="null"), SinkSpec(kind="webrtc"))
    assert (stream.scale, stream.budget_ms) == (3, 50)
    assert (stream.backend, stream.variant) == ("reference", "lite")


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
        ("streams: {'the door': {source: a.mp4, to: ['null:']}}", "use 1 to 64 letters"),
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
