"""The door to aiortc: one peer connection that sends packets which are already encoded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import av
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
    rtcrtpsender,
)
from aiortc.exceptions import InvalidAccessError, InvalidStateError, OperationError
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RtcpPsfbPacket,
    is_rtcp,
    unpack_remb_fci,
)
from aiortc.sdp import MediaDescription, SessionDescription

from streamer.clock import Clock
from streamer.errors import SinkError
from streamer.frame import RTP_TIME_BASE, Packet, rescale
from streamer.sinks.rtc_ring import PacketRing, RingClosed
from streamer.sinks.rtc_session import OfferInvalid, OfferUnsupported

CONSTRAINED_BASELINE = "42e01f"
"""The profile every browser offers, so it is named first in the answer."""

BURST_PACKETS = 20
BURST_PAUSE_MS = 1
"""A keyframe may be hundreds of RTP packets, more than a receiver's socket holds (208 KiB by
default on Linux): of 393 sent at once, 227 arrived on the loopback interface; in bursts of 20, all.
It is 200 Mbit/s at most, and the event loop gets its turn in between."""

HISTORY_PACKETS = 1_024
"""What may be asked for again. aiortc's own 128 are less than one large keyframe."""

NOT_CODECS = frozenset({"rtx", "red", "ulpfec", "flexfec-03"})

# What aiortc's parser and its checks raise on text that is not a proper offer.
MALFORMED = (
    ValueError,
    LookupError,
    AttributeError,
    AssertionError,
    TypeError,
    InvalidAccessError,
    InvalidStateError,
)

# Looked up anew for each packet and each NACK.
rtcrtpsender.RTP_HISTORY_SIZE = HISTORY_PACKETS  # type: ignore[attr-defined]


def ready(packet: Packet) -> av.Packet[Any]:
    """The packet as aiortc's packetiser takes it; its RTP time is ``pts``, nothing else."""
    out: av.Packet[Any] = av.Packet(bytes(packet.payload))
    out.pts = rescale(packet.pts, packet.time_base, RTP_TIME_BASE)
    out.time_base = RTP_TIME_BASE
    return out


class PacketTrack(MediaStreamTrack):
    """Hands aiortc one viewer's packets; aiortc splits them into RTP and never encodes."""

    kind = "video"

    def __init__(self, ring: PacketRing[av.Packet[Any]]) -> None:
        super().__init__()
        self._ring = ring

    async def recv(self) -> av.Packet[Any]:
        try:
            return await self._ring.take()
        except RingClosed:
            raise MediaStreamError from None


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
        ring: PacketRing[av.Packet[Any]],
        events: PeerEvents,
        *,
        clock: Clock,
        ice_servers: Sequence[RTCIceServer | str] = (),
    ) -> None:
        self._events = events
        self._clock = clock
        # An empty list, not None: with None aiortc asks a public STUN server.
        servers = [RTCIceServer(one) if isinstance(one, str) else one for one in ice_servers]
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        self._connection.on("connectionstatechange", self._on_state)
        transceiver = self._connection.addTransceiver(PacketTrack(ring), direction="sendonly")
        # An answerer's preferences count only when they are set before the offer is.
        transceiver.setCodecPreferences(_h264_capabilities())
        self._sender = transceiver.sender
        listen_to_feedback(
            self._sender,
            keyframe_wanted=events.keyframe_wanted,
            estimated_bps=events.estimated_bps,
        )

    @property
    def state(self) -> str:
        return self._connection.connectionState

    async def answer(self, offer_sdp: str) -> str:
        """The answer to ``offer_sdp``, with every candidate in it."""
        check_offer(offer_sdp)
        offer = RTCSessionDescription(sdp=_without_hidden_addresses(offer_sdp), type="offer")
        try:
            await self._connection.setRemoteDescription(offer)
            await self._connection.setLocalDescription()
        except OperationError as error:
            raise OfferUnsupported(
                "the offer has a media section without a codec this server knows; "
                "offer H.264 video with packetization-mode=1"
            ) from error
        except MALFORMED as error:
            raise OfferInvalid(f"the offer cannot be used: {error}") from error
        # Only now: bundling may have moved the sender to another transport.
        space_bursts(self._sender, self._clock)
        return self._connection.localDescription.sdp

    async def close(self) -> None:
        await self._connection.close()

    def _on_state(self) -> None:
        state = self._connection.connectionState
        if state == "connected":
            self._events.connected()
        elif state in ("failed", "closed"):
            self._events.gone()


