"""Which addresses may be reached, however they are written."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.addresses import (
    AddressPolicy,
    AddressRefused,
    is_loopback,
    parse_network,
    split,
)
from streamer.errors import ConfigError, SourceError

PUBLIC = AddressPolicy()
HOME = AddressPolicy(allowed=(parse_network("127.0.0.0/8"), parse_network("10.0.0.0/8")))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.8.9.10",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "224.0.0.251",
        "239.1.2.3",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%1",
        "fec0::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:a9fe:a9fe",
        "::127.0.0.1",
        "2002:7f00:0001::",
        "2002:c0a8:101::1",
        "64:ff9b::7f00:1",
        "2001:0:7f00:1::",
    ],
)
def test_what_is_not_public_is_not_reached(host: str) -> None:
    assert not PUBLIC.may_connect(host)


@pytest.mark.parametrize("host", ["8.8.8.8", "93.184.215.14", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_what_is_public_is_reached(host: str) -> None:
    assert PUBLIC.may_connect(host)


@pytest.mark.parametrize("host", ["10.1.2.3", "::ffff:10.1.2.3", "2002:0a01:0203::", "127.0.0.1"])
def test_what_the_list_names_is_reached_however_it_is_written(host: str) -> None:
    assert HOME.may_connect(host)
    assert not HOME.may_connect("192.168.1.1")


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "127.1", "127.0.1", "127.0.0.1.", "0"],
)
def test_unusual_ways_to_write_an_address_are_refused_even_where_it_is_allowed(host: str) -> None:
    assert not HOME.may_connect(host)
    with pytest.raises(ConfigError, match="is an unusual way to write an address"):
        asyncio.run(HOME.pins(f"rtsp://{host}/live"))


def test_a_name_is_refused_when_one_of_its_addresses_is(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"half.example": ["93.184.215.14", "::1"], "all.example": ["93.184.215.14"]}

    def getaddrinfo(host: str, *_: Any, **__: Any) -> list[Any]:
        return [(0, 0, 0, "", (address, 0)) for address in answers[host]]

    # The network's own resolver: not ours, and not there on every machine.
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert PUBLIC.may_connect("all.example")
    assert not PUBLIC.may_connect("half.example")
    with pytest.raises(AddressRefused, match=r"half\.example means ::1, which is this machine"):
        asyncio.run(PUBLIC.pins("rtsp://half.example/live"))
    assert asyncio.run(PUBLIC.pins("rtsp://me:pw@all.example:55/a?b=c")) == [
        "rtsp://me:pw@93.184.215.14:55/a?b=c"
    ], "what was checked is what is opened"
    # Certificates and virtual hosts need the name.
    assert asyncio.run(PUBLIC.pins("https://all.example/a.m3u8")) == ["https://all.example/a.m3u8"]


def test_the_machine_s_own_name_is_refused_and_the_error_says_how_to_allow_it() -> None:
    with pytest.raises(AddressRefused) as refusal:
        asyncio.run(PUBLIC.pins("rtsp://localhost/live"))
    message = str(refusal.value)
    assert "this machine itself" in message
    assert "allow_sources in the settings file lists it" in message
    assert "\n" not in message
    example = message.rpartition("[")[2].rstrip("]")
    assert AddressPolicy(allowed=(parse_network(example),)).may_connect(example.partition("/")[0])


def test_a_name_that_does_not_resolve_is_said() -> None:
    with pytest.raises(SourceError, match=r"no-such-host\.invalid does not resolve"):
        asyncio.run(PUBLIC.resolve("no-such-host.invalid"))


def test_listening_on_every_address_must_be_allowed() -> None:
    with pytest.raises(AddressRefused, match="every address of this machine"):
        asyncio.run(HOME.pins("udp://:5000"))
    every = AddressPolicy(allowed=(parse_network("0.0.0.0/32"),))
    assert asyncio.run(every.pins("udp://:5000")) == ["udp://:5000"]


def test_an_ipv6_address_stays_in_its_brackets() -> None:
    url = "rtsp://u:p@[2606:4700::1111]:8554/a"
    assert asyncio.run(PUBLIC.pins(url)) == [url]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://8.8.8.8\\@127.0.0.1/", "a backslash"),
        ("http://8.8.8.8 /", "a space"),
        ("http://8.8.8.8\n.example/", "a space"),
        ("http://a@8.8.8.8@127.0.0.1/", "more than one @"),
        ("http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/", "outside ASCII"),
        ("http://127%2e0.0.1/", "is no host"),
        ("http://-a.example/", "is no host"),
        ("http://a..example/", "is no host"),
        (f"http://{'a' * 64}.example/", "is no host"),
        # Ways to cut so many letters into labels: more than there are seconds left.
        (f"http://{'a' * 200}..example/", "is no host"),
        ("rtsp://host:70000/", "is malformed"),
        ("rtsp://[::1/", "is malformed"),
    ],
)
def test_what_two_readers_would_understand_differently_is_refused(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        split(url)


@pytest.mark.parametrize("text", ["10.0.0.0/33", "10.0.0.1/8", "home", ""])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no network"):
        parse_network(text)


def test_loopback_is_what_only_this_machine_reaches() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "localhost", "::1", "[::1]")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "localhost.example", "")))


@given(st.ip_addresses())
def test_no_address_is_allowed_because_of_how_it_is_wrapped(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    allowed = PUBLIC.permits(address)
    if isinstance(address, ipaddress.IPv6Address):
        return
    number = int(address)
    for wrapped in (
        ipaddress.IPv6Address((0xFFFF << 32) | number),
        ipaddress.IPv6Address((0x2002 << 112) | (number << 80) | 1),
        ipaddress.IPv6Address((0x64FF9B << 96) | number),
    ):
        assert allowed or not PUBLIC.may_connect(str(wrapped))


@given(st.text(max_size=60))
def test_no_text_breaks_the_check(text: str) -> None:
    said = ""
    try:
        found = split(f"rtsp://{text}/live")
    except ConfigError as error:
        said = str(error)
    else:
        assert found.netloc.isascii()
        assert not re.search(r"[\s\\]", found.geturl())
    assert "\n" not in said
