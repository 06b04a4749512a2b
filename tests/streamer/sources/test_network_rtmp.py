import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import SourceError
from streamer.sources.network_amf import decode_amf0, encode_amf0, skip_string
from streamer.sources.network_rtmp import FLV_HEADER, RtmpSession

HANDSHAKE = b"\x03" + bytes(1536) + bytes(1536)


def message(
    kind: int, payload: bytes, *, time_ms: int = 0, chunk: int = 128, stream: int = 5
) -> bytes:
    """A message in chunks of ``chunk`` bytes."""
    extended = struct.pack(">I", time_ms) if time_ms >= 0xFF_FFFF else b""
    head = min(time_ms, 0xFF_FFFF).to_bytes(3, "big") + len(payload).to_bytes(3, "big")
    out = bytes([stream]) + head + bytes([kind]) + bytes(4) + extended
    for begin in range(0, len(payload), chunk):
        out += (bytes([0xC0 | stream]) + extended if begin else b"") + payload[
            begin : begin + chunk
        ]
    return out


def command(*values: Any) -> bytes:
    return message(20, encode_amf0(list(values)))


def greeting(app: str = "live", key: str = "key") -> bytes:
    return (
        HANDSHAKE
        + command("connect", 1.0, {"app": app, "tcUrl": f"rtmp://host/{app}"})
        + command("releaseStream", 2.0, None, key)
        + command("createStream", 3.0, None)
        + command("publish", 4.0, None, key, "live")
    )


def tags(flv: bytes) -> list[tuple[int, int, bytes]]:
    """(type, time in ms, payload) of what is after an FLV header."""
    found, at = [], len(FLV_HEADER)
    assert flv.startswith(FLV_HEADER)
    while at < len(flv):
        size = int.from_bytes(flv[at + 1 : at + 4], "big")
        time_ms = int.from_bytes(flv[at + 4 : at + 7], "big") | flv[at + 7] << 24
        found.append((flv[at], time_ms, flv[at + 11 : at + 11 + size]))
        at += 11 + size
        assert int.from_bytes(flv[at : at + 4], "big") == 11 + size
        at += 4
    return found


def fed(data: bytes, *, key: str = "key", piece: int = 1 << 20) -> RtmpSession:
    session = RtmpSession(app="live", key=key)
    for begin in range(0, len(data), piece):
        session.feed(data[begin : begin + piece])
    return session


MEDIA = (
    message(18, encode_amf0(["@setDataFrame", "onMetaData", {"width": 320.0}]))
    + message(9, b"\x17\x00" + bytes(300), time_ms=0)
    + message(8, b"\xaf\x01sound", time_ms=20)
    + message(9, b"\x27\x01" + bytes(200), time_ms=0x0123_4567)
)


@given(st.integers(1, 4000))
@settings(deadline=None)
def test_a_stream_becomes_the_same_flv_however_its_bytes_are_cut(piece: int) -> None:
    session = fed(greeting() + MEDIA, piece=piece)
    assert session.is_publishing
    assert tags(session.take_flv()) == [
        (18, 0, encode_amf0(["onMetaData", {"width": 320.0}])),
        (9, 0, b"\x17\x00" + bytes(300)),
        (8, 20, b"\xaf\x01sound"),
        (9, 0x0123_4567, b"\x27\x01" + bytes(200)),
    ]


def test_the_answers_begin_with_a_handshake_and_accept_each_command() -> None:
    answers = fed(greeting()).take_answers()
    assert answers[0] == 3
    assert answers[1 + 1536 : 1 + 2 * 1536] == bytes(1536)  # theirs, sent back
    assert answers.count(b"_result") == 2
    assert b"NetConnection.Connect.Success" in answers
    assert b"NetStream.Publish.Start" in answers


@pytest.mark.parametrize(
    ("app", "key", "is_right"),
    [
        ("live", "key", True),
        ("live/", "/key", True),
        ("", "live/key", True),
        ("live", "keys", False),
        ("live", "ke", False),
        ("live", "", False),
        ("other", "key", False),
        ("live", "key?x=1", False),
    ],
)
def test_only_the_whole_path_is_let_in(app: str, key: str, is_right: bool) -> None:  # noqa: FBT001
    session = RtmpSession(app="live", key="key")
    if is_right:
        session.feed(greeting(app, key))
        assert session.is_publishing
        return
    with pytest.raises(SourceError, match="wrong stream key"):
        session.feed(greeting(app, key))
    assert b"NetStream.Publish.BadName" in session.take_answers()
    assert not session.is_publishing
    assert session.take_flv() == b""


