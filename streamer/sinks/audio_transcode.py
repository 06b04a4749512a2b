"""Sound coded anew for outputs that do not take the input's own: decoded, resampled, encoded."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Literal

import av
import av.error

from streamer.errors import SinkError
from streamer.frame import Packet
from streamer.media import AudioInfo
from streamer.sinks.audio_format import codec_of, coder, layout_for_copies, layout_of

Target = Literal["aac", "opus"]
Refused = Callable[[], None]

AUDIO_REFUSED = "dropped.audio.refused"
"""What counts packets that cannot be decoded, for each output that codes the sound anew."""

ENCODERS = {"aac": "aac", "opus": "libopus"}
BITRATE_PER_CHANNEL_BPS = {"aac": 80_000, "opus": 48_000}

AAC_RATES_HZ = (32_000, 44_100, 48_000)
"""Every player takes these; anything else becomes the last."""

OPUS_RATE_HZ = 48_000

MAX_GAP_S = 1
"""A shorter hole is filled with silence; after a longer one the time jumps with the input's."""

FOLLOWING = {
    # Resampling follows the input's times, since two clocks never agree: above 5 ms apart it runs
    # up to 2 % faster or slower, above 100 ms it inserts silence or leaves samples out. Times in
    # whole milliseconds (Matroska, FLV) are not taken for a drift.
    "async": "960",
    "min_comp": "0.005",
    "min_hard_comp": "0.1",
    "comp_duration": "1",
}


class AudioTranscoder:
    """From ``audio`` to AAC, or to Opus in packets of 20 ms; used from one thread at a time.

    What comes out carries the input's times, less the encoder's delay: a decoder that knows the
    delay, or one that does not, plays each sample when the input would have been played.
    """

    def __init__(
        self, audio: AudioInfo, target: Target, *, refused: Refused = lambda: None
    ) -> None:
        """Calls ``refused`` for each packet that cannot be decoded; silence stands for it.

        Raises ``SinkError`` where the input's codec cannot be decoded.
        """
        self._refused = refused
        self._decoder_holder, self._decoder = _decoder(audio)
        self._rate_hz = OPUS_RATE_HZ
        if target == "aac":
            self._rate_hz = audio.rate_hz if audio.rate_hz in AAC_RATES_HZ else AAC_RATES_HZ[-1]
        channels = min(max(audio.channels, 1), 2)
        if target == "aac" and audio.channels == 6:
            channels = 6
        self._layout = layout_of(channels)
        self._encoder_holder, stream = coder(
            ENCODERS[target],
            rate_hz=self._rate_hz,
            channels=channels,
            bitrate_bps=BITRATE_PER_CHANNEL_BPS[target] * channels,
        )
        self._encoder: Any = stream.codec_context
        self.audio = AudioInfo(
            codec=target,
            rate_hz=self._rate_hz,
            channels=channels,
            time_base=Fraction(1, self._rate_hz),
            extradata=self._encoder.extradata or b"",
            codec_parameters=stream,
        )
        self._resampler: Any = None
        self._shape: tuple[str, str, int] | None = None
        self._end_s: Fraction | None = None
        """Where the sound that was decoded so far ends."""
        self._next_pts: int | None = None
        """Where the last packet that was given ends."""
        self._skip = 0
        """Samples that the decoder will leave out before it gives the next."""
        self._arrived_ns = 0

    def transcode(self, packet: Packet) -> list[Packet]:
        """What is ready after ``packet``; it may be nothing, or more than one."""
        self._arrived_ns = packet.arrived_ns
        self._skip += _skipped_samples(packet.payload)
        try:
            frames = self._decoder.decode(own_packet(packet))
        except av.error.FFmpegError:
            self._refused()
            return []
        begin_s = packet.time_s
        ready: list[Packet] = []
        for frame in frames:
            begin_s += Fraction(self._skip, frame.sample_rate)
            self._skip = 0
            ready += self._take(frame, begin_s)
            begin_s += Fraction(frame.samples, frame.sample_rate)
        if not frames and packet.duration:
            left_out = int(packet.duration * packet.time_base * (self._decoder.sample_rate or 0))
            self._skip = max(0, self._skip - left_out)
        return ready

    def flush(self) -> list[Packet]:
        """The rest, at the end of the sound; nothing may follow."""
        if self._resampler is None:
            return []
        ready = []
        for frame in self._resampler.resample(None):
            ready += self._encoder.encode(frame)
        ready += self._encoder.encode(None)
        self._resampler = None
        return self._later_ones(ready)

    def _take(self, frame: Any, begin_s: Fraction) -> list[Packet]:
        if not self._follows(frame, begin_s):
            return []
        frame.pts = round(begin_s * frame.sample_rate)
        frame.time_base = Fraction(1, frame.sample_rate)
        ready = []
        for resampled in self._resampler.resample(frame):
            ready += self._encoder.encode(resampled)
        return self._later_ones(ready)

    def _follows(self, frame: Any, begin_s: Fraction) -> bool:
        """Whether ``frame`` is to be heard; prepares for one that follows nothing."""
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        gap_s = Fraction(0) if self._end_s is None else begin_s - self._end_s
        if gap_s < -MAX_GAP_S:
            # It would be heard a second time. The muxers take no times that run backwards either.
            return False
        if self._resampler is None or shape != self._shape or gap_s > MAX_GAP_S:
            self._shape = shape
            self._resampler = av.AudioResampler(
                format=self._encoder.format.name,
                layout=self._layout,
                rate=self._rate_hz,
                # Without a frame size PyAV leaves sound of the right format alone, options and all.
                frame_size=self._encoder.frame_size,
                options=FOLLOWING,
            )
        self._end_s = begin_s + Fraction(frame.samples, frame.sample_rate)
        return True

    def _later_ones(self, natives: list[Any]) -> list[Packet]:
        """Those that follow what was given before. Where damage changed the shape of the sound, the
        resampler began anew, and its first samples may overlap the last ones."""
        packets = []
        for native in natives:
            if self._next_pts is None or native.pts >= self._next_pts:
                packets.append(self._as_packet(native))
                self._next_pts = packets[-1].pts + packets[-1].duration
        return packets

    def _as_packet(self, native: Any) -> Packet:
        time_base = Fraction(1, self._rate_hz)
        native.time_base = time_base
        return Packet(
            payload=native,
            pts=native.pts,
            dts=native.pts,
            time_base=time_base,
            duration=native.duration or self._encoder.frame_size,
            arrived_ns=self._arrived_ns,
            is_keyframe=True,
            stream="audio",
        )


