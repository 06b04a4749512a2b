import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from streamer.errors import SourceError
from streamer.srt import Srt, with_whole_query
from tests.streamer.sources.peers import UDP, free_port

WAIT_S = 60.0
RESOLVE = socket.getaddrinfo


@contextmanager
def listening(port: int) -> Iterator[SimpleQueue[bytes]]:
    """A listener on IPv4 alone; what its caller sent."""
    got: SimpleQueue[bytes] = SimpleQueue()
    srt = Srt(SourceError)

    def take() -> None:
        handle = srt.accept("127.0.0.1", port, note=print, streamid="")
        got.put(srt.receive(handle))

    threading.Thread(target=take, daemon=True).start()
    try:
        yield got
    finally:
        srt.close()


@contextmanager
def calling(host: str, port: int) -> Iterator[None]:
    """A caller that has sent something. Raises ``SourceError`` where nobody takes the call."""
    srt = Srt(SourceError)
    try:
        # With two addresses, half of it for one where nobody answers.
        srt.send(srt.connect(host, port, connect_timeout=4000), b"picture")
        yield
    finally:
        srt.close()


def resolving(host: str, port: int, **others: Any) -> list[Any]:
    """The system's resolver, and for one name what it says of localhost where that is of both families."""
    if host != "both.test":
        return RESOLVE(host, port, **others)
    return [*RESOLVE("::1", port, **others), *RESOLVE("127.0.0.1", port, **others)]


def test_a_name_with_addresses_of_both_families_is_called_at_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = free_port(UDP)
    monkeypatch.setattr(socket, "getaddrinfo", resolving)
    with listening(port) as got, calling("both.test", port):
        assert got.get(timeout=WAIT_S) == b"picture"


def test_a_second_caller_is_told_that_nobody_hears_it() -> None:
    port = free_port(UDP)
    with listening(port) as got, calling("127.0.0.1", port):
        assert got.get(timeout=WAIT_S) == b"picture"
        with pytest.raises(SourceError), calling("127.0.0.1", port):
            pass


@pytest.mark.parametrize(
    "query",
    [
        "streamid=publish:cam&latency=1",
        "streamid=#!::r=live/cam,m=publish&passphrase=longenough1",
        "passphrase=longenough1&streamid=#!::u=me#2",
    ],
)
def test_a_streamid_of_access_control_ends_no_query(query: str) -> None:
    parts = with_whole_query(urlsplit(f"srt://host:9000?{query}"))
    assert parts.query == query
    assert parts.fragment == ""
    assert parse_qs(parts.query)["streamid"][0].startswith(("#!::", "publish"))
