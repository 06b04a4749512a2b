"""A sink that is given its sound in another codec than the input's."""

from __future__ import annotations

from collections.abc import Callable

from streamer.frame import Packet
from streamer.sinks.audio_transcode import AudioTranscoder
from streamer.sinks.base import Sink
from streamer.worker import Worker


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

    async def send(self, packet: Packet) -> None:
        """As the sink behind it; one packet of sound may become none or several."""
        if packet.stream == "video":
            await self._sink.send(packet)
            return
        if not self._is_wanted():
            return
        for coded in await self._worker.call(self._transcoder.transcode, packet):
            await self._sink.send(coded)

    async def close(self) -> None:
        await self._worker.close()
        await self._sink.close()
