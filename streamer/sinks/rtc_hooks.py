"""Where we take hold of an aiortc sender: what viewers report, and how fast packets leave."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiortc import RTCRtpSender, rtcrtpsender
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RtcpPsfbPacket,
    is_rtcp,
    unpack_remb_fci,
)

from streamer.clock import Clock
from streamer.rtc.peer import private

BURST_PACKETS = 20
BURST_PAUSE_MS = 1
"""A keyframe may be hundreds of RTP packets, more than a receiver's socket holds (208 KiB by
default on Linux): of 393 sent at once, 227 arrived on the loopback interface; in bursts of 20, all.
It is 200 Mbit/s at most, and the event loop gets its turn in between."""

HISTORY_PACKETS = 1_024
"""What may be asked for again. aiortc's own 128 are less than one large keyframe."""

# Looked up anew for each packet and each NACK.
rtcrtpsender.RTP_HISTORY_SIZE = HISTORY_PACKETS  # type: ignore[attr-defined]


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
    pass_on: Callable[[Any], Awaitable[None]] = private(sender, "_handle_rtcp_packet")
    ssrc: int = private(sender, "_ssrc")

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


def watch_sending(
    transport: RTCDtlsTransport, on_sent: Mapping[int, Callable[[int], None]], clock: Clock
) -> None:
    """Pause for a moment after each burst of RTP packets, and tell whose packet left.

    ``on_sent`` has a track's SSRC as its key and takes the packet's timestamp. aiortc sends all
    packets of a frame in one go. ``sender.transport._send_rtp`` is looked up for each packet, so
    the same kind of attribute works here. Bundled tracks share the transport: once for it.
    """
    send: Callable[[bytes], Awaitable[None]] = private(transport, "_send_rtp")
    burst, last_ns = 0, clock.now_ns()

    async def send_spaced(data: bytes) -> None:
        nonlocal burst, last_ns
        if is_rtcp(data):
            await send(data)
            return
        tell = on_sent.get(int.from_bytes(data[8:12], "big"))
        if tell is not None:
            tell(int.from_bytes(data[4:8], "big"))
        await send(data)
        now_ns = clock.now_ns()
        burst = burst + 1 if now_ns - last_ns < BURST_PAUSE_MS * 1_000_000 else 0
        last_ns = now_ns
        if burst >= BURST_PACKETS:
            burst = 0
            await asyncio.sleep(BURST_PAUSE_MS / 1_000)

    transport._send_rtp = send_spaced  # type: ignore[method-assign]


def _estimate_for(ssrc: int, fci: bytes) -> int | None:
    try:
        estimate_bps, ssrcs = unpack_remb_fci(fci)
    except (ValueError, LookupError):
        return None
    return estimate_bps if ssrc in ssrcs else None
