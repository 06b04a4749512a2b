"""One publisher's connection: aiortc does ICE, DTLS and SRTP, and hands its packets over here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any

from aiortc import RTCRtpReceiver, RTCRtpTransceiver
from aiortc.rtcrtpparameters import RTCRtpCodecParameters, RTCRtpReceiveParameters
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_PLI,
    RtcpPsfbPacket,
    RtcpSrPacket,
    pack_remb_fci,
)
from aiortc.rtp import RtpPacket as AiortcPacket

from streamer.clock import Clock
from streamer.ice import IceServer
from streamer.rtc.peer import accept_offer, new_connection, parse_offer, prefer, private
from streamer.rtp.packet import RtpPacket
from streamer.rtp.rtcp import (
    ReceiverReport,
    SenderReport,
    build_missing,
    build_receiver_report,
)
from streamer.rtp.unit import CODECS, TrackFormat
from streamer.sources.rtc_intake import (
    Arrival,
    AskAgain,
    AskForKeyframe,
    Feedback,
    Intake,
    Kind,
    Received,
)
from streamer.sources.rtc_offer import (
    AUDIO_CODECS,
    check_publisher,
    unknown_profiles,
    with_known_profile,
    with_own_profiles,
    with_stereo,
)
from streamer.sources.rtc_track import TrackIntake
from streamer.sources.silence import LOOK_EVERY_S, Silence

log = logging.getLogger(__name__)

CNAME = "streamer"

SILENT_S = 5.0
"""A publisher that sends nothing for so long is gone. ICE would notice it after half a minute."""

PICTURE_WITHIN_S = 15.0
"""From its offer: time to find a way through the network, and for a first keyframe."""

MAX_SOURCES = 64
"""SSRCs in one session; aiortc and libsrtp remember each. A browser makes four."""

CLOSE_WITHIN_S = 2.0


class Publisher:
    """A connection from its offer to its end; everything runs on one event loop.

    ``on_arrival`` takes what is ready for the decoder and must not wait. ``on_gone`` is called
    once, with half a sentence about why, unless ``close`` came first.
    """

    def __init__(
        self,
        *,
        on_arrival: Callable[[Arrival], Awaitable[None]],
        on_gone: Callable[[str], None],
        clock: Clock,
        ice_servers: Iterable[IceServer],
        max_bitrate_bps: int,
    ) -> None:
        self._on_arrival = on_arrival
        self._on_gone = on_gone
        self._clock = clock
        self._max_bitrate_bps = max_bitrate_bps
        self._connection = new_connection(ice_servers)
        self._connection.on("connectionstatechange", self._on_state)
        self._receivers: dict[Kind, RTCRtpReceiver] = {}
        self._rtcp_ssrcs: dict[Kind, int] = {}
        self._tracks: dict[Kind, TrackIntake] = {}
        self._intake: Intake | None = None
        self._sources: set[int] = set()
        self._silence, self._pictureless = Silence(clock), Silence(clock)
        self._planned_ns: int | None = None
        self._wakes = asyncio.Event()
        self._ticking: asyncio.Task[None] | None = None
        self._is_over = False
        self._wants_to_read = False

    @property
    def has_audio(self) -> bool:
        """Whether it was agreed that sound is sent."""
        return "audio" in self._receivers

    def audio_header(self) -> bytes:
        """The codec's own header of the sound; empty before the first packet of it."""
        track = self._tracks.get("audio")
        return track.receiver.extradata if track is not None and track.receiver else b""

    def statistics(self) -> dict[str, Any]:
        """Counters for display."""
        return self._intake.statistics() if self._intake is not None else {}

    async def answer(self, offer_sdp: str) -> str:
        """The answer to the offer. Raises ``OfferInvalid`` or ``OfferUnsupported``."""
        description = parse_offer(offer_sdp)
        has_audio = check_publisher(description)
        self._take("video")
        if has_audio:
            self._take("audio")
        profiles = unknown_profiles(description)
        answer_sdp = await accept_offer(
            self._connection,
            with_known_profile(offer_sdp, profiles),
            unknown_codec="the offer has a media section without a codec this server knows; "
            "offer H.264 (packetization-mode=1) or VP8 video and Opus audio",
        )
        for receiver in self._receivers.values():
            _send_without_consent(receiver)
        self._ticking = asyncio.create_task(self._tick(), name="publisher")
        self._ticking.add_done_callback(self._on_tick_done)
        return with_stereo(with_own_profiles(answer_sdp, profiles))

    def begin_reading(self) -> None:
        """Packets are wanted from now on; the first one of video will be a keyframe."""
        self._wants_to_read = True
        if self._intake is not None:
            self._intake.begin_reading()
            self._wakes.set()

    def stop_reading(self) -> None:
        """Packets are not wanted for now; the connection stays."""
        self._wants_to_read = False
        if self._intake is not None:
            self._intake.stop_reading()

    def ask_for_keyframe(self) -> None:
        """The reader cannot go on without one."""
        if self._intake is not None:
            self._intake.ask_for_keyframe()
            self._wakes.set()

    async def close(self) -> None:
        """Hang up; ``on_gone`` is not called any more."""
        self._is_over = True
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)
        closing = asyncio.create_task(self._connection.close())
        # Not ``wait_for``: aiortc shares one future between all who wait for its end.
        await asyncio.wait({closing}, timeout=CLOSE_WITHIN_S)
        if not closing.done():
            closing.cancel()
            log.warning("a publisher's connection did not close within %s s", CLOSE_WITHIN_S)

    def _take(self, kind: Kind) -> None:
        """Prepare to receive one track, before the offer is applied."""
        transceiver = self._connection.addTransceiver(kind, direction="recvonly")
        if kind == "audio":
            # Video keeps the order of the offer: it is the publisher's choice.
            known = RTCRtpReceiver.getCapabilities(kind)
            transceiver.setCodecPreferences(prefer(known.codecs if known else (), *AUDIO_CODECS))
        self._receivers[kind] = transceiver.receiver
        self._rtcp_ssrcs[kind] = private(transceiver.sender, "_ssrc")
        self._hook(kind, transceiver)

    def _hook(self, kind: Kind, transceiver: RTCRtpTransceiver) -> None:
        """Have the track's packets reach us instead of aiortc's jitter buffer and decoder.

        aiortc holds each picture until the next one begins, decodes it on a thread and forgets
        how the tracks are aligned. ``receive`` is called once the connection stands; it would
        start all that. The DTLS transport looks up both handlers for each packet. So an attribute
        of the instance comes before the method of the class.
        """
        receiver = transceiver.receiver

        async def receive(parameters: RTCRtpReceiveParameters) -> None:
            if kind not in self._tracks:
                private(receiver.transport, "_register_rtp_receiver")(receiver, parameters)
                self._begin_track(kind, parameters)

        async def handle_rtp(packet: AiortcPacket, arrival_time_ms: int) -> None:
            await self._receive(kind, packet)

        async def handle_rtcp(packet: Any) -> None:
            if isinstance(packet, RtcpSrPacket) and self._intake is not None:
                info = packet.sender_info
                report = SenderReport(
                    ssrc=packet.ssrc,
                    ntp=info.ntp_timestamp,
                    rtp_timestamp=info.rtp_timestamp,
                    packets=info.packet_count,
                    octets=info.octet_count,
                )
                self._intake.on_sender_report(kind, report, self._clock.now_ns())

        for name in ("receive", "_handle_rtp_packet", "_handle_rtcp_packet", "_handle_disconnect"):
            private(receiver, name)
        receiver.receive = receive  # type: ignore[method-assign]
        receiver._handle_rtp_packet = handle_rtp  # type: ignore[method-assign]
        receiver._handle_rtcp_packet = handle_rtcp  # type: ignore[method-assign]

    def _begin_track(self, kind: Kind, parameters: RTCRtpReceiveParameters) -> None:
        formats, retransmits = {}, {}
        repairs = False
        for codec in parameters.codecs:
            number = codec.payloadType
            if number is None:
                continue
            if codec.name.lower() == "rtx":
                retransmits[number] = int(codec.parameters["apt"] or 0)
            else:
                formats[number] = _format(codec, number)
                repairs |= any(
                    one.type == "nack" and not one.parameter for one in codec.rtcpFeedback
                )
        self._tracks[kind] = TrackIntake(formats, retransmits=retransmits, repairs=repairs)
        if set(self._tracks) == set(self._receivers):
            self._intake = Intake(self._tracks)
            if self._wants_to_read:
                self._intake.begin_reading()

    async def _receive(self, kind: Kind, packet: AiortcPacket) -> None:
        if self._intake is None or self._is_over:
            return
        self._silence.broken()
        self._sources.add(packet.ssrc)
        if len(self._sources) > MAX_SOURCES:
            self._end(f"it sent from more than {MAX_SOURCES} sources")
            return
        ours = RtpPacket(
            packet.payload_type,
            packet.sequence_number,
            packet.timestamp,
            packet.ssrc,
            bool(packet.marker),
            packet.payload,
        )
        for ready in self._intake.receive(kind, ours, self._clock.now_ns()):
            await self._on_arrival(ready)
        due_ns = self._intake.next_due_ns
        if due_ns is not None and (self._planned_ns is None or due_ns < self._planned_ns):
            self._wakes.set()

    async def _tick(self) -> None:
        """Send feedback and give up what is late, whenever it is due; notice silence."""
        while not self._is_over:
            self._wakes.clear()
            now_ns = self._clock.now_ns()
            if self._intake is not None:
                for ready in self._intake.due(now_ns):
                    await self._on_arrival(ready)
                for feedback in self._intake.feedback(now_ns):
                    await self._send(feedback)
            self._notice_silence()
            due_ns = self._intake.next_due_ns if self._intake is not None else None
            wait_s = LOOK_EVERY_S
            if due_ns is not None:
                wait_s = min(wait_s, max(0.001, (due_ns - self._clock.now_ns()) / 1e9))
            self._planned_ns = now_ns + round(wait_s * 1e9)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wakes.wait(), wait_s)

    def _on_tick_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a publisher's feedback stopped", exc_info=error)
            self._end("it could not be served any more")

    def _notice_silence(self) -> None:
        intake = self._intake
        silent_s, pictureless_s = self._silence.look(), self._pictureless.look()
        if intake is not None and intake.heard_ns is not None and silent_s > SILENT_S:
            self._end(f"nothing came from it for {SILENT_S:.0f} s")
        has_picture = intake is not None and intake.has_picture
        if not has_picture and pictureless_s > PICTURE_WITHIN_S:
            self._end(f"no picture came from it within {PICTURE_WITHIN_S:.0f} s")

    async def _send(self, feedback: Feedback) -> None:
        kind = feedback.kind if isinstance(feedback, Received) else "video"
        ours = self._rtcp_ssrcs[kind]
        data = self._as_rtcp(feedback, ours)
        with suppress(ConnectionError):  # its state says the rest
            await private(self._receivers[kind].transport, "_send_rtp")(data)

    def _as_rtcp(self, feedback: Feedback, ours: int) -> bytes:
        if isinstance(feedback, Received):
            return build_receiver_report(
                ReceiverReport(ssrc=ours, reports=(feedback.block,)), cname=CNAME
            )
        if isinstance(feedback, AskAgain):
            return build_missing(
                sender_ssrc=ours, media_ssrc=feedback.ssrc, sequences=feedback.sequences
            )
        if isinstance(feedback, AskForKeyframe):
            return bytes(RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=ours, media_ssrc=feedback.ssrc))
        fci = pack_remb_fci(self._max_bitrate_bps, [feedback.ssrc])
        return bytes(RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=ours, media_ssrc=0, fci=fci))

    def _on_state(self) -> None:
        state = self._connection.connectionState
        if state == "failed":
            self._end("its connection failed")
        elif state == "closed":
            self._end("it hung up")

    def _end(self, why: str) -> None:
        if not self._is_over:
            self._is_over = True
            self._wakes.set()
            self._on_gone(why)


def _send_without_consent(receiver: RTCRtpReceiver) -> None:
    """Have ICE not ask the publisher, every five seconds, whether it still wants to be sent to.

    FFmpeg does not answer that once it sends, and would be hung up after half a minute. All that it
    is sent are reports about what it keeps on sending, and it is gone when that ends (``SILENT_S``).
    aioice calls ``query_consent`` once a path is found.
    """
    ice = private(receiver.transport.transport, "_connection")
    private(ice, "query_consent")

    async def ask_nothing() -> None:
        return None

    ice.query_consent = ask_nothing


def _format(codec: RTCRtpCodecParameters, payload_type: int) -> TrackFormat:
    return TrackFormat(
        codec=CODECS[codec.name.upper()],
        clock_rate=codec.clockRate,
        payload_type=payload_type,
        channels=codec.channels or 1,
        fmtp={name: str(value) for name, value in codec.parameters.items()},
        encoding=codec.name,
    )
