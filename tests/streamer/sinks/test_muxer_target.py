"""What an address may say, and that nothing of it is given away."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.config import redacted
from streamer.errors import SinkError
from streamer.sinks.muxer_sink import Backoff, without
from streamer.sinks.muxer_target import target_of

GOOD = [
    ("rtsp://user:pass-word@host:8554/live/cam?token=abcdef", "rtsp://host:8554", "rtsp"),
    ("rtsps://host/live", "rtsps://host", "rtsp"),
    ("rtmp://host/app/stream-key", "rtmp://host", "tee"),
    ("rtmps://host:443/app/stream-key?x=[1]|2", "rtmps://host:443", "tee"),
    (f"rtmp://host/app/{'k' * 1018}", "rtmp://host", "tee"),
    ("udp://239.0.0.1:5000?ttl=4", "udp://239.0.0.1:5000", "mpegts"),
    ("udp://[::1]:5000", "udp://[::1]:5000", "mpegts"),
    ("srt://host:7000?passphrase=0123456789&streamid=publish:me", "srt://host:7000", "mpegts"),
]


@pytest.mark.parametrize(("url", "place", "format"), GOOD)
def test_an_address_becomes_an_output(url: str, place: str, format: str) -> None:
    target = target_of(url)
    assert (target.place, target.output.format) == (place, format)
    assert "0123456789" not in target.output.url
    for secret in ("pass-word", "stream-key", "abcdef", "0123456789", "publish:me"):
        assert secret not in repr(target)


def test_a_short_user_is_not_cut_out_of_every_word() -> None:
    secrets = target_of("rtsp://u:pw@host/x").secrets
    assert without(secrets, "Connection refused") == "Connection refused"


def test_a_streamid_of_srt_access_control_is_taken_as_ffmpeg_takes_it() -> None:
    target = target_of("srt://host:7000?streamid=#!::r=cam,m=publish&passphrase=0123456789")
    assert target.srt is not None
    assert target.srt["streamid"] == "#!::r=cam,m=publish"
    assert target.srt["passphrase"] == "0123456789"
    assert without(target.secrets, "no #!::r=cam,m=publish with 0123456789") == "no *** with ***"


def test_datagrams_are_whole_transport_packets() -> None:
    assert "pkt_size=1316" in target_of("udp://host:5000").output.url
    assert "pkt_size=188" in target_of("udp://host:5000?pkt_size=188").output.url


def test_certificates_are_checked() -> None:
    assert target_of("rtsps://host/live").output.options["tls_verify"] == "1"
    assert "tls_verify=1" in target_of("rtmps://host/app/key").output.url


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("rtmp://host/app", "rtmp://host lacks a part; write the application and the stream-key"),
        ("rtmp:///app/key", "names no host"),
        (f"rtmp://host/app/{'k' * 1019}", "has 1024 bytes behind the host; use a stream-key that"),
        ("udp://host", "names no port; use udp://host:port"),
        ("srt://host", "names no port"),
        ("rtsp://host:99999/live", "malformed"),
        ("udp://host:5000?pktsize=1", "has no option 'pktsize'; use one of broadcast"),
        ("udp://host:5000?pkt_size=1000", "use a multiple of 188"),
        ("udp://host:5000?pkt_size=-188", "use a multiple of 188"),
        ("srt://host:5000?passphrase=short-one", "use 10 to 79 characters"),
        ("srt://host:5000?latency=4s", "latency=4s for srt://host:5000 is out of range; use 0 to "),
        ("srt://host:5000?payload_size=1000", "is out of range; use 188 to 1316"),
        ("srt://host:5000?streamid=" + 513 * "x", "the streamid for srt://host:5000 is too long"),
        ("srt://host:5000?mode=listener", "can only be called; leave mode out"),
        ("rtsp://host/li ve", "holds a space or a control character"),
        ("file:///etc/passwd", "file:// is no output; use rtsp"),
        ("concat://a|b", "concat:// is no output"),
    ],
)
def test_an_address_that_can_never_work_is_refused_in_one_sentence(url: str, said: str) -> None:
    with pytest.raises(SinkError) as refused:
        target_of(url)
    assert said in str(refused.value)
    assert redacted(str(refused.value)) == str(refused.value), "it can be read where it is shown"
    assert "short-one" not in str(refused.value)
    assert "key" not in str(refused.value).replace("stream-key", "")


def answer_to(url: str) -> str:
    """The place that is understood, or the sentence that refuses it."""
    try:
        return target_of(url).place
    except SinkError as refused:
        return str(refused)


@given(st.sampled_from(["rtsp", "rtmp", "udp", "srt"]), st.text(max_size=60))
@settings(deadline=None)
def test_any_text_is_an_output_or_is_refused(scheme: str, text: str) -> None:
    assert "\n" not in answer_to(f"{scheme}://{text}")


def test_no_piece_of_an_address_stays_in_a_message() -> None:
    target = target_of("rtsp://admin:pass-word@host/live/private-key?token=abcdef")
    text = "rtsp://admin:pass-word@host/live/private-key?token=abcdef: private-key refused, abcdef"
    cleaned = without(target.secrets, text)
    for secret in ("admin", "pass-word", "private-key", "abcdef"):
        assert secret not in cleaned


def test_pauses_grow_to_half_a_minute_and_are_never_the_same_for_all() -> None:
    pauses = [Backoff(random.Random(seed)) for seed in range(2)]
    first, second = ([one.next_s() for _ in range(40)] for one in pauses)
    assert first != second
    assert all(0.25 <= pause <= 30 for pause in first)
    assert first[0] <= 0.5
    assert min(first[8:]) >= 15
    pauses[0].reset()
    assert pauses[0].next_s() <= 0.5
