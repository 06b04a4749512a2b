"""What libav reads from the network, as it leaves the child: Annex B, bare AAC, ticks of 1/90000."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from typing import Any

import av
import av.format
import av.stream

from streamer.clock import Clock
from streamer.errors import SourceError
from streamer.frame import RTP_TIME_BASE, rescale
from streamer.media import VideoInfo
from streamer.rtp.aac_config import adts_config, adts_sizes, parse_config, specific_config
from streamer.sources.elementary import (
    describe_video,
    frame_rate,
    let_channels_be_counted,
    packets_of,
)
from streamer.sources.joined import Joined
from streamer.sources.network_headers import Headers

MAX_PACKET_BYTES = 1 << 24
"""16 MiB: a keyframe of 8K at 100 Mbit/s and one keyframe a second has 12."""

MAX_PIXELS = 7680 * 4320
_MIN_FPS, _MAX_FPS = 1, 240

MEASURED_WITHIN_S = 3.0
MEASURED_BYTES = 1 << 24
"""What is read for the keyframes of all programmes: 16 MiB, two seconds of a full transponder. One that is
encrypted never shows its size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """The audio beside the picture."""

    codec: str
    rate_hz: int
    channels: int
    extradata: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One packet; ``video`` as in ``Packet``, times in ticks of 1/90000 from the first one."""

    payload: bytes
    pts: int
    dts: int
    duration: int
    arrived_ns: int
    is_video: bool
    is_keyframe: bool
    follows_loss: bool
    video: VideoInfo | None


class Pieces:
    """One opened container as pieces, from its first keyframe on."""

    def __init__(
        self,
        container: Any,
        *,
        clock: Clock,
        comes_in_bursts: bool = False,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        """With ``comes_in_bursts`` packets may be held until it is known how parts of the input lie behind
        one another. ``note`` is told what is left out. Raises ``SourceError`` with what is wrong, to be said
        after the source's name."""
        let_channels_be_counted(container)
        self._container = container
        self._clock = clock
        self._comes_in_bursts = comes_in_bursts
        self._ahead: list[tuple[Any, int]] = []
        """What was read before the picture was chosen, and when it came."""
        self._film = self._chosen(_films(container))
        self._codec = str(self._film.codec_context.name)
        self._headers = Headers(self._film)
        self._described: bytes | None = None
        self._zero: int | None = None
        self._last_dts = 0
        self._is_damaged = False
        # The picture's own: a transport stream holds several programmes, a playlist several qualities.
        sound = container.streams.best("audio", related=self._film)
        self.sound, self._strips_adts = _sound(sound)
        self._note = note
        self._other_sound = b""
        """What the last packet of sound said it is, where that is not what it was at first."""
        self._has_noted = False
        self._sound_lasts = _frame_ticks(sound) if self.sound is not None else 0
        self._sound_ends: int | None = None
        """Where the last packet of sound ended, as far as that is known."""
        self._taken = [self._film] if self.sound is None else [self._film, sound]
        self._codecs = {one.index: _NewestCodec(one) for one in self._taken}
        for other in container.streams:
            if other.index not in self._codecs:
                # Or libav would download every quality all the time.
                other.discard = av.stream.Discard.all

    def __iter__(self) -> Iterator[Piece]:
        """Raises what libav raises, and ``SourceError`` where a track goes on as another codec."""
        for packet, arrived_ns in self._read():
            if packet.stream_index not in self._codecs:
                continue
            self._codecs[packet.stream_index].check()
            if not 0 < packet.size <= MAX_PACKET_BYTES:
                self._is_damaged |= packet.size > 0
                continue
            if packet.stream_index == self._film.index:
                yield from self._seen(packet, arrived_ns)
            elif self._zero is not None:
                yield from self._heard(packet, arrived_ns)

    def _read(self) -> Iterator[tuple[Any, int]]:
        """What libav reads and when it came, on one timeline where nothing has to leave at once: where a
        playlist's next part begins at zero again, its picture would leave beside the last one's sound."""
        may_jump = bool(self._container.format.flags & av.format.Flags.ts_discont.value)
        if not (self._comes_in_bursts and may_jump):
            yield from self._read_as_it_comes()
            return
        natives = (
            packet
            for packet, _ in self._read_as_it_comes()
            if packet.size and packet.stream_index in self._codecs
        )
        for packet in Joined().given(natives):
            yield packet, self._clock.now_ns()

    def _read_as_it_comes(self) -> Iterator[tuple[Any, int]]:
        yield from self._ahead
        self._ahead.clear()
        for packet in packets_of(self._container, *self._taken):
            yield packet, self._clock.now_ns()

    def _chosen(self, films: list[Any]) -> Any:
        """The largest picture, and of equal ones that with the lowest number.

        An HLS playlist may hold several qualities, a transport stream several programmes. The keyframes of
        these come when they like: by what libav has seen of them in half a second, each connection
        would show another programme.
        """
        sizes = {one.index: one.codec_context.width * one.codec_context.height for one in films}
        if len(films) > 1 and self._container.format.name == "mpegts":
            self._measure(sizes)
        return max(films, key=lambda one: (sizes[one.index], -one.id))

    def _measure(self, sizes: dict[int, int]) -> None:
        """Fill in the sizes that are 0, by index of the stream, from the next keyframes."""
        end_ns = self._clock.now_ns() + round(MEASURED_WITHIN_S * 1e9)
        read_bytes = 0
        packets = packets_of(self._container)
        arrived_ns = 0
        while not all(sizes.values()) and arrived_ns < end_ns and read_bytes < MEASURED_BYTES:
            packet = next(packets, None)
            if packet is None:
                break
            arrived_ns = self._clock.now_ns()
            self._ahead.append((packet, arrived_ns))
            read_bytes += packet.size
            if packet.is_keyframe and packet.size and not sizes.get(packet.stream_index, 1):
                codec = packet.stream.codec_context.name
                info = describe_video(codec, bytes(packet), time_base=RTP_TIME_BASE)
                sizes[packet.stream_index] = info.width * info.height if info else 0

    def _seen(self, packet: Any, arrived_ns: int) -> Iterator[Piece]:
        self._is_damaged |= packet.is_corrupt
        for native in self._headers.as_annex_b(packet):
            payload, info = bytes(native), None
            if native.is_keyframe:
                payload = self._headers.complete(payload)
                info = self._described_anew(payload)
            if self._described is None:
                continue
            dts = self._dts(native)
            if self._zero is None:
                self._zero = dts
            self._last_dts = dts
            yield self._piece(
                native, payload, dts=dts, arrived_ns=arrived_ns, is_video=True, info=info
            )
            # A damaged access unit comes first, and what refers to it comes after.
            self._is_damaged = packet.is_corrupt

    def _heard(self, packet: Any, arrived_ns: int) -> Iterator[Piece]:
        payload = bytes(packet)
        if self._strips_adts:
            payload = b"" if self._sounds_otherwise(payload) else without_adts(payload)
        dts = packet.dts if packet.dts is not None else packet.pts
        # libav knows the times of a transport stream's frames only once it knows the codec: of a packet of
        # 0.3 s at the beginning it states that of the first one.
        ticks = self._sound_ends if dts is None else rescale(dts, packet.time_base, RTP_TIME_BASE)
        if ticks is None:
            return
        self._sound_ends = ticks + self._sound_lasts if self._sound_lasts else None
        if payload:
            yield self._piece(packet, payload, dts=ticks, arrived_ns=arrived_ns, is_video=False)

    def _sounds_otherwise(self, packet: bytes) -> bool:
        """Whether ``packet`` is of another rate or of other channels than at first: the outputs were told
        those, and would play it too high, too low or as noise."""
        assert self.sound is not None
        config = adts_config(packet) if adts_sizes(packet)[0] else b""
        is_other = bool(config) and not _is_alike(config, self.sound.extradata)
        # One alone is damaged.
        if is_other and config == self._other_sound and not self._has_noted:
            self._has_noted = True
            now, first = _named(config), _named(self.sound.extradata)
            self._note(
                f"its sound goes on with {now}, after {first}, and is left out; leave its encoder at one"
            )
        self._other_sound = config if is_other else b""
        return is_other

    def _piece(
        self,
        native: Any,
        payload: bytes,
        *,
        dts: int,
        arrived_ns: int,
        is_video: bool,
        info: VideoInfo | None = None,
    ) -> Piece:
        assert self._zero is not None
        pts = native.pts
        ticks = dts if pts is None else rescale(pts, native.time_base, RTP_TIME_BASE)
        return Piece(
            payload=payload,
            pts=ticks - self._zero,
            dts=dts - self._zero,
            duration=rescale(native.duration or 0, native.time_base, RTP_TIME_BASE),
            arrived_ns=arrived_ns,
            is_video=is_video,
            is_keyframe=is_video and native.is_keyframe,
            follows_loss=is_video and self._is_damaged,
            video=info,
        )

    def _dts(self, native: Any) -> int:
        for ticks in (native.dts, native.pts):
            if ticks is not None:
                return rescale(ticks, native.time_base, RTP_TIME_BASE)
        return self._last_dts + rescale(native.duration or 0, native.time_base, RTP_TIME_BASE)

    def _described_anew(self, keyframe: bytes) -> VideoInfo | None:
        """What the picture is, on the first keyframe and where its parameter sets changed."""
        headers = self._headers.of(keyframe)
        if headers == self._described:
            return None
        info = describe_video(
            self._codec,
            keyframe,
            extradata=self._headers.extradata,
            fps=_rate(self._film),
            time_base=RTP_TIME_BASE,
        )
        if info is None:
            return None
        if info.width * info.height > MAX_PIXELS:
            raise SourceError(f"sends {info.width}x{info.height}; at most 7680x4320 is taken")
        self._described = headers
        return info


