"""Transport streams for receivers that go by the clock in them, as set-top boxes do."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Iterator
from pathlib import Path

from streamer.sinks.file import FileSink
from streamer.sinks.network import NetworkSink
from tests.streamer.sinks.network_peers import G711, Camera

PACKET_BYTES = 188
TICKS_PER_MS = 90


def late_ms(stream: bytes) -> list[float]:
    """For each PES packet with a time, how far the clock (PCR) was past it when it came."""
    clock, late = None, []
    for packet in (stream[at : at + PACKET_BYTES] for at in range(0, len(stream), PACKET_BYTES)):
        assert packet[0] == 0x47
        has_adaptation, has_payload = packet[3] & 0x20, packet[3] & 0x10
        at = 5 + packet[4] if has_adaptation else 4
        if has_adaptation and packet[4] and packet[5] & 0x10:
            clock = int.from_bytes(packet[6:11], "big") >> 7
        if has_payload and packet[1] & 0x40 and packet[at : at + 3] == b"\0\0\1":
            late += [(clock - time) / TICKS_PER_MS for time in _times(packet[at:]) if clock]
    return late


def _times(pes: bytes) -> Iterator[int]:
    """When the packet is to be decoded, in ticks of 90 kHz."""
    has_pts, has_dts = pes[7] & 0x80, pes[7] & 0x40
    if has_pts:
        field = pes[14:19] if has_dts else pes[9:14]
        high, middle, low = field[0] >> 1 & 7, int.from_bytes(field[1:3]), int.from_bytes(field[3:])
        yield high << 30 | middle >> 1 << 15 | low >> 1


def test_sound_in_a_file_is_there_when_the_clock_says_that_it_plays(tmp_path: Path) -> None:
    path = tmp_path / "out.ts"

    async def scenario() -> None:
        camera = Camera(with_sound=True)
        sink = FileSink(str(path), audio=G711)
        await camera.film(sink, lambda: camera.sent >= 90)
        await sink.close()

    asyncio.run(scenario())
    late = late_ms(path.read_bytes())
    assert len(late) > 100
    assert max(late) <= 0


def test_sound_that_is_pushed_is_there_when_the_clock_says_that_it_plays() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)
        received = bytearray()

        def enough() -> bool:
            while True:
                try:
                    received.extend(receiver.recv(65_536))
                except BlockingIOError:
                    return len(late_ms(bytes(received))) > 100

        async def scenario() -> None:
            camera = Camera(with_sound=True)
            sink = NetworkSink(
                f"udp://127.0.0.1:{receiver.getsockname()[1]}",
                audio=G711,
                clock=camera.clock,
                metrics=camera.metrics,
                request_keyframe=camera.request_keyframe,
                label="peer",
                dice=random.Random(1),
            )
            await camera.film(sink, enough)
            await sink.close()

        asyncio.run(scenario())
    assert max(late_ms(bytes(received))) <= 0
