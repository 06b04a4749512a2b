"""The WebRTC sink: one rendition, encoded once, sent to every browser that asks for it."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from streamer.clock import Clock
from streamer.errors import SinkError
from streamer.frame import Packet
from streamer.ice import IceServer
from streamer.media import AudioInfo
from streamer.rtc.session import Session, TooManyViewers
from streamer.sinks.packet_ring import PacketRing
from streamer.sinks.rtc_feedback import BitrateVote, KeyframeRequests

log = logging.getLogger(__name__)

RING_PACKETS = 60
"""One second at 60 fps: a viewer that is further behind is better served by a new keyframe."""

RING_AUDIO_PACKETS = 50
"""One second in packets of 20 ms."""

CONNECT_WITHIN_S = 15.0
HANG_UP_WITHIN_S = 2.0


@dataclass(slots=True, eq=False)
class _Viewer:
    """One session's parts."""

    ring: PacketRing[Any]
    audio_ring: PacketRing[Any] | None
    peer: Any
    deadline: asyncio.TimerHandle | None = None

    @property
    def rings(self) -> list[PacketRing[Any]]:
        return [self.ring, self.audio_ring] if self.audio_ring is not None else [self.ring]

    @property
    def dropped(self) -> int:
        """Packets lost because a ring was full."""
        return sum(ring.dropped for ring in self.rings)


