"""The tracks of an RTSP output: how each is split, timed and described."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from streamer.frame import RTP_TIME_BASE, Packet, rescale
from streamer.media import AudioInfo
from streamer.rtp.annex_b import nal_units
from streamer.rtp.packetise import Packetiser
from streamer.rtp.packetise_audio import AacPacketiser, G711Packetiser, OpusPacketiser
from streamer.rtp.packetise_burst import RtpBurst, as_burst
from streamer.rtp.packetise_h264 import H264Packetiser, H264Sets, parameter_sets
from streamer.rtsp.sdp import Format, Media, sprop_parameter_sets

VIDEO_TYPE, AUDIO_TYPE = 96, 97
"""Dynamic payload types (RFC 3551, section 6)."""

G711 = {"pcm_mulaw": ("PCMU", 0), "pcm_alaw": ("PCMA", 8)}
"""Encoding and static payload type, which stands for 8 kHz mono only."""

OPUS_CLOCK_HZ = 48_000
"""Whatever Opus was sampled at (RFC 7587, section 4.1)."""

SERVED_AUDIO = ("aac", "opus", *G711)


class Track:
    """One stream of packets on its way to RTP. ``number`` is the N of ``trackID=N``."""

    def __init__(
        self,
        number: int,
        kind: Literal["video", "audio"],
        *,
        payload_type: int,
        clock_hz: int,
        packetiser: Packetiser,
    ) -> None:
        self.number = number
        self.kind = kind
        self.clock_hz = clock_hz
        self._payload_type = payload_type
        self._packetiser = packetiser

    @property
    def control(self) -> str:
        return f"trackID={self.number}"

    @property
    def media(self) -> Media | None:
        """What a client is told of it; ``None`` until enough of it was seen."""
        raise NotImplementedError

    def learn(self, packet: Packet) -> None:
        """Note what ``media`` needs; for packets that nobody is sent."""

    def burst(self, packet: Packet) -> RtpBurst | None:
        """``packet`` as RTP for every client; ``None`` where nothing of it can be sent."""
        self.learn(packet)
        pieces = self._packetiser.split(bytes(packet.payload))
        if not pieces:
            return None
        return as_burst(
            pieces,
            payload_type=self._payload_type,
            ticks=rescale(packet.pts, packet.time_base, Fraction(1, self.clock_hz)),
            is_keyframe=packet.ends_gap,
        )

    def _described(self, format: Format) -> Media:
        return Media(kind=self.kind, formats=(format,), control=self.control, direction="sendonly")


class H264Track(Track):
    """Video, described by the parameter sets of its last keyframe."""

    def __init__(self, number: int) -> None:
        super().__init__(
            number,
            "video",
            payload_type=VIDEO_TYPE,
            clock_hz=RTP_TIME_BASE.denominator,
            packetiser=H264Packetiser(),
        )
        self._sets: H264Sets | None = None

    def learn(self, packet: Packet) -> None:
        if packet.is_keyframe:
            self._sets = parameter_sets(nal_units(bytes(packet.payload))) or self._sets

    @property
    def media(self) -> Media | None:
        sets = self._sets
        if sets is None:
            return None
        return self._described(
            Format(
                payload_type=self._payload_type,
                encoding="H264",
                clock_rate=self.clock_hz,
                parameters={
                    "packetization-mode": "1",
                    "profile-level-id": sets.profile_level_id,
                    "sprop-parameter-sets": sprop_parameter_sets([sets.sps, *sets.pps]),
                },
            )
        )


class AacTrack(Track):
    """AAC; where it comes in ADTS, its first header says what there is to describe."""

    def __init__(self, number: int, audio: AudioInfo) -> None:
        self._aac = AacPacketiser(_extradata(audio))
        self._channels = audio.channels
        super().__init__(
            number,
            "audio",
            payload_type=AUDIO_TYPE,
            clock_hz=audio.rate_hz,
            packetiser=self._aac,
        )

    def learn(self, packet: Packet) -> None:
        if not self._aac.config:
            self._aac.split(bytes(packet.payload))

    @property
    def media(self) -> Media | None:
        if not self._aac.config:
            return None
        return self._described(
            Format(
                payload_type=self._payload_type,
                encoding="MPEG4-GENERIC",
                clock_rate=self.clock_hz,
                channels=self._channels,
                parameters={
                    "streamtype": "5",
                    # 1: no profile is stated, config says it all.
                    "profile-level-id": "1",
                    "mode": "AAC-hbr",
                    "sizelength": "13",
                    "indexlength": "3",
                    "indexdeltalength": "3",
                    "config": self._aac.config.hex().upper(),
                },
            )
        )


class OpusTrack(Track):
    """Opus, mono or stereo; the description always says 48000/2 (RFC 7587, section 7)."""

    def __init__(self, number: int, audio: AudioInfo) -> None:
        self._is_stereo = audio.channels == 2
        super().__init__(
            number,
            "audio",
            payload_type=AUDIO_TYPE,
            clock_hz=OPUS_CLOCK_HZ,
            packetiser=OpusPacketiser(),
        )

    @property
    def media(self) -> Media:
        return self._described(
            Format(
                payload_type=self._payload_type,
                encoding="OPUS",
                clock_rate=self.clock_hz,
                channels=2,
                parameters={"sprop-stereo": "1" if self._is_stereo else "0"},
            )
        )


class G711Track(Track):
    """G.711, either law, any rate."""

    def __init__(self, number: int, audio: AudioInfo) -> None:
        self._encoding, static_type = G711[audio.codec]
        self._channels = audio.channels
        is_static = (audio.rate_hz, audio.channels) == (8_000, 1)
        super().__init__(
            number,
            "audio",
            payload_type=static_type if is_static else AUDIO_TYPE,
            clock_hz=audio.rate_hz,
            packetiser=G711Packetiser(channels=audio.channels),
        )

    @property
    def media(self) -> Media:
        return self._described(
            Format(
                payload_type=self._payload_type,
                encoding=self._encoding,
                clock_rate=self.clock_hz,
                channels=self._channels,
            )
        )


def audio_track(number: int, audio: AudioInfo) -> Track | None:
    """The track for ``audio``; ``None`` where it is in a codec that is not served."""
    if audio.rate_hz <= 0 or audio.channels <= 0:
        return None
    if audio.codec == "aac":
        return AacTrack(number, audio)
    # More than two channels need a mapping that RFC 7587 has no place for.
    if audio.codec == "opus" and audio.channels <= 2:
        return OpusTrack(number, audio)
    return G711Track(number, audio) if audio.codec in G711 else None


def _extradata(audio: AudioInfo) -> bytes:
    if audio.extradata or audio.codec_parameters is None:
        return audio.extradata
    return bytes(audio.codec_parameters.codec_context.extradata or b"")
