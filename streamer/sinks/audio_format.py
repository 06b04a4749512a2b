"""Which container holds which sound, and how sound is described to libav without an open input."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import av
import av.error

from streamer.errors import SinkError
from streamer.media import AudioInfo
from streamer.rtp.aac_config import specific_config

HOLDS: Mapping[str, frozenset[str]] = {
    # PCM goes in as ISO 23003-5 boxes; FFmpeg 5 reads other depths than 16 bits as noise. Vorbis in
    # MP4 is a number that few players know.
    "mp4": frozenset(
        {"aac", "ac3", "alac", "dts", "eac3", "flac", "mp2", "mp3", "opus"}
        | {"pcm_s16be", "pcm_s16le"}
    ),
    "matroska": frozenset(
        {"aac", "ac3", "alac", "dts", "eac3", "flac", "mlp", "mp2", "mp3", "opus", "truehd"}
        | {"pcm_f32le", "pcm_s16be", "pcm_s16le", "pcm_s24le", "pcm_s32le", "vorbis"}
        | {"wavpack"}
    ),
    # What MPEG-TS has a stream type for; libav writes anything else as data that nothing plays.
    "mpegts": frozenset({"aac", "ac3", "dts", "eac3", "mp2", "mp3", "opus", "s302m"}),
    # FLV knows more, but what RTMP servers hand on to browsers is AAC.
    "flv": frozenset({"aac", "mp3"}),
    "rtsp": frozenset({"aac", "mp2", "mp3", "opus", "pcm_alaw", "pcm_mulaw"}),
    # Of what fragmented MP4 can hold, the part that Apple's players and hls.js both play.
    "hls": frozenset({"aac", "ac3"}),
}
"""Codecs, by libav's name, that a muxer takes as they are; the rest becomes AAC."""

WAVE_TAGS: Mapping[str, int] = {
    "pcm_s16le": 0x0001,
    "pcm_alaw": 0x0006,
    "pcm_mulaw": 0x0007,
    "mp2": 0x0050,
    "mp3": 0x0055,
    "aac": 0x00FF,
    "ac3": 0x2000,
    "vorbis": 0x566F,
    "flac": 0xF1AC,
}
"""``wFormatTag`` of the codecs that a WAVE header can describe."""

LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}


def codec_of(audio: AudioInfo) -> str:
    """The codec itself where ``audio`` names one of its decoders: ``mp3float`` is ``mp3``."""
    try:
        return av.Codec(audio.codec, "r").canonical_name
    except (ValueError, av.error.FFmpegError):  # no decoder of that name
        return audio.codec


def layout_of(channels: int) -> str:
    """libav's name for the usual order of that many channels."""
    return LAYOUTS.get(channels, f"{channels}c")


def layout_for_copies(stream: Any) -> Any:
    """What to set as the layout of a copy of ``stream``: its own, or the usual one where it only says how
    many channels there are, with which MP4 cannot write PCM.

    See Note [Channels in an order of their own] in ``sources/elementary.py``.
    """
    layout = stream.codec_context.layout
    return layout_of(layout.nb_channels) if layout.name.endswith(" channels") else layout


def holds_as_is(format: str, audio: AudioInfo) -> bool:
    """Whether the muxer ``format`` takes ``audio`` without coding it anew."""
    codec = codec_of(audio)
    if codec not in HOLDS[format]:
        return False
    return audio.codec_parameters is not None or codec in WAVE_TAGS or codec == "opus"


def describe(audio: AudioInfo) -> dict[str, Any]:
    """``audio`` as JSON, for a child; what libav knows of it beyond this stays behind."""
    extradata = audio.extradata
    if not extradata and audio.codec_parameters is not None:
        extradata = audio.codec_parameters.codec_context.extradata or b""
    return {
        "codec": codec_of(audio),
        "rate_hz": audio.rate_hz,
        "channels": audio.channels,
        "time_base": [audio.time_base.numerator, audio.time_base.denominator],
        "extradata": extradata.hex(),
    }


def described(text: Mapping[str, Any]) -> AudioInfo:
    """The inverse of ``describe``."""
    return AudioInfo(
        codec=text["codec"],
        rate_hz=text["rate_hz"],
        channels=text["channels"],
        time_base=Fraction(*text["time_base"]),
        extradata=bytes.fromhex(text["extradata"]),
    )


class Template:
    """A libav stream with the parameters of ``audio``, for ``add_stream_from_template``.

    Raises ``SinkError`` for a codec that cannot be described without its input.
    """

    def __init__(self, audio: AudioInfo) -> None:
        self._holder: Any = None
        """What the stream belongs to; it must live as long as the stream is used."""
        self.stream: Any = audio.codec_parameters
        if self.stream is not None:
            return
        codec = codec_of(audio)
        try:
            if codec == "opus":
                self._holder, self.stream = _opus(audio)
            else:
                self._holder = av.open(io.BytesIO(_wave(codec, audio)), format="wav")
                self.stream = self._holder.streams.audio[0]
        except (KeyError, struct.error, av.error.FFmpegError) as error:
            raise SinkError(
                f"{codec} audio from this input cannot be described to a muxer; "
                "let the source send AAC or Opus"
            ) from error


def coder(codec: str, *, rate_hz: int, channels: int, bitrate_bps: int) -> tuple[Any, Any]:
    """An open encoder as a stream of a container that nothing is written to, and the container.

    Only a stream carries the encoder's delay to a muxer.
    """
    holder: Any = av.open(io.BytesIO(), "w", format="matroska")
    stream = holder.add_stream(codec, rate=rate_hz)
    stream.codec_context.layout = layout_of(channels)
    stream.codec_context.bit_rate = bitrate_bps
    stream.codec_context.time_base = Fraction(1, rate_hz)
    holder.start_encoding()
    return holder, stream


def _opus(audio: AudioInfo) -> tuple[Any, Any]:
    # WAVE has no tag for Opus that libav reads; an encoder's description fits all but the header.
    channels = min(max(audio.channels, 1), 2)
    holder, stream = coder("libopus", rate_hz=48_000, channels=channels, bitrate_bps=64_000)
    if audio.extradata.startswith(b"OpusHead"):
        copy: Any = av.open(io.BytesIO(), "w", format="matroska")
        copied = copy.add_stream_from_template(stream)
        copied.codec_context.layout = layout_of(audio.channels)
        copied.codec_context.extradata = audio.extradata
        copy.start_encoding()
        holder, stream = (holder, copy), copied
    return holder, stream


def _wave(codec: str, audio: AudioInfo) -> bytes:
    """A WAVE file without samples. Raises ``KeyError`` for a codec that has no tag."""
    bits = {"pcm_s16le": 16, "pcm_alaw": 8, "pcm_mulaw": 8}.get(codec, 0)
    align = max(1, audio.channels * bits // 8)
    extradata = audio.extradata
    if codec == "aac" and not extradata:
        extradata = specific_config(rate_hz=audio.rate_hz, channels=audio.channels)
    head = struct.pack(
        "<HHIIHHH",
        WAVE_TAGS[codec],
        audio.channels,
        audio.rate_hz,
        audio.rate_hz * align,
        align,
        bits,
        len(extradata),
    )
    head += extradata + b"\0" * (len(extradata) % 2)
    body = b"WAVEfmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", 0)
    return b"RIFF" + struct.pack("<I", len(body)) + body
