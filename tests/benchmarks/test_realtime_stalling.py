"""The network that stalls: real sockets, nothing lost, held by a seed."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from benchmarks.latency.crew import Crew
from benchmarks.realtime.stalling import Holds

WITHIN_S = 60.0
SENT = bytes(range(256)) * 4000


def holds(seed: int = 1) -> Holds:
    return Holds(seed=seed, hold_ms=15.0, stall_ms=40.0, stall_share=0.1)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(WITHIN_S)
        yield server


def test_the_same_seed_holds_alike_and_a_share_of_the_bursts_stands() -> None:
    one = holds()
    held_ms = [one.next_ms() for _ in range(10_000)]
    again = holds()
    assert [again.next_ms() for _ in range(10_000)] == held_ms
    other = holds(2)
    assert [other.next_ms() for _ in range(10)] != held_ms[:10]
    stalls = held_ms.count(40.0)
    assert stalls / len(held_ms) == pytest.approx(0.1, rel=0.1)
    assert max(ms for ms in held_ms if ms != 40.0) <= 15.0


def test_all_bytes_come_in_order_both_ways_and_an_end_ends_the_other(
    listener: socket.socket,
) -> None:
    port = listener.getsockname()[1]
    with Crew() as crew:
        network = crew.start_module("network", "benchmarks.realtime.stalling", port)
        network.wait_for(lambda: network.told("ready"), within_s=WITHIN_S, what="listening")
        address = ("127.0.0.1", (network.told("ready") or {})["port"])
        with socket.create_connection(address, timeout=WITHIN_S) as client:
            # Before the far end is joined.
            client.sendall(b"hello")
            camera, _ = listener.accept()
            with camera:
                camera.settimeout(WITHIN_S)
                assert received(camera, 5) == b"hello"
                for part in range(0, len(SENT), 100_000):
                    camera.sendall(SENT[part : part + 100_000])
                assert received(client, len(SENT)) == SENT
            assert client.recv(1) == b""


def received(end: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        parts.append(end.recv(size))
        assert parts[-1], "the connection ended early"
        size -= len(parts[-1])
    return b"".join(parts)
