"""The encoded stream to a server or a receiver: RTSP, RTMP, MPEG-TS over UDP, SRT."""

from __future__ import annotations

import random
from collections.abc import Callable

from streamer.addresses import AddressPolicy
from streamer.clock import Clock
from streamer.frame import Packet
from streamer.media import AudioInfo
from streamer.metrics import Metrics
from streamer.sinks.muxer_protocol import Target
from streamer.sinks.muxer_session import Patience
from streamer.sinks.muxer_sink import MuxerSink
from streamer.sinks.muxer_srt import needs_srt
from streamer.sinks.muxer_target import target_of


class NetworkSink:
    """Pushes to one address from a child process, again and again until it is closed."""

    def __init__(
        self,
        url: str,
        *,
        audio: AudioInfo | None,
        clock: Clock,
        metrics: Metrics,
        request_keyframe: Callable[[], None],
        label: str | None = None,
        reach: AddressPolicy | None = None,
        patience: Patience | None = None,
        dice: random.Random | None = None,
    ) -> None:
        """Opens nothing. Raises ``SinkError`` for an address that can never work.

        ``label`` names it in logs and metrics; the default is its scheme, host and port. ``reach`` is asked
        before each connection what the host's name means by then, and whether that may be reached;
        without it whoever connects looks the name up.
        """
        self._url = url
        self._reach = reach
        self._located = 0
        self._target = target_of(url)
        self._has_library = self._target.srt is None
        self._sink = MuxerSink(
            label or self._target.place,
            self._prepared,
            audio=audio,
            clock=clock,
            metrics=metrics,
            request_keyframe=request_keyframe,
            locate=None if reach is None else self._locate,
            patience=patience,
            dice=dice,
        )

    @property
    def is_connected(self) -> bool:
        """Whether the peer has answered and the connection holds, as far as is known."""
        return self._sink.is_connected

    async def send(self, packet: Packet) -> None:
        """Take or drop one packet, at once. Raises ``SinkError`` when a library is missing."""
        await self._sink.send(packet)

    async def close(self) -> None:
        """Say good-bye to the peer. Raises ``SinkError`` where it never got a picture.

        An open connection has three seconds for what is queued; one that was looked for in vain ends at
        once. UDP has no answers: there only an address without a way to it was never reached.
        """
        await self._sink.close()

    async def _locate(self) -> Target:
        """One of the addresses that the name means now, another one each time."""
        assert self._reach is not None
        found = await self._reach.pins(self._url)
        self._located += 1
        return target_of(found[(self._located - 1) % len(found)], named=self._url)

    def _prepared(self) -> Target:
        if not self._has_library:
            needs_srt()
            self._has_library = True
        return self._target
