"""Where we take hold of an aiortc sender: what was agreed on, and what viewers report."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiortc import RTCRtpSender
from aiortc.rtcrtpparameters import RTCRtpSendParameters
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    RtcpPsfbPacket,
    RtcpRtpfbPacket,
    unpack_remb_fci,
)

from streamer.rtc.peer import private


def when_agreed(sender: RTCRtpSender, begin: Callable[[RTCRtpSendParameters], None]) -> None:
    """Call ``begin`` when packets can be sent, with the payload types and extensions to use.

    ``send`` is what a connection calls of a sender once it is encrypted.
    """
    send = sender.send

    async def send_and_begin(parameters: RTCRtpSendParameters) -> None:
        await send(parameters)
        begin(parameters)

    sender.send = send_and_begin  # type: ignore[method-assign]


def listen_to_feedback(
    sender: RTCRtpSender,
    *,
    keyframe_wanted: Callable[[], None],
    estimated_bps: Callable[[int], None],
    missing: Callable[[Sequence[int]], Awaitable[None]],
) -> None:
    """Have PLI, FIR, REMB and NACK reach us instead of aiortc's own sending, which never runs.

    aiortc has no public way to hear them. Its DTLS transport looks up
    ``sender._handle_rtcp_packet`` for each report, so an attribute of the instance comes before
    the method of the class. All else (receiver reports) goes on to aiortc as before.
    A FIR that names no media source, as RFC 5104 has it, reaches no sender in aiortc; its answers
    do not offer ``ccm fir``, so browsers send PLI.
    """
    pass_on: Callable[[Any], Awaitable[None]] = private(sender, "_handle_rtcp_packet")
    ssrc: int = private(sender, "_ssrc")

    async def handle(packet: Any) -> None:
        if isinstance(packet, RtcpRtpfbPacket) and packet.fmt == RTCP_RTPFB_NACK:
            # aiortc counts on from 65535 to 65536.
            await missing([sequence & 0xFFFF for sequence in packet.lost])
        elif not isinstance(packet, RtcpPsfbPacket):
            await pass_on(packet)
        elif packet.fmt in (RTCP_PSFB_PLI, RTCP_PSFB_FIR):
            keyframe_wanted()
        elif packet.fmt == RTCP_PSFB_APP:
            estimate = _estimate_for(ssrc, packet.fci)
            if estimate is not None:
                estimated_bps(estimate)

    sender._handle_rtcp_packet = handle  # type: ignore[method-assign]


def _estimate_for(ssrc: int, fci: bytes) -> int | None:
    try:
        estimate_bps, ssrcs = unpack_remb_fci(fci)
    except (ValueError, LookupError):
        return None
    return estimate_bps if ssrc in ssrcs else None