def check_offer(offer_sdp: str) -> None:
    """Raise unless this is an offer to receive H.264 video."""
    if not offer_sdp.lstrip().startswith("v=0"):
        raise OfferInvalid("the body is not an SDP offer: it does not begin with v=0")
    try:
        description = SessionDescription.parse(offer_sdp)
    except MALFORMED as error:
        raise OfferInvalid(f"the SDP offer cannot be parsed: {error}") from error
    videos = [media for media in description.media if media.kind == "video"]
    if not videos:
        raise OfferUnsupported(
            "the offer has no video section; add a recvonly video transceiver to it"
        )
    if videos[0].direction not in ("recvonly", "sendrecv"):
        raise OfferUnsupported(
            f"the offer's video is {videos[0].direction}; this server only sends, offer recvonly"
        )
    if not any(codec.mimeType.lower() == "video/h264" for codec in videos[0].rtp.codecs):
        raise OfferUnsupported(f"the offer has no H.264, only {_codec_names(videos[0])}")
    if not all(media.dtls and media.dtls.fingerprints for media in description.media):
        raise OfferInvalid("the offer has no DTLS fingerprint")


def listen_to_feedback(
    sender: RTCRtpSender,
    *,
    keyframe_wanted: Callable[[], None],
    estimated_bps: Callable[[int], None],
) -> None:
    """Have PLI, FIR and REMB reach us instead of aiortc's own encoder, which never runs.

    aiortc has no public way to hear them. Its DTLS transport looks up
    ``sender._handle_rtcp_packet`` for each report, so an attribute of the instance comes before
    the method of the class. All else (receiver reports, NACK) goes on to aiortc as before.
    A FIR that names no media source, as RFC 5104 has it, reaches no sender in aiortc; its answers
    do not offer ``ccm fir``, so browsers send PLI.
    """
    pass_on: Callable[[Any], Awaitable[None]] = _private(sender, "_handle_rtcp_packet")
    ssrc: int = _private(sender, "_ssrc")

    async def handle(packet: Any) -> None:
        if not isinstance(packet, RtcpPsfbPacket):
            await pass_on(packet)
        elif packet.fmt in (RTCP_PSFB_PLI, RTCP_PSFB_FIR):
            keyframe_wanted()
        elif packet.fmt == RTCP_PSFB_APP:
            estimate = _estimate_for(ssrc, packet.fci)
            if estimate is not None:
                estimated_bps(estimate)

    sender._handle_rtcp_packet = handle  # type: ignore[method-assign]


def space_bursts(sender: RTCRtpSender, clock: Clock) -> None:
    """Pause for a moment after each burst of RTP packets.

    aiortc sends all packets of a frame in one go. ``sender.transport._send_rtp`` is looked up for
    each packet, so the same kind of attribute works here.
    """
    send: Callable[[bytes], Awaitable[None]] = _private(sender.transport, "_send_rtp")
    burst, last_ns = 0, clock.now_ns()

    async def send_spaced(data: bytes) -> None:
        nonlocal burst, last_ns
        await send(data)
        if is_rtcp(data):
            return
        now_ns = clock.now_ns()
        burst = burst + 1 if now_ns - last_ns < BURST_PAUSE_MS * 1_000_000 else 0
        last_ns = now_ns
        if burst >= BURST_PACKETS:
            burst = 0
            await asyncio.sleep(BURST_PAUSE_MS / 1_000)

    sender.transport._send_rtp = send_spaced  # type: ignore[method-assign]


def _private(owner: object, name: str) -> Any:
    try:
        return getattr(owner, name)
    except AttributeError:
        raise SinkError(
            f"this aiortc has no {type(owner).__name__}.{name}; install aiortc 1.16"
        ) from None


def _estimate_for(ssrc: int, fci: bytes) -> int | None:
    try:
        estimate_bps, ssrcs = unpack_remb_fci(fci)
    except (ValueError, LookupError):
        return None
    return estimate_bps if ssrc in ssrcs else None


def _h264_capabilities() -> list[Any]:
    known = RTCRtpSender.getCapabilities("video").codecs
    h264 = [codec for codec in known if codec.mimeType.lower() == "video/h264"]
    h264.sort(key=lambda codec: codec.parameters.get("profile-level-id") != CONSTRAINED_BASELINE)
    return h264 + [codec for codec in known if codec.mimeType.lower() == "video/rtx"]


def _without_hidden_addresses(offer_sdp: str) -> str:
    """The offer without ``.local`` candidates and without the end of candidates.

    Browsers hide their addresses behind multicast names. aioice would spend a second looking each
    one up, and give up where multicast does not work. The browser finds us anyway, and its address
    is learned from its first check, for as long as candidates have not been declared complete.
    """

    def is_kept(line: str) -> bool:
        is_hidden = line.startswith("a=candidate:") and ".local " in line
        return not is_hidden and line != "a=end-of-candidates"

    return "\r\n".join(line for line in offer_sdp.splitlines() if is_kept(line)) + "\r\n"


def _codec_names(media: MediaDescription) -> str:
    names = dict.fromkeys(codec.name for codec in media.rtp.codecs)
    return ", ".join(name for name in names if name.lower() not in NOT_CODECS) or "nothing"
