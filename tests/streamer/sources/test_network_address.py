from urllib.parse import parse_qs, urlsplit

import pytest

from streamer.config import redacted
from streamer.errors import ConfigError
from streamer.sources.network_address import parse

READABLE = [
    "rtmp://user:hunter2@host/live/s3cret",
    "rtmps://host:443/live/s3cret",
    "rtmp://0.0.0.0:1935/live/s3cret?listen=1",
    "https://user:hunter2@host/live.m3u8?token=s3cret",
    "udp://@:5000",
    "udp://239.1.2.3:5000",
    "srt://host:9000?passphrase=s3cret-s3cret&streamid=hunter2",
    "srt://:9000?mode=listener",
    "rtsp://user:hunter2@host/s3cret",
]


@pytest.mark.parametrize("url", READABLE)
def test_labels_and_representations_hold_no_secret(url: str) -> None:
    address = parse(url)
    assert "hunter2" not in repr(address) + address.label
    assert "s3cret" not in repr(address) + address.label


@pytest.mark.parametrize("url", READABLE)
def test_libav_may_reach_only_what_the_scheme_needs(url: str) -> None:
    allowed = set(parse(url).options["protocol_whitelist"].split(","))
    assert allowed & {"file", "concat", "subfile", "data", "crypto", "async", "unix"} == set()


@pytest.mark.parametrize("url", READABLE)
def test_no_option_is_one_that_libav_ignores(url: str) -> None:
    assert "stimeout" not in parse(url).options


def test_udp_hands_over_where_to_listen_and_whom_to_hear_and_settles_the_rest() -> None:
    address = parse(
        "udp://@232.1.1.1:5000?fifo_size=1&localaddr=10.0.0.1&overrun_nonfatal=0&sources=10.0.0.7,10.0.0.8"
    )
    assert address.url == "udp://232.1.1.1:5000"
    assert address.options["localaddr"] == "10.0.0.1"
    assert address.options["sources"] == "10.0.0.7,10.0.0.8"
    assert address.options["overrun_nonfatal"] == "1"


def test_who_listens_waits_for_its_peer() -> None:
    waiting = [url for url in READABLE if parse(url).waits_for_peer]
    assert waiting == [
        "rtmp://0.0.0.0:1935/live/s3cret?listen=1",
        "srt://:9000?mode=listener",
    ]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("gopher://host/", "cannot be read; use one of"),
        ("rtmp:///live/key", "names no host"),
        (f"rtmp://host/live?jwt={'t' * 1014}", "has 1024 bytes behind the host"),
        ("rtmp://host/live/key?listen=2", "use listen=1"),
        ("rtmp://:1935/key?listen=1", "names no application and key"),
        ("rtmps://:1935/live/key?listen=1", "cannot listen with TLS"),
        ("udp://host", "names no port"),
        ("udp://:5000?localaddr=a;b", "a localaddr that is no IP address; write it in numbers"),
        ("udp://232.1.1.1:5000?sources=camera", "a sources that is no IP address"),
        ("udp://232.1.1.1:5000?source=10.0.0.7", "option 'source'; use localaddr, sources"),
        ("srt://host", "names no port"),
        ("srt://host:9000?mode=rendezvous", "use caller or listener"),
        ("srt://host:9000?passphrase=short", "10 to 79"),
        ("srt://host:9000?latency=soon", "whole number"),
        ("srt://host:9000?tsbpdmode=0", "use mode, passphrase"),
        ("srt://:9000?mode=caller", "names no host"),
        ("http:///x", "names no host"),
        ("rtsp:///x", "names no host"),
        ("rtsps://host/x?transport=udp", "leave .transport=udp out"),
    ],
)
def test_what_cannot_be_read_is_said(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        parse(url)
    # Messages are cleaned before they are shown: the hint must still be there.
    assert redacted(str(refused.value)) == str(refused.value)


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("rtsp://host/x", {"rtsp_transport": "udp+tcp", "rtsp_flags": "prefer_tcp"}),
        ("rtsp://host/x?transport=tcp", {"rtsp_transport": "tcp"}),
        ("rtsp://host/x?transport=udp&channel=1", {"rtsp_transport": "udp"}),
        ("rtsps://host/x", {"rtsp_transport": "tcp", "tls_verify": "1"}),
        ("rtsps://host/x?tls=insecure", {"rtsp_transport": "tcp"}),
    ],
)
def test_libav_reads_rtsp_the_way_that_the_address_asks_for(
    url: str, wanted: dict[str, str]
) -> None:
    address = parse(url)
    chosen = ("rtsp_transport", "rtsp_flags", "tls_verify")
    found = {name: address.options[name] for name in chosen if name in address.options}
    assert found == ({"tls_verify": "1"} | wanted if "insecure" not in url else wanted)
    assert not {"transport", "tls"} & parse_qs(urlsplit(address.url).query).keys()


def test_a_streamid_of_srt_access_control_is_taken_as_ffmpeg_takes_it() -> None:
    settings = parse("srt://host:9000?streamid=#!::r=cam,m=request&passphrase=longenough1").settings
    assert settings["streamid"] == "#!::r=cam,m=request"
    assert settings["passphrase"] == "longenough1"


def test_latency_is_in_microseconds_as_ffmpeg_has_it() -> None:
    assert parse("srt://host:9000?latency=200000").settings["latency_ms"] == 200
    assert parse("srt://host:9000").settings["latency_ms"] == 120