def test_media_before_the_key_goes_nowhere() -> None:
    session = fed(HANDSHAKE + MEDIA)
    assert session.take_flv() == b""


def test_chunks_of_a_new_size_and_headers_that_are_left_out_are_followed() -> None:
    first = message(9, bytes(1000), time_ms=100, chunk=4096)
    # Type 1: 40 ms on, another length; then type 3: the same again, of the same length.
    second = bytes([0x45]) + (40).to_bytes(3, "big") + (3).to_bytes(3, "big") + b"\x09abc"
    third = bytes([0xC5]) + b"def"
    session = fed(greeting() + message(1, struct.pack(">I", 4096)) + first + second + third)
    assert [(time, data[-3:]) for _, time, data in tags(session.take_flv())] == [
        (100, bytes(3)),
        (140, b"abc"),
        (180, b"def"),
    ]


def test_messages_of_two_streams_may_interleave() -> None:
    long = message(9, bytes(range(200)), stream=6)
    cut = 12 + 128
    session = fed(greeting() + long[:cut] + message(8, b"sound", stream=4) + long[cut:])
    assert [(kind, len(data)) for kind, _, data in tags(session.take_flv())] == [(8, 5), (9, 200)]


def test_a_ping_is_answered_and_what_was_received_acknowledged() -> None:
    session = fed(greeting())
    session.take_answers()
    session.feed(message(4, struct.pack(">HI", 6, 77)))
    assert session.take_answers().endswith(struct.pack(">HI", 7, 77))
    session.feed(message(5, struct.pack(">I", 1000)) + message(9, bytes(2000)))
    assert struct.pack(">BBBBBBBB", 2, 0, 0, 0, 0, 0, 4, 3) in session.take_answers()


def test_the_end_of_a_publication_is_noticed() -> None:
    assert fed(greeting() + command("deleteStream", 5.0, None, 1.0)).is_over
    assert not fed(greeting()).is_over


def test_a_player_is_told_off() -> None:
    with pytest.raises(SourceError, match="only takes publishers"):
        fed(HANDSHAKE + command("play", 1.0, None, "key"))


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        HANDSHAKE + bytes([5]) + bytes(3) + b"\xff\xff\xff" + bytes(5),
        greeting() + bytes([5]) + bytes(3) + b"\xff\xff\xff" + b"\x09" + bytes(4),
        HANDSHAKE + b"".join(bytes([n]) + bytes(11) for n in range(2, 64)) + bytes(12) * 99,
    ],
    ids=["http", "huge command", "huge picture", "streams"],
)
def test_what_is_no_rtmp_or_too_large_is_refused(data: bytes) -> None:
    try:
        session = fed(data)
    except SourceError:
        return
    # Or waits for more of it, without keeping more than it was sent.
    assert len(session._buffer) <= len(data)


@given(st.binary(max_size=400), st.booleans())
@settings(deadline=None)
def test_noise_is_an_error_of_ours_or_nothing(noise: bytes, has_key: bool) -> None:  # noqa: FBT001
    session = fed(greeting() if has_key else HANDSHAKE)
    try:
        session.feed(noise)
    except SourceError:
        return
    assert isinstance(session.take_answers(), bytes)


def test_many_small_messages_cost_no_memory() -> None:
    session = fed(greeting())
    for number in range(2000):
        session.feed(message(9, bytes(50), time_ms=number))
        session.take_flv()
    assert len(session._buffer) == 0
    assert len(session._streams) <= 3


AMF: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.text(max_size=20) | st.floats(allow_nan=False, allow_subnormal=False),
    lambda inner: st.dictionaries(st.text(min_size=1, max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(AMF, max_size=5))
def test_values_come_back_from_amf0(values: list[Any]) -> None:
    assert decode_amf0(encode_amf0(values)) == values


@given(st.binary(max_size=200))
def test_noise_is_no_amf0_and_no_error(noise: bytes) -> None:
    assert isinstance(decode_amf0(noise), list)


def test_deep_nesting_and_endless_arrays_end() -> None:
    assert decode_amf0(b"\x03\x00\x01a" * 10_000) == []
    assert decode_amf0(b"\x0a\xff\xff\xff\xff\x05") == []


def test_the_word_for_the_server_is_cut_off() -> None:
    rest = encode_amf0(["onMetaData"])
    assert skip_string(encode_amf0(["@setDataFrame"]) + rest, "@setDataFrame") == rest
    assert skip_string(rest, "@setDataFrame") == rest
