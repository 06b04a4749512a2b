"""The sink that forgets: what a stream costs is measured without an output."""

from __future__ import annotations

from streamer.frame import Packet


class NullSink:
    """Takes everything at once."""

    async def send(self, packet: Packet) -> None: ...

    async def close(self) -> None: ...
