"""The table of formats: which depacketiser reads which track."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

from streamer.media import AudioInfo
from streamer.rtp.aac import AacFrames, Latm, Mpeg4Generic
from streamer.rtp.access_units import PictureAssembler
from streamer.rtp.audio import WholePackets, opus_channels, opus_head
from streamer.rtp.h264 import H264Unpacker
from streamer.rtp.h265 import H265Unpacker
from streamer.rtp.unit import CODECS, Depacketiser, TrackFormat, UnsupportedFormat
from streamer.rtp.vp8 import Vp8Unpacker


def _aac(format: TrackFormat) -> Depacketiser:
    return Latm(format) if format.encoding.upper() == "MP4A-LATM" else Mpeg4Generic(format)


MAKERS: Mapping[str, Callable[[TrackFormat], Depacketiser]] = {
    "h264": lambda format: PictureAssembler(H264Unpacker(format)),
    "hevc": lambda format: PictureAssembler(H265Unpacker(format)),
    "vp8": lambda format: PictureAssembler(Vp8Unpacker()),
    "aac": _aac,
    "opus": lambda format: WholePackets(opus_head(opus_channels(format))),
    "pcm_alaw": lambda format: WholePackets(),
    "pcm_mulaw": lambda format: WholePackets(),
}


def make_depacketiser(format: TrackFormat) -> Depacketiser:
    """What puts this track together. Raises ``UnsupportedFormat`` for what is not read here."""
    if format.codec not in MAKERS:
        raise UnsupportedFormat(
            f"a track of codec {format.codec[:32]!r} is not read here; "
            f"{', '.join(CODECS)} are: let libav read it"
        )
    return MAKERS[format.codec](format)


def audio_info(format: TrackFormat) -> AudioInfo:
    """What an audio track sounds like. Raises ``UnsupportedFormat`` as ``make_depacketiser``."""
    depacketiser = make_depacketiser(format)
    rate_hz = format.clock_rate
    channels = format.channels
    if isinstance(depacketiser, AacFrames):
        rate_hz = depacketiser.config.rate_hz
        channels = depacketiser.config.channels or channels
    elif format.codec == "opus":
        channels = opus_channels(format)
    return AudioInfo(
        codec=format.codec,
        rate_hz=rate_hz,
        channels=channels,
        time_base=Fraction(1, format.clock_rate),
        extradata=depacketiser.extradata,
    )