_KIN = ({"mp1", "mp2", "mp3"}, {"mpeg1video", "mpeg2video"}, {"ac3", "eac3"})
"""Which of these it is libav sees in the first packets only, and one decoder knows them all."""


class _NewestCodec:
    """What libav says now of a stream's codec, which an encoder that is set to another one and restarted
    changes in a transport stream: nothing over UDP tells its end from a pause, and the decoder here would
    refuse all that follows."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        # The stream's own context stays what it was opened as. A filter that changes nothing hands
        # over what the demuxer says at this moment; it takes 2 us.
        self._copy: Any = av.open(BytesIO(), "w", format="mpegts").add_data_stream()
        self._first = self._now()

    def check(self) -> None:
        """Raises ``SourceError`` where it is not what it was at first."""
        now = self._now()
        if now != self._first and not any({now, self._first} <= kin for kin in _KIN):
            raise SourceError(
                f"goes on with {now}, after {self._first}, and has to be opened anew; "
                "leave its encoder at one codec"
            )

    def _now(self) -> str:
        av.BitStreamFilterContext("null", self._stream, self._copy)
        return str(self._copy.name)


def _films(container: Any) -> list[Any]:
    """The pictures of known codecs. Raises ``SourceError`` where there is none."""
    cover = av.stream.Disposition.attached_pic
    films = [one for one in container.streams.video if not one.disposition & cover]
    known = [one for one in films if one.codec_context is not None]
    if known:
        return known
    kinds = ", ".join(sorted({str(one.type) for one in container.streams})) or "nothing"
    what = "video of an unknown codec" if films else f"no video (it has: {kinds})"
    raise SourceError(f"sends {what}; use a source with a picture that ffmpeg can decode")


def _rate(film: Any) -> Fraction | None:
    rate = frame_rate(film)
    return rate if rate is not None and _MIN_FPS <= rate <= _MAX_FPS else None


def _sound(stream: Any) -> tuple[Sound | None, bool]:
    """The audio, and whether its packets begin with ADTS headers."""
    codec = stream.codec_context if stream is not None else None
    if codec is None or not codec.sample_rate or not codec.channels:
        return None, False
    extradata, is_adts = codec.extradata or b"", False
    if codec.name == "aac" and not extradata:
        # The header of HE-AAC states its core: half the rate, and in version 2 one channel.
        profile = str(codec.profile or "")
        core_hz = codec.sample_rate // 2 if profile.startswith("HE") else codec.sample_rate
        core_channels = 1 if profile == "HE-AACv2" else codec.channels
        extradata, is_adts = specific_config(rate_hz=core_hz, channels=core_channels), True
        if not extradata:
            return None, False
    return (
        Sound(
            codec=codec.name,
            rate_hz=codec.sample_rate,
            channels=codec.channels,
            extradata=extradata,
        ),
        is_adts,
    )


def _frame_ticks(sound: Any) -> int:
    """How long a frame of the codec is, in ticks of 1/90000; 0 where that is not fixed."""
    codec = sound.codec_context
    return rescale(codec.frame_size or 0, Fraction(1, codec.sample_rate), RTP_TIME_BASE)


def _is_alike(config: bytes, first: bytes) -> bool:
    """Whether both name the same rate and channels, as far as ``config`` names any."""
    now, before = parse_config(config), parse_config(first)
    if now is None or before is None:
        return True
    return now.core_rate_hz == before.core_rate_hz and now.channels in (0, before.channels)


def _named(config: bytes) -> str:
    sound = parse_config(config)
    return "another" if sound is None else f"{sound.rate_hz} Hz, {sound.channels} channels"


def without_adts(packet: bytes) -> bytes:
    """One AAC frame without its ADTS header; empty where there is none or it does not add up."""
    header_bytes, frame_bytes = adts_sizes(packet)
    return packet[header_bytes:frame_bytes] if frame_bytes <= len(packet) else b""