def _decoder(audio: AudioInfo) -> tuple[Any, Any]:
    """A decoder of this transcoder's own, and what keeps it alive."""
    try:
        parameters = audio.codec_parameters
        if parameters is not None and not parameters.codec_context.is_encoder:
            # A stream made from a template is the one way to give a decoder all parameters
            # (block_align of WMA and ADPCM); the input's own decoder belongs to its thread.
            holder: Any = av.open(io.BytesIO(), "w", format="null")
            decoder: Any = holder.add_stream_from_template(parameters).codec_context
            decoder.layout = layout_for_copies(parameters)
            return holder, decoder
        context: Any = av.CodecContext.create(codec_of(audio), "r")
        context.sample_rate = audio.rate_hz
        context.layout = layout_of(audio.channels)
        # OpusHead would make the decoder leave out the sender's delay, which the times of packets
        # from a network leave in; stereo and mono need nothing else of it.
        is_plain_opus = codec_of(audio) == "opus" and audio.channels <= 2
        if audio.extradata and not is_plain_opus:
            context.extradata = audio.extradata
        context.open()
    except (ValueError, av.error.FFmpegError) as error:
        raise SinkError(
            f"{audio.codec} audio cannot be decoded here; let the source send AAC or Opus"
        ) from error
    return None, context


def own_packet(packet: Packet) -> av.Packet[Any]:
    """A copy for libav: muxing rewrites a packet's times, and other sinks have the same one."""
    native = av.Packet(bytes(packet.payload))
    native.pts, native.dts, native.duration = packet.pts, packet.dts, packet.duration
    native.is_keyframe = packet.is_keyframe
    native.time_base = packet.time_base
    if isinstance(packet.payload, av.Packet):
        for side in packet.payload.iter_sidedata():
            native.set_sidedata(side)
    return native


def _skipped_samples(payload: Any) -> int:
    """Samples at the beginning of a packet that its container says are not to be heard."""
    if isinstance(payload, av.Packet):
        for side in payload.iter_sidedata():
            if side.data_type == "skip_samples":
                return int(struct.unpack_from("<I", bytes(side))[0])
    return 0
