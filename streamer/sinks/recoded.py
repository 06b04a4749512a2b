"""A sink that is given its sound in another codec than the input's."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from streamer.frame import Packet
from streamer.sinks.audio_transcode import AudioTranscoder
from streamer.sinks.base import Sink
from streamer.worker import Worker

DELAY_S = Fraction(1, 10)
"""Coded sound may begin so much before the first packet that it is made of: an encoder's delay."""


class RecodedSink:
    """Pictures pass; sound is coded anew on a thread of its own, in order with them."""

    def __init__(
        self, sink: Sink, transcoder: AudioTranscoder, *, is_wanted: Callable[[], bool]
    ) -> None:
        """Sound for which ``is_wanted`` does not hold is thrown away before any work."""
        self._sink = sink
        self._is_wanted = is_wanted
        self._transcoder = transcoder
        self._worker = Worker("audio")
        self._from_s: Fraction | None = None
        """Where what is wanted begins; ``None`` while nothing is."""

    async def send(self, packet: Packet) -> None:
        """As the sink behind it; one packet of sound may become none or several."""
        if packet.stream == "video":
            await self._sink.send(packet)
            return
        if not self._is_wanted():
            self._from_s = None
            return
        if self._from_s is None:
            self._from_s = packet.time_s - DELAY_S
        for coded in await self._worker.call(self._transcoder.transcode, packet):
            # The encoder still holds the end of what was wanted last, perhaps hours ago.
            if coded.time_s >= self._from_s:
                await self._sink.send(coded)

    async def close(self) -> None:
        await self._worker.close()
        await self._sink.close()
