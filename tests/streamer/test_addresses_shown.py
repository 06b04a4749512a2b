"""Whatever an address holds, nothing that may be a part of its password is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.addresses import AddressPolicy
from streamer.config import StreamSettings, parse_sink, place_of, redacted
from streamer.errors import StreamerError
from streamer.rtsp.url import parse_url
from streamer.server.secrecy import clean, secrets_of, shown_source
from streamer.sinks.muxer_target import target_of
from streamer.sources.network_address import parse

PIECES = ("Zq7k", "wXw", "84", "Jj")
"""What passwords are made of here, and nothing else is."""

PASSWORDS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).flatmap(
    lambda pieces: st.lists(
        st.sampled_from(
            ["@", "/", ":", "?", "#", "//", "[", "]", "%", "&", "=", "://", "\\", "$", ""]
        ),
        min_size=len(pieces),
        max_size=len(pieces),
    ).map(lambda signs: "".join(a + b for a, b in zip(pieces, signs, strict=True)))
)
HOSTS = (
    "cam.example",
    "cam.example:5000",
    "192.0.2.1:5000",
    "[2001:db8::1]",
    "[::1]:5000",
    "",
    ":50",
)
PATHS = ("", "/", "/app/live", "/a@b", "/a?b=c", "/@c", "/a/b@c:d/e", "?x=@", "#@")
SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "udp", "srt", "http", "https", "ftp", "RTSP")
SOURCES = ("rtsp", "rtmp", "udp", "srt", "http")


def answer(ask: Callable[[str], object], text: str) -> str:
    """What ``ask`` says of ``text``, or the sentence that refuses it."""
    try:
        return str(ask(text))
    except StreamerError as refusal:
        return str(refusal)


SHOWN: dict[str, Callable[[str], object]] = {
    "place": place_of,
    "output's label": lambda url: parse_sink(url).label,
    "push": lambda url: target_of(url).place,
    "push, whole": lambda url: repr(target_of(url)),
    "rtsp": lambda url: parse_url(url).label,
    "rtsp place": lambda url: parse_url(url).place,
    "network": lambda url: parse(url).label,
    "page": shown_source,
    "redacted": redacted,
    "redacted in a sentence": lambda url: redacted(f"cannot open '{url}': refused (5@6)"),
}


def tells(text: str) -> bool:
    """Whether it holds a piece of a password; a host is told in lower case."""
    return any(one.lower() in text.lower() for one in PIECES)


def leaks(url: str) -> dict[str, str]:
    """What shows a piece of the password."""
    said = {name: answer(ask, url) for name, ask in SHOWN.items()}
    return {name: text for name, text in said.items() if tells(text)}


@settings(max_examples=300)
@given(st.sampled_from(SCHEMES), PASSWORDS, st.sampled_from(HOSTS), st.sampled_from(PATHS))
def test_no_piece_of_a_password_is_shown(scheme: str, password: str, host: str, path: str) -> None:
    url = f"{scheme}://ann:{password}@{host}{path}"
    assert leaks(url) == {}, url


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://ann:wXw@84/Zq7k@cam",
        "rtmp://ann:84/Zq7k@cam/app/key",
        "rtsp:///ann:Zq7k@cam/live",
        "rtsp://an/n:Zq7k@cam/live",
        "rtsp:/ann:Zq7k@cam/live",
        "rtsp:ann:Zq7k@cam/live",
        "rtsp:ann:wXw/Zq7k@cam/live",
        "rtsp//ann:wXw/Zq7k@cam/live",
        "rtmp:/cam/app/Zq7k",
        "rtmp//cam/app/Zq7k",
    ],
)
def test_odd_addresses_show_no_piece_either(url: str) -> None:
    assert leaks(url) == {}


def test_a_password_with_a_space_is_not_shown_where_addresses_are_named() -> None:
    url = "rtsp://ann:wXw Zq7k@cam/live"
    assert {name for name in leaks(url) if "redacted" not in name} == set()


@settings(max_examples=300)
@given(st.sampled_from(SOURCES), PASSWORDS)
def test_what_a_server_says_of_a_stream_holds_no_piece(scheme: str, password: str) -> None:
    url = f"{scheme}://ann:{password}@cam.example/app/live"
    secrets = secrets_of(StreamSettings(source=url, sinks=(parse_sink("null:"),)))
    for text in (f"{url} is away", f"401 for ann with {password}", f"no way to ann:{password}"):
        if len(password) >= 3:
            assert not tells(clean(text, secrets)), (url, text)


@pytest.mark.parametrize("ask", [target_of, parse])
@pytest.mark.parametrize(
    "query",
    ["passphrase=0123456789&Zq7k", "passphrase=0123456789&Zq7k=wXw", "streamid=a&84%26", "Zq7k"],
)
def test_the_rest_of_a_secret_behind_an_unencoded_sign_is_not_taken_for_an_option_and_told(
    ask: Callable[[str], object], query: str
) -> None:
    said = answer(ask, f"srt://cam.example:5000?{query}")
    assert "'***' (an & in a secret is written as %26); use" in said
    assert not tells(said)


@pytest.mark.parametrize(
    "url", ["rtsp://ann:wXw@Zq7k.invalid/84@cam", "rtmp://ann:wXw@127.0.0.1/Zq7k@cam/app/key"]
)
def test_an_address_that_is_refused_for_where_it_leads_does_not_tell_that(url: str) -> None:
    with pytest.raises(StreamerError, match="percent-encode the @, / and : of a password") as said:
        asyncio.run(AddressPolicy().pins(url))
    assert not tells(str(said.value))
    assert "127.0.0.1" not in str(said.value)


@pytest.mark.parametrize("piece", ["://", "rtsp:", "rtmp:", "rtmp:a/", "rtmp://", "@", "&key=a"])
@pytest.mark.parametrize("end", ["", "/", " rtsp://ann:Zq7k@cam.example/live"])
def test_a_long_text_of_beginnings_is_looked_through_once(piece: str, end: str) -> None:
    # Looked through again from each of them, this takes many minutes.
    said = redacted(piece * (500_000 // len(piece)) + end)
    assert not tells(said)
    assert said.endswith("cam.example/live") == end.endswith("live")


def test_what_is_plain_is_shown() -> None:
    assert place_of("rtmp://ann:Zq7k@cam.example:5000/app/key") == "rtmp://cam.example:5000"
    assert place_of("https://cam.example/@ann/live") == "https://cam.example"
    assert target_of("udp://[::1]:5000").place == "udp://[::1]:5000"
    assert place_of("clips/a@b.mp4") == "clips/a@b.mp4"
