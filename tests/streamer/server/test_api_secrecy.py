"""What is cut out of texts, and what is left to read."""

from __future__ import annotations

import logging

import pytest

from streamer.server.secrecy import (
    RedactingFilter,
    clean,
    clean_values,
    metric_label,
    secrets_of,
    shown_source,
)
from tests.streamer.server.many import settings

CAMERA = "rtsp://admin:p%40ss-word@10.0.0.9:554/user=admin_password=tlJwpbo6?auth=abcdef123"


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        (CAMERA, "rtsp://10.0.0.9:554"),
        ("https://cdn.example/key/live.m3u8?token=x", "https://cdn.example"),
        ("/videos/private/clip.mp4", "clip.mp4"),
        ("synthetic:320x180@30", "synthetic:320x180@30"),
        ("device:/dev/video0", "device:/dev/video0"),
        ("whip:", "whip:"),
    ],
)
def test_a_source_is_shown_without_what_may_be_secret(source: str, shown: str) -> None:
    assert shown_source(source) == shown


@pytest.mark.parametrize(
    "text",
    [
        f"cannot open {CAMERA}: refused",
        "401 for admin with p%40ss-word",
        "401 for admin with p@ss-word",
        "no stream at /user=admin_password=tlJwpbo6",
        "rejected auth abcdef123",
        "key my-stream-key is in use",
    ],
)
def test_no_form_of_a_secret_is_left_in_a_text(text: str) -> None:
    stream = settings("a", CAMERA, "rtmp://10.0.0.1/app/my-stream-key")
    cleaned = clean(text, secrets_of(stream))
    for secret in ("p%40ss", "p@ss", "tlJwpbo6", "abcdef123", "my-stream-key", "admin"):
        assert secret not in cleaned
    assert cleaned.split()[0] == text.split()[0], "the sentence stays readable"


def test_what_follows_a_streamid_of_srt_access_control_is_secret_too() -> None:
    stream = settings(
        "a", "srt://10.0.0.1:9000?streamid=#!::r=cam,m=request&passphrase=longenough1"
    )
    assert clean("no r=cam with longenough1", secrets_of(stream)) == "no r=cam with ***"
    assert clean("no #!::r=cam,m=request", secrets_of(stream)) == "no ***"


def test_ordinary_words_stay_although_a_path_has_them_too() -> None:
    secrets = secrets_of(settings("a", "rtsp://h/live?x=tcp", "rtmp://h/app/live"))
    numbers = {"state": "live", "engines": [{"model": "sr-lite-x2-live"}], "by": ("tcp", 3, None)}
    assert clean_values(numbers, secrets) == {**numbers, "by": ["tcp", 3, None]}


@pytest.mark.parametrize("last", ["stream", "garden"])
@pytest.mark.parametrize("path", ["", "/live"])
def test_a_path_that_is_called_as_its_stream_is_leaves_the_log_readable(
    last: str, path: str
) -> None:
    """Many cameras have a /stream, and many servers a path that is called as their camera is."""
    source = f"rtsp://10.0.0.9:8554{path}/{last}?src={last}"
    secrets = secrets_of(settings("garden", source, "rtmp://me:garden@10.0.0.1/app"))
    said = "the stream garden: rtsp://10.0.0.9:8554 has no stream at this path (404)"
    line = f"the stream garden: {source} has no stream at this path (404)"
    assert clean(line, secrets - {"garden"}) == said
    assert "garden" in secrets, "the password"
    assert clean("no /live/stream", secrets_of(settings("a", "rtsp://h/live/stream"))) == "no ***"


def test_of_an_address_a_metric_has_only_the_scheme() -> None:
    assert metric_label("sink.rtmp://10.0.0.1:1935 full") == "sink.rtmp full"
    assert metric_label("decoded_link.full") == "decoded_link.full"


def test_what_others_log_is_cleaned_as_well() -> None:
    redacting = RedactingFilter(lambda: {"my-token-value"})
    try:
        raise ValueError("it is my-token-value for rtsp://me:pw@h/x")
    except ValueError as error:
        info = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "saw %s", ("my-token-value",), info)
    assert redacting.filter(record)
    text = logging.Formatter().format(record)
    assert "saw ***" in text
    assert "Traceback" in text
    assert "my-token-value" not in text
    assert "me:pw" not in text
