"""Packets into a libav container: H.264 of ours, and sound as it is or coded anew."""

from __future__ import annotations

import io
from dataclasses import replace
from fractions import Fraction
from typing import Any, Protocol

import av
import av.error

from streamer.frame import Packet, rescale
from streamer.media import AudioInfo
from streamer.rtp.aac_config import adts_header_bytes
from streamer.rtp.annex_b import nal_units
from streamer.sinks.audio_format import (
    Template,
    codec_of,
    holds_as_is,
    layout_for_copies,
)
from streamer.sinks.audio_holes import Holes
from streamer.sinks.audio_transcode import AudioTranscoder, Refused, own_packet
from streamer.sinks.muxer_protocol import Output

LEAD_S = Fraction(1, 10)
"""Where a timeline that is moved begins: an AAC encoder's delay must not lie before zero."""


FLV_LASTS_S = 2_000_000
"""23 days: FLV counts milliseconds in 31 bits, and begins at zero again after 24.8."""


class Writable(Protocol):
    """What a container may be written to instead of an address; it is not closed with it."""

    def write(self, data: bytes, /) -> int: ...


class PictureChanged(Exception):
    """The parameter sets differ from those in the container's header."""


class TimesSpent(Exception):
    """The container cannot state much later times than those it has come to."""


class Muxer:
    """One container, from its header to its end; lives on one thread and may block there."""

    def __init__(
        self,
        output: Output,
        audio: AudioInfo | None,
        *,
        file: Writable | None = None,
        refused: Refused = lambda: None,
    ) -> None:
        """Opens nothing yet; writes to ``file`` instead of the URL where there is one.

        ``refused`` is called for each packet of sound that was to be coded anew and cannot be decoded.
        Raises ``SinkError`` for audio that can be neither taken nor decoded.
        """
        self._output = output
        self._file = file
        self._container: Any = None
        self._video_stream: Any = None
        self._audio_stream: Any = None
        self._sets: tuple[bytes, ...] = ()
        self._offset_s: Fraction | None = None
        self._adts: av.BitStreamFilterContext | None = None
        self.transcoder: AudioTranscoder | None = None
        self._template: Template | None = None
        self._holes: Holes | None = None
        self._audio = audio
        if audio is None:
            return
        if holds_as_is(output.audio_format, audio):
            self._template = Template(audio)
            if output.format == "mp4" and codec_of(audio).startswith("pcm_"):
                self._holes = Holes(audio)
        else:
            self.transcoder = AudioTranscoder(audio, "aac", refused=refused)
            self._template = Template(self.transcoder.audio)

    def open(
        self,
        keyframe: bytes,
        *,
        time_base: Fraction,
        fps: Fraction | None = None,
        url: str | None = None,
    ) -> None:
        """Write the header; ``keyframe`` holds the parameter sets. It is not written itself.

        ``fps`` is the nominal rate, where it is known; ``url`` goes before that of the output. Raises
        ``FFmpegError`` or ``OSError``.
        """
        target: Any = self._file if self._file is not None else url or self._output.url
        self._container = av.open(
            target, "w", format=self._output.format, options=dict(self._output.options)
        )
        with av.open(io.BytesIO(keyframe), format="h264") as elementary:
            self._video_stream = self._container.add_stream_from_template(
                elementary.streams.video[0]
            )
        if fps is not None:
            # The parameter sets of a file give the time base for it, and Matroska repeats what they
            # say: 15360 fps for what came from MP4.
            self._video_stream.codec_context.framerate = fps
        self._video_stream.time_base = time_base
        self._sets = described_by(keyframe)
        if self._template is not None:
            self._add_audio()
        self._container.start_encoding()

    def move_by(self, seconds: Fraction) -> None:
        """Write all at so much later times, or earlier ones."""
        self._offset_s = seconds

    def write(self, packet: Packet) -> None:
        """Append one packet. Raises ``FFmpegError``, ``OSError``, ``PictureChanged`` or ``TimesSpent``."""
        if self._offset_s is None:
            self._offset_s = LEAD_S - packet.time_s if self._output.begins_at_zero else Fraction(0)
        if packet.stream == "audio":
            self._write_audio(packet)
            return
        if packet.is_keyframe and self._output.describes_once:
            sets = described_by(bytes(packet.payload))
            if sets and sets != self._sets:
                raise PictureChanged
        is_flv = self._output.audio_format == "flv"
        if packet.is_keyframe and is_flv and packet.time_s + self._offset_s > FLV_LASTS_S:
            raise TimesSpent
        self._mux(own_packet(packet), self._video_stream, packet)

    def close(self) -> None:
        """Finish the container. Raises ``FFmpegError`` or ``OSError``."""
        if self._container is None:
            return
        container = self._container
        try:
            if self.transcoder is not None:
                for packet in self.transcoder.flush():
                    self._mux(own_packet(packet), self._audio_stream, packet)
        finally:
            self._container = None
            container.close()

    def _add_audio(self) -> None:
        assert self._template is not None
        self._audio_stream = self._container.add_stream_from_template(self._template.stream)
        self._audio_stream.codec_context.layout = layout_for_copies(self._template.stream)
        audio = self._audio
        if (
            self._output.format == "mp4"
            and audio is not None
            and self.transcoder is None
            and codec_of(audio) == "aac"
            and not self._template.stream.codec_context.extradata
        ):
            # MP4 says once what ADTS says before every packet.
            self._adts = av.BitStreamFilterContext("aac_adtstoasc", self._template.stream)

    def _write_audio(self, packet: Packet) -> None:
        if self._audio_stream is None:
            return
        if self.transcoder is not None:
            for coded in self.transcoder.transcode(packet):
                self._mux(own_packet(coded), self._audio_stream, coded)
            return
        if self._holes is not None:
            for whole in self._holes.filled(packet):
                self._mux(own_packet(whole), self._audio_stream, whole)
            return
        if self._strips_adts():
            payload = bytes(packet.payload)
            packet = replace(packet, payload=payload[adts_header_bytes(payload) :])
        natives = [own_packet(packet)]
        if self._adts is not None:
            natives = self._adts.filter(natives[0])
        for native in natives:
            self._mux(native, self._audio_stream, packet)

    def _strips_adts(self) -> bool:
        """Whether the header was made for bare AAC, whatever the packets are."""
        audio = self._audio
        return (
            audio is not None
            and audio.codec_parameters is None
            and codec_of(audio) == "aac"
            and self._output.format != "mpegts"
        )

    def _mux(self, native: av.Packet[Any], stream: Any, packet: Packet) -> None:
        if self._offset_s:
            moved = rescale(1, self._offset_s, packet.time_base)
            native.pts, native.dts = packet.pts + moved, packet.dts + moved
        native.stream = stream
        self._container.mux(native)


def described_by(access_unit: bytes) -> tuple[bytes, ...]:
    """The SPS and PPS units of an H.264 access unit in Annex B."""
    return tuple(unit for unit in nal_units(access_unit) if unit[0] & 0x1F in (7, 8))
