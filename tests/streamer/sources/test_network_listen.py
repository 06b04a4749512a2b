"""Places of the RTMP listener: who keeps one, and who is turned away."""

import queue
import socket
from contextlib import ExitStack, suppress

from streamer.sources.network_listen import PUBLISHERS, RtmpListener
from tests.streamer.sources.peers import free_port
from tests.streamer.sources.test_network_rtmp import MEDIA, greeting

WITHIN_S = 60.0


def publish(port: int) -> bool:
    """Send a short stream with the right key; whether it was taken, and the listener ends with it."""
    with (
        suppress(ConnectionError),
        socket.create_connection(("127.0.0.1", port), WITHIN_S) as publisher,
    ):
        publisher.sendall(greeting() + MEDIA)
        return publisher.recv(1) != b""
    return False


def listening(port: int, notes: queue.Queue[str], *, handshake_within_s: float) -> RtmpListener:
    return RtmpListener(
        host="127.0.0.1",
        port=port,
        app="live",
        key="key",
        silent_after_s=WITHIN_S,
        note=notes.put,
        handshake_within_s=handshake_within_s,
    )


def read_all(listener: RtmpListener) -> bytes:
    with open(listener.file_descriptor, "rb") as flv:
        return flv.read()


def test_a_byte_now_and_then_keeps_no_place() -> None:
    port, notes = free_port(), queue.Queue[str]()
    listener = listening(port, notes, handshake_within_s=0.2)
    with socket.create_connection(("127.0.0.1", port), 0.02) as idle:
        # A handshake of 1537 bytes, of which each comes in time.
        for _ in range(1500):
            with suppress(TimeoutError, ConnectionError):
                idle.sendall(b"\3")
                idle.recv(1)
            if not notes.empty():
                break
    assert "it gave no key in time" in notes.get_nowait()
    assert publish(port)
    assert read_all(listener).startswith(b"FLV")


def test_who_finds_no_place_is_told_of_once_and_the_publisher_gets_the_next_one() -> None:
    port, notes = free_port(), queue.Queue[str]()
    listener = listening(port, notes, handshake_within_s=WITHIN_S)
    with ExitStack() as idle:
        for _ in range(PUBLISHERS):
            idle.enter_context(socket.create_connection(("127.0.0.1", port), WITHIN_S))
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", port), WITHIN_S) as late:
                assert late.recv(1) == b""
    assert f"{PUBLISHERS} others are connected" in notes.get(timeout=WITHIN_S)
    assert notes.empty()
    # The places of those that left are free as soon as their threads have seen it.
    while not publish(port):
        pass
    assert read_all(listener).startswith(b"FLV")
