import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.rtsp.message import (
    Headers,
    Interleaved,
    Item,
    MessageError,
    MessageParser,
    Request,
    Response,
    interleaved_bytes,
    request_bytes,
    response_bytes,
)


def parsed(*pieces: bytes, max_body_bytes: int = 1000) -> list[Item]:
    parser = MessageParser(max_body_bytes=max_body_bytes)
    return [item for piece in pieces for item in parser.feed(piece)]


def content(items: Iterable[Item]) -> list[object]:
    """Items as values that compare by what they hold."""
    return [
        (item.channel, item.payload)
        if isinstance(item, Interleaved)
        else (
            (item.method, item.url, item.headers.fields, item.body)
            if isinstance(item, Request)
            else (item.status, item.reason, item.headers.fields, item.body)
        )
        for item in items
    ]


TOKEN = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ_", min_size=1, max_size=12)
VALUE = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30)
FIELDS = st.lists(
    st.tuples(
        TOKEN.filter(lambda name: name not in ("CONTENT_LENGTH",)),
        VALUE,
    ),
    max_size=5,
).map(tuple)
MESSAGES = st.one_of(
    st.builds(Request, TOKEN, st.just("rtsp://h/p"), FIELDS.map(Headers), st.binary(max_size=200)),
    st.builds(
        Response, st.integers(200, 599), FIELDS.map(Headers), st.binary(max_size=200), st.just("Ok")
    ),
    st.builds(Interleaved, st.integers(0, 255), st.binary(max_size=200)),
)


def as_sent(item: Item) -> bytes:
    if isinstance(item, Request):
        return request_bytes(item)
    if isinstance(item, Response):
        return response_bytes(item)
    return interleaved_bytes(item.channel, item.payload)


def without_length(items: list[object]) -> list[object]:
    return [
        tuple(
            tuple(field for field in part if field[0] != "Content-Length")
            if isinstance(part, tuple)
            else part
            for part in item
        )
        for item in items
        if isinstance(item, tuple)
    ]


@given(st.lists(MESSAGES, max_size=6), st.randoms(use_true_random=False))
def test_what_was_built_is_read_back_however_the_stream_is_cut(items: list[Item], random) -> None:  # type: ignore[no-untyped-def]
    stream = b"".join(as_sent(item) for item in items)
    parser = MessageParser(max_body_bytes=1000)
    found = []
    while stream:
        count = random.randint(1, 40)
        found += list(parser.feed(stream[:count]))
        stream = stream[count:]
    assert without_length(content(found)) == without_length(content(items))
    assert parser.pending_bytes == 0


@given(st.lists(st.binary(max_size=400), max_size=8))
def test_bytes_of_any_kind_give_items_or_a_message_error_and_nothing_else(
    pieces: list[bytes],
) -> None:
    parser = MessageParser(max_body_bytes=1000)
    refusal = ""
    try:
        for piece in pieces:
            list(parser.feed(piece))
    except MessageError as error:
        refusal = str(error)
    assert len(refusal) < 300
    assert refusal.isprintable()


@given(st.binary(max_size=300))
def test_damage_inside_a_message_is_read_or_refused(damage: bytes) -> None:
    sent = bytearray(response_bytes(Response(200, Headers({"CSeq": "1"}), b"v=0\r\n" * 20)))
    sent[10 : 10 + len(damage)] = damage
    refusal = ""
    try:
        list(MessageParser().feed(bytes(sent)))
    except MessageError as error:
        refusal = str(error)
    assert refusal.isprintable()


def test_a_packet_is_given_out_as_soon_as_its_last_byte_is_in() -> None:
    parser = MessageParser()
    sent = interleaved_bytes(2, b"picture")
    assert list(parser.feed(sent[:-1])) == []
    assert content(parser.feed(sent[-1:])) == [(2, b"picture")]


def test_lines_may_end_in_lf_alone_and_headers_may_be_spaced_oddly() -> None:
    found = parsed(
        b"\r\n\nRTSP/1.0  200   OK\nCSeq : 2\nSession:  abc;timeout=30  \n"
        b"Public: OPTIONS,\n  DESCRIBE\nstray text\nContent-length:3\n\nxyz$\x00\x00\x01a"
    )
    assert isinstance(found[0], Response)
    assert (found[0].status, found[0].cseq, found[0].body) == (200, "2", b"xyz")
    assert found[0].headers["SESSION"] == "abc;timeout=30"
    assert found[0].headers["Public"] == "OPTIONS, DESCRIBE"
    assert content(found[1:]) == [(0, b"a")]


def test_a_status_line_without_a_reason_is_read() -> None:
    (found,) = parsed(b"RTSP/1.0 404\r\n\r\n")
    assert isinstance(found, Response)
    assert (found.status, found.reason) == (404, "")


def test_repeated_headers_keep_all_their_values() -> None:
    (found,) = parsed(
        b"RTSP/1.0 401 No\r\nWWW-Authenticate: Digest a\r\nwww-authenticate: Basic b\r\n\r\n"
    )
    assert isinstance(found, Response)
    assert found.headers.all("WWW-Authenticate") == ["Digest a", "Basic b"]
    assert found.headers["www-authenticate"] == "Digest a"


@pytest.mark.parametrize(
    "stream",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"\x00" * 10,
        b"220 mail.example.org ESMTP\r\n\r\n",
        b"RTSP/1.0 two hundred\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_rtsp_is_refused(stream: bytes) -> None:
    with pytest.raises(MessageError, match="no RTSP"):
        parsed(stream)


def test_endless_headers_are_refused_before_they_fill_the_memory() -> None:
    parser = MessageParser()
    list(parser.feed(b"RTSP/1.0 200 OK\r\n"))
    endless = itertools.chain.from_iterable(map(parser.feed, itertools.repeat(b"a: b\r\n")))
    with pytest.raises(MessageError, match="headers of more than"):
        next(endless)


def test_too_many_headers_are_refused() -> None:
    with pytest.raises(MessageError, match="more than 100 headers"):
        parsed(b"RTSP/1.0 200 OK\r\n" + b"a: b\r\n" * 101 + b"\r\n")


@pytest.mark.parametrize("length", ["1001", "99999999999", "-1", "1e3", "0x10"])
def test_a_body_above_the_limit_or_of_no_length_is_refused(length: str) -> None:
    with pytest.raises(MessageError):
        parsed(f"RTSP/1.0 200 OK\r\nContent-Length: {length}\r\n\r\n".encode())


def test_a_line_break_in_a_header_is_not_sent() -> None:
    with pytest.raises(ValueError, match="line break"):
        request_bytes(Request("PLAY", "rtsp://h/p", Headers({"A": "b\r\nInjected: 1"})))


def test_a_socket_may_write_into_the_parser() -> None:
    parser = MessageParser()
    packet = interleaved_bytes(1, bytes(60_000))
    found = 0
    for _ in range(40):
        rest = memoryview(packet)
        while rest:
            room = parser.space()
            count = min(len(room), len(rest), 50_000)
            room[:count] = rest[:count]
            rest = rest[count:]
            found += len(list(parser.received(count)))
    assert found == 40


def test_no_header_shows_in_a_repr() -> None:
    request = Request("PLAY", "rtsp://h/p", Headers({"Authorization": "Basic c2VjcmV0"}))
    assert "c2VjcmV0" not in repr(request)
