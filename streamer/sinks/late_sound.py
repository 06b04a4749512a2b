"""Holds a container back until the sound that a live source announced is there, or does not come."""

from __future__ import annotations

import logging
from collections.abc import Callable
from fractions import Fraction

from streamer.errors import SinkError
from streamer.frame import Packet
from streamer.media import AudioInfo
from streamer.sinks.base import Sink

_log = logging.getLogger(__name__)

WAIT_S = Fraction(3, 2)
"""Of pictures. Sound that is there comes with the first of them; a muted microphone never does."""

Make = Callable[[AudioInfo | None], Sink]


class LateSound:
    """A sink with a track of sound only once there is sound.

    A container says at its beginning what is in it. MP4 is not written at all, and no browser plays
    HLS, while one of its tracks is empty. Sound that comes after the wait is a reason to begin anew at
    the next keyframe: another file, another connection.
    """

    def __init__(
        self, label: str, make: Make, audio: AudioInfo, *, request_keyframe: Callable[[], None]
    ) -> None:
        """``make`` gives the sink behind, with that sound or none; one that is given nothing leaves
        nothing behind. Raises what ``make`` raises."""
        self._label = label
        self._make = make
        self._audio = audio
        self._request_keyframe = request_keyframe
        self._sink = make(audio)
        self._held: list[Packet] | None = []
        """``None`` once it is decided what there is."""
        self._is_mute = False
        self._is_late = False

    async def send(self, packet: Packet) -> None:
        """As the sink behind it."""
        if self._held is not None:
            await self._decide(self._held, packet)
            return
        if self._is_mute and packet.stream == "audio":
            self._hear()
            return
        if self._is_late and packet.is_keyframe:
            await self._begin_anew()
        await self._sink.send(packet)

    async def close(self) -> None:
        """As the sink behind it."""
        try:
            if self._held:
                await self._begin_mute(self._held)
        finally:
            await self._sink.close()

    async def _decide(self, held: list[Packet], packet: Packet) -> None:
        if packet.stream == "audio":
            self._held = None
            for one in (*held, packet):
                await self._sink.send(one)
            return
        if held or packet.is_keyframe:
            held.append(packet)
        if held and packet.time_s - held[0].time_s >= WAIT_S:
            _log.warning(
                "%s: the input's sound does not come; it begins without, and anew once there is some",
                self._label,
            )
            await self._begin_mute(held)

    async def _begin_mute(self, held: list[Packet]) -> None:
        self._held, self._is_mute = None, True
        await self._sink.close()
        self._sink = self._make(None)
        for one in held:
            await self._sink.send(one)

    def _hear(self) -> None:
        if not self._is_late:
            self._is_late = True
            self._request_keyframe()

    async def _begin_anew(self) -> None:
        self._is_mute = self._is_late = False
        _log.warning("%s: there is sound now; it begins anew with it", self._label)
        try:
            await self._sink.close()
        except SinkError as error:
            # A server that is away now is looked for again by the next one.
            _log.warning(
                "%s: what it had before its sound has no proper end: %s", self._label, error
            )
        self._sink = self._make(self._audio)