class WebRtcSink:
    """Sends ready H.264 packets (Annex B, parameter sets at each keyframe) to many viewers.

    With ``audio``, packets of sound, which are Opus whatever the source's sound was, go to the
    viewers who offer to receive it. ``request_keyframe`` and ``set_target_bitrate`` (bits per
    second) reach the encoder of this rendition; both are called on the event loop and must not
    wait. Everything runs on one loop.
    """

    def __init__(
        self,
        name: str,
        *,
        request_keyframe: Callable[[], None],
        set_target_bitrate: Callable[[int], None],
        clock: Clock,
        audio: AudioInfo | None = None,
        ice_servers: Iterable[IceServer] = (),
        max_bitrate_bps: int = 8_000_000,
        shares_encoder: bool = False,
        max_viewers: int = 16,
        ring_packets: int = RING_PACKETS,
    ) -> None:
        # Loading aiortc takes a good second: here, before the stream runs, and not at the first
        # offer, where it would stop the event loop.
        from streamer.sinks import rtc_peer

        self._rtc = rtc_peer
        self.name = name
        self._clock = clock
        self._has_audio = audio is not None
        self._ice_servers = tuple(ice_servers)
        self._max_viewers = max_viewers
        self._ring_packets = ring_packets
        self._requests = KeyframeRequests(request_keyframe, clock)
        self._vote = BitrateVote(
            set_target_bitrate, clock, ceiling_bps=max_bitrate_bps, is_shared=shares_encoder
        )
        self._sessions: dict[str, _Viewer] = {}
        self._ending: set[asyncio.Task[Any]] = set()
        self._dropped_by_gone = 0
        self._is_closed = False
        self._served = 0
        self._sent = 0

    @property
    def viewers(self) -> int:
        """How many sessions are connected or on their way."""
        return len(self._sessions)

    @property
    def dropped(self) -> int:
        """Packets that viewers lost because their own ring was full."""
        live = sum(viewer.dropped for viewer in self._sessions.values())
        return self._dropped_by_gone + live

    def set_max_bitrate(self, bits_per_second: int) -> None:
        """From now on no estimate of a viewer's line allows more, and none is needed for so much."""
        self._vote.set_ceiling(bits_per_second)

    def statistics(self) -> dict[str, Any]:
        """Counters for display; names no session, since a name is the right to end it."""
        return {
            "name": self.name,
            "viewers": self.viewers,
            "sessions": self._served,
            "sent": self._sent,
            "dropped": self.dropped,
            "keyframes": {"asked": self._requests.asked, "requested": self._requests.passed_on},
            "bitrate_kbps": round(self._vote.sent_bps / 1_000),
            "target_kbps": round(self._vote.target_bps / 1_000),
        }

    async def answer(self, offer_sdp: str) -> Session:
        """Begin a session; raises ``OfferInvalid``, ``OfferUnsupported`` or ``TooManyViewers``."""
        if self._is_closed:
            raise SinkError(f"the output {self.name} is closed")
        if len(self._sessions) >= self._max_viewers:
            raise TooManyViewers(
                f"the output {self.name} has all of its {self._max_viewers} viewers; try again later"
            )
        session_id = secrets.token_urlsafe(18)
        viewer = self._admit(session_id)
        try:
            answer_sdp = await viewer.peer.answer(offer_sdp)
        except BaseException:
            self._end(session_id)
            raise
        if self._sessions.get(session_id) is not viewer:
            raise SinkError(f"the output {self.name} closed while a viewer was joining")
        loop = asyncio.get_running_loop()
        if not viewer.ring.is_open:
            viewer.deadline = loop.call_later(CONNECT_WITHIN_S, self._end, session_id)
        self._served += 1
        return Session(id=session_id, answer_sdp=answer_sdp)

    async def hang_up(self, session_id: str) -> bool:
        """End a session; false if there is no such session (any more)."""
        viewer = self._take(session_id)
        if viewer is None:
            return False
        await _close(viewer)
        return True

    async def send(self, packet: Packet) -> None:
        """Give the packet to every viewer's ring."""
        if not self._sessions:
            return
        if packet.stream == "audio":
            self._send_audio(packet)
            return
        if packet.is_keyframe:
            self._requests.served()
        ready = self._rtc.ready(packet)
        self._vote.sent(ready.size_bytes)
        self._sent += 1
        for viewer in self._sessions.values():
            overflowed = viewer.ring.push(ready, is_keyframe=packet.is_keyframe)
            if overflowed and viewer.ring.needs_keyframe:
                self._requests.ask()
            elif viewer.ring.is_open and viewer.ring.needs_keyframe:
                self._requests.remind()

    def _send_audio(self, packet: Packet) -> None:
        listening = [
            viewer.audio_ring
            for viewer in self._sessions.values()
            if viewer.audio_ring is not None and viewer.audio_ring.is_open
        ]
        if not listening:
            return
        ready = self._rtc.ready(packet)
        # Estimates are of the whole line, so the sound counts as well.
        self._vote.sent(ready.size_bytes)
        for ring in listening:
            ring.push(ready, is_keyframe=True)

    async def close(self) -> None:
        """End every session, waiting a moment at most for each to say good-bye."""
        self._is_closed = True
        for session_id in list(self._sessions):
            self._end(session_id)
        self._requests.served()
        if self._ending:
            await asyncio.wait(self._ending, timeout=HANG_UP_WITHIN_S + 1)

    def _admit(self, session_id: str) -> _Viewer:
        ring: PacketRing[Any] = PacketRing(self._ring_packets)
        events = self._rtc.PeerEvents(
            connected=partial(self._on_connected, session_id),
            gone=partial(self._end, session_id),
            keyframe_wanted=self._requests.ask,
            estimated_bps=partial(self._on_estimate, session_id),
        )
        audio_ring: PacketRing[Any] | None = None
        if self._has_audio:
            audio_ring = PacketRing(RING_AUDIO_PACKETS)
        peer = self._rtc.Peer(
            ring, events, clock=self._clock, audio_ring=audio_ring, ice_servers=self._ice_servers
        )
        viewer = self._sessions[session_id] = _Viewer(ring, audio_ring, peer)
        return viewer

    def _on_connected(self, session_id: str) -> None:
        viewer = self._sessions.get(session_id)
        if viewer is None:
            return
        if viewer.deadline is not None:
            viewer.deadline.cancel()
        viewer.ring.open()
        if viewer.audio_ring is not None and viewer.peer.has_audio:
            viewer.audio_ring.open()
        self._requests.ask()

    def _on_estimate(self, session_id: str, estimate_bps: int) -> None:
        if session_id in self._sessions:
            self._vote.report(session_id, estimate_bps)

    def _take(self, session_id: str) -> _Viewer | None:
        """Remove a session: from here on nothing is sent to it."""
        viewer = self._sessions.pop(session_id, None)
        if viewer is None:
            return None
        if viewer.deadline is not None:
            viewer.deadline.cancel()
        for ring in viewer.rings:
            ring.close()
        self._dropped_by_gone += viewer.dropped
        self._vote.forget(session_id)
        return viewer

    def _end(self, session_id: str) -> None:
        viewer = self._take(session_id)
        if viewer is not None:
            self._spawn(_close(viewer))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


async def _close(viewer: _Viewer) -> None:
    try:
        await asyncio.wait_for(viewer.peer.close(), HANG_UP_WITHIN_S)
    except TimeoutError:
        log.warning("a viewer's connection did not close within %s s", HANG_UP_WITHIN_S)
