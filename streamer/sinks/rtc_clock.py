"""One clock for the tracks of a viewer, so that its browser shows the picture with its sound."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from aiortc import RTCRtpSender
from aiortc.rtp import RtcpSenderInfo, RtcpSrPacket

from streamer.rtc.peer import private
from streamer.sinks.rtc_sender import TrackSender

JUMP_S = 2
"""Further off than this the stream's time began anew; sound is never so far ahead of the picture."""

FOLLOWS = 64
"""Each report moves the clock by one part in so many of what it is off: the source's clock runs a
little faster or slower than ours, and a single late frame must not move the sound."""

_WRAP = 1 << 32


class MediaClock:
    """Which instant of the wall clock media time 0 stands for; the same for all tracks."""

    def __init__(self) -> None:
        self._zero_s: Fraction | None = None

    def time_at(self, ntp: int, *, sent_s: Fraction, leads: bool) -> Fraction:
        """The media time of the instant ``ntp`` (64 bits), at which media of ``sent_s`` was sent.

        The track that ``leads``, the picture, keeps the clock near to when it is sent.
        """
        now_s = Fraction(ntp, 1 << 32)
        zero_s = now_s - sent_s
        if self._zero_s is None:
            self._zero_s = zero_s
        elif leads:
            off_s = zero_s - self._zero_s
            # To the microsecond, so that the fraction does not grow from report to report.
            step_s = off_s if abs(off_s) > JUMP_S else round(off_s / FOLLOWS, 6)
            self._zero_s += step_s
        return now_s - self._zero_s


def state_reports(sender: RTCRtpSender, track: TrackSender, clock: MediaClock) -> None:
    """Have the sender's reports state what ``track`` sent, on the common clock.

    aiortc, whose own sender sends nothing, would state nothing; and otherwise when the last packet
    was sent. A picture is sent later than the sound of the same instant, by what decoding,
    enhancing and encoding took, and the browser would show it as much later. Its RTCP task looks
    up ``_send_rtcp`` for each report.
    """
    send = private(sender, "_send_rtcp")

    async def send_stated(packets: list[Any]) -> None:
        for packet in packets:
            if isinstance(packet, RtcpSrPacket):
                _state(packet.sender_info, track, clock)
        await send(packets)

    sender._send_rtcp = send_stated  # type: ignore[method-assign]


def _state(info: RtcpSenderInfo, track: TrackSender, clock: MediaClock) -> None:
    if track.last is None:
        return  # nothing was sent yet, and the report says nothing
    ntp, sent_s = track.last
    media_s = clock.time_at(ntp, sent_s=sent_s, leads=track.kind == "video")
    info.ntp_timestamp = ntp
    info.rtp_timestamp = track.timestamp_at(media_s)
    info.packet_count = track.lane.sent_packets % _WRAP
    info.octet_count = track.lane.sent_payload_bytes % _WRAP
