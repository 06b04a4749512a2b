"""What every sink offers."""

from __future__ import annotations

from typing import Protocol

from streamer.frame import Packet


class Sink(Protocol):
    """Takes the encoded stream, one packet at a time, from the event loop."""

    async def send(self, packet: Packet) -> None:
        """Take one packet; it must not wait for a slow peer."""

    async def close(self) -> None:
        """Finish what was written; nothing is sent after it."""
