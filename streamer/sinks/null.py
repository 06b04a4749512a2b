"""The sink that counts and forgets, for measurements and tests."""

from __future__ import annotations

from streamer.frame import Packet


class NullSink:
    """Takes everything at once."""

    def __init__(self) -> None:
        self.packets = 0
        self.size_bytes = 0

    async def send(self, packet: Packet) -> None:
        self.packets += 1
        self.size_bytes += len(memoryview(packet.payload))

    async def close(self) -> None: ...
