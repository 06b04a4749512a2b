"""RTP packets with small VP8 frames in them, written by hand."""

from __future__ import annotations

from streamer.rtp.packet import RtpPacket
from streamer.rtp.unit import TrackFormat
from streamer.sources.rtc_intake import Arrival, Intake
from streamer.sources.rtc_track import TrackIntake

MS = 1_000_000
FRAME_TICKS = 3_000
VIDEO_SSRC, RTX_SSRC, AUDIO_SSRC = 11, 12, 13
VP8, RTX, H264, OPUS = 96, 97, 102, 111

FORMATS = {
    VP8: TrackFormat(codec="vp8", clock_rate=90_000, payload_type=VP8, encoding="VP8"),
    H264: TrackFormat(
        codec="h264",
        clock_rate=90_000,
        payload_type=H264,
        fmtp={"packetization-mode": "1"},
        encoding="H264",
    ),
}
AUDIO_FORMATS = {
    OPUS: TrackFormat(
        codec="opus", clock_rate=48_000, payload_type=OPUS, channels=2, encoding="opus"
    )
}


def vp8(sequence: int, *, is_key: bool, size: tuple[int, int] = (64, 48)) -> bytes:
    """A frame's first bytes; nothing here decodes it."""
    if not is_key:
        return b"\x01\x00\x00" + sequence.to_bytes(4, "big")
    width, height = size
    return b"\x00\x00\x00\x9d\x01\x2a" + width.to_bytes(2, "little") + height.to_bytes(2, "little")


def picture(
    number: int, *, is_key: bool = False, ssrc: int = VIDEO_SSRC, sequence: int | None = None
) -> RtpPacket:
    """Frame ``number``, which is one packet."""
    sequence = number if sequence is None else sequence
    return RtpPacket(
        VP8,
        sequence & 0xFFFF,
        number * FRAME_TICKS,
        ssrc,
        True,
        b"\x10" + vp8(number, is_key=is_key),
    )


def again(packet: RtpPacket, number: int) -> RtpPacket:
    """The second attempt at ``packet`` (RFC 4588)."""
    payload = packet.sequence.to_bytes(2, "big") + packet.payload
    return RtpPacket(RTX, number, packet.timestamp, RTX_SSRC, packet.marker, payload)


def sound(number: int) -> RtpPacket:
    return RtpPacket(OPUS, number & 0xFFFF, number * 960, AUDIO_SSRC, False, b"\xfc\xff\xfe")


def new_intake(*, has_audio: bool = False) -> Intake:
    """An intake that is being read."""
    tracks = {"video": TrackIntake(FORMATS, retransmits={RTX: VP8}, repairs=True)}
    if has_audio:
        tracks["audio"] = TrackIntake(AUDIO_FORMATS, retransmits={}, repairs=False)
    intake = Intake(tracks)  # type: ignore[arg-type]
    intake.begin_reading()
    return intake


def numbers(arrivals: list[Arrival]) -> list[int]:
    """Which pictures these are, counted from the first one of the stream."""
    return [one.packet.pts // FRAME_TICKS for one in arrivals]
