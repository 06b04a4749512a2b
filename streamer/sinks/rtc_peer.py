"""One viewer's connection through aiortc: it sends packets which are already encoded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from aiortc import RTCRtpSender
from aiortc.rtcrtpparameters import RTCRtpSendParameters
from aiortc.sdp import MediaDescription, SessionDescription

from streamer.clock import Clock
from streamer.ice import IceServer
from streamer.rtc.peer import (
    accept_offer,
    check_transport,
    codec_names,
    has_codec,
    new_connection,
    parse_offer,
    prefer,
    private,
    sections,
)
from streamer.rtc.session import OfferUnsupported
from streamer.sinks.packet_ring import PacketRing
from streamer.sinks.rtc_clock import MediaClock, state_reports
from streamer.sinks.rtc_hooks import listen_to_feedback, when_agreed
from streamer.sinks.rtc_outlet import Outlet
from streamer.sinks.rtc_sender import TrackSender
from streamer.sinks.rtc_tracks import IdleTrack, ReadyUnit, ready

__all__ = ["Peer", "PeerEvents", "ready"]

log = logging.getLogger(__name__)

CONSTRAINED_BASELINE = "42e01f"
"""The profile every browser offers, so it is named first in the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerEvents:
    """Whom a peer tells; all are called on the event loop."""

    connected: Callable[[], None]
    gone: Callable[[], None]
    keyframe_wanted: Callable[[], None]
    estimated_bps: Callable[[int], None]


class Peer:
    """One viewer's connection, from its offer to its end."""

    def __init__(
        self,
        ring: PacketRing[ReadyUnit],
        events: PeerEvents,
        *,
        clock: Clock,
        audio_ring: PacketRing[ReadyUnit] | None = None,
        ice_servers: Iterable[IceServer] = (),
    ) -> None:
        """With an ``audio_ring``, sound is sent to viewers who offer to receive Opus."""
        self._events = events
        self._clock = clock
        self._audio_ring = audio_ring
        self._media_clock = MediaClock()
        self._senders: list[RTCRtpSender] = []
        self._outlets: dict[Any, Outlet] = {}
        """By their transport: bundled tracks share one."""
        self._sending: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self._connection = new_connection(ice_servers)
        self._connection.on("connectionstatechange", self._on_state)
        video = self._add(ring, "video", _h264_first())
        listen_to_feedback(
            self._senders[0],
            keyframe_wanted=events.keyframe_wanted,
            estimated_bps=events.estimated_bps,
            missing=video.repeat,
        )

    @property
    def state(self) -> str:
        return self._connection.connectionState

    @property
    def has_audio(self) -> bool:
        """Whether sound was agreed on; known once the offer is answered."""
        return len(self._senders) > 1

    async def answer(self, offer_sdp: str) -> str:
        """The answer to ``offer_sdp``, with every candidate in it."""
        description = parse_offer(offer_sdp)
        _check_video(description)
        check_transport(description)
        if self._audio_ring is not None and _takes_opus(description):
            known = RTCRtpSender.getCapabilities("audio").codecs
            self._add(self._audio_ring, "audio", prefer(known, "opus"))
        return await accept_offer(
            self._connection,
            offer_sdp,
            unknown_codec="the offer has a media section without a codec this server knows; "
            "offer H.264 video with packetization-mode=1",
        )

    async def close(self) -> None:
        self._is_closed = True
        for task in self._sending:
            task.cancel()
        await self._connection.close()

    def _add(
        self,
        ring: PacketRing[ReadyUnit],
        kind: Literal["video", "audio"],
        capabilities: list[Any],
    ) -> TrackSender:
        """One more track to send, before the offer is applied."""
        transceiver = self._connection.addTransceiver(IdleTrack(kind), direction="sendonly")
        # An answerer's preferences count only when they are set before the offer is.
        transceiver.setCodecPreferences(capabilities)
        sender = transceiver.sender
        track = TrackSender(
            ring, kind, ssrc=private(sender, "_ssrc"), rtx_ssrc=private(sender, "_rtx_ssrc")
        )
        self._senders.append(sender)
        state_reports(sender, track, self._media_clock)
        when_agreed(sender, partial(self._begin, sender, track))
        return track

    def _begin(
        self, sender: RTCRtpSender, track: TrackSender, parameters: RTCRtpSendParameters
    ) -> None:
        if self._is_closed:
            return
        transport = sender.transport
        outlet = self._outlets.get(transport)
        if outlet is None:
            outlet = self._outlets[transport] = Outlet(transport, self._clock)
        task = asyncio.create_task(track.run(parameters, outlet))
        self._sending.add(task)
        task.add_done_callback(self._on_sent)

    def _on_sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if task.cancelled() or task.exception() is None:
            return
        log.error("a viewer is hung up, for sending to it failed", exc_info=task.exception())
        self._events.gone()

    def _on_state(self) -> None:
        state = self._connection.connectionState
        if state == "connected":
            self._events.connected()
        elif state in ("failed", "closed"):
            self._events.gone()


def _check_video(description: SessionDescription) -> None:
    """Raise unless this is an offer to receive H.264 video."""
    videos = sections(description, "video")
    if not videos:
        raise OfferUnsupported(
            "the offer has no video section; add a recvonly video transceiver to it"
        )
    if not _receives(videos[0]):
        raise OfferUnsupported(
            f"the offer's video is {videos[0].direction}; this server only sends, offer recvonly"
        )
    if not has_codec(videos[0], "H264"):
        raise OfferUnsupported(
            f"the offer has no H.264, only {codec_names(videos[0])}; "
            "in Firefox turn on the OpenH264 plugin, elsewhere choose a browser that has it"
        )


def _takes_opus(description: SessionDescription) -> bool:
    """Whether the first audio section can be filled; aiortc would give our track to that one."""
    audios = sections(description, "audio")[:1]
    return any(_receives(media) and has_codec(media, "opus") for media in audios)


def _receives(media: MediaDescription) -> bool:
    return media.direction in ("recvonly", "sendrecv")


def _h264_first() -> list[Any]:
    known = RTCRtpSender.getCapabilities("video").codecs
    h264 = prefer(known, "H264")
    h264.sort(key=lambda codec: codec.parameters.get("profile-level-id") != CONSTRAINED_BASELINE)
    return h264 + prefer(known, "rtx")
