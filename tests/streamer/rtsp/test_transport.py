from hypothesis import given
from hypothesis import strategies as st

from streamer.rtsp.transport import Transport, parse_transports

PORTS = st.one_of(st.none(), st.tuples(st.integers(0, 65535), st.integers(0, 65535)))
CHANNELS = st.one_of(st.none(), st.tuples(st.integers(0, 255), st.integers(0, 255)))


def test_a_server_s_answer_is_read() -> None:
    (found,) = parse_transports(
        "RTP/AVP;unicast;client_port=4588-4589; server_port=6256-6257;ssrc=8B75C1D7;"
        'source=10.1.2.3 ;mode="play"'
    )
    assert found == Transport(
        lower="udp",
        client_port=(4588, 4589),
        server_port=(6256, 6257),
        source="10.1.2.3",
        ssrc=0x8B75C1D7,
        mode="PLAY",
    )


def test_choices_keep_their_order_and_unknown_ones_are_left_out() -> None:
    found = parse_transports(
        "RAW/RAW/UDP;unicast,RTP/AVP/TCP;unicast;interleaved=4,RTP/AVP/UDP;multicast;client_port=x"
    )
    assert [(one.lower, one.is_multicast, one.interleaved) for one in found] == [
        ("tcp", False, (4, 5)),
        ("udp", True, None),
    ]


TRANSPORTS = st.builds(
    Transport,
    lower=st.sampled_from(["tcp", "udp"]),
    profile=st.sampled_from(["AVP", "AVPF"]),
    interleaved=CHANNELS,
    client_port=PORTS,
    server_port=PORTS,
    ssrc=st.one_of(st.none(), st.integers(0, 2**32 - 1)),
    mode=st.sampled_from([None, "PLAY", "RECORD"]),
)


@given(TRANSPORTS)
def test_what_is_written_reads_back(transport: Transport) -> None:
    assert parse_transports(str(transport)) == [transport]


@given(st.text(max_size=200))
def test_any_text_is_read_within_bounds(text: str) -> None:
    for one in parse_transports(f"RTP/AVP;{text}") + parse_transports(text):
        for pair, limit in ((one.interleaved, 255), (one.client_port, 65535)):
            assert pair is None or max(pair) <= limit
