"""Frames to packets, once per rendition, with libx264, or where the pictures are with NVENC."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction

import av
import av.error

from streamer.clock import Clock
from streamer.color import FULL, LIMITED, MATRIX_CODES, PRIMARIES_CODES, TRANSFER_CODES, UNSPECIFIED
from streamer.config import EncodeSettings
from streamer.errors import EngineError, SinkError
from streamer.frame import RTP_TIME_BASE, Frame, Origin, Packet, Planes, rescale
from streamer.gpu import encoding
from streamer.gpu.encoding import Outlet, outlet_for
from streamer.gpu.pictures import size_of
from streamer.media import Color
from streamer.metrics import Metrics

_log = logging.getLogger(__name__)

BITS_PER_PIXEL = 0.2
"""Live default: 5.5 Mbit/s for 1280x720 at 30 fps."""

HEADROOM = 2
"""Live libx264 is opened for so many times the bitrate, and lowered at once: as it runs it can only be
lowered, and pictures that come at half the stated rate need twice the bits for each."""

_MOST_PICTURES = 8
"""Times the stated rate at which pictures are expected at most."""

_NVENC_STEPS = 8
"""NVENC is told of a bitrate that differs by more than such a part: libav resets it then, and the next
picture is a keyframe."""

_LEARNS_FROM = 16
"""Pictures, about, whose distances say at which rate they come."""


@dataclass(frozen=True, slots=True)
class _Pending:
    """What a packet inherits from its frame."""

    arrived_ns: int
    duration: int
    origin: Origin
    stamps_ns: Mapping[str, int]


class Encoder:
    """One rendition's encoder; opened by its first frame, reopened when the size changes.

    Called from one thread, except ``request_keyframe``, ``set_target_bitrate`` and ``set_bitrate``,
    which only leave a note for the next frame.
    """

    def __init__(
        self,
        name: str,
        settings: EncodeSettings,
        *,
        fps: Fraction | None,
        is_live: bool,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._name = name
        self._settings = settings
        self._fps = fps or Fraction(30)
        self._is_live = is_live
        self._clock = clock
        self._metrics = metrics
        self._context: av.VideoCodecContext | None = None
        self._outlet: Outlet | None = None
        """Pictures of a device to its encoder, where that is the one that is open."""
        self._may_be_on_device = True
        self._time_base = RTP_TIME_BASE
        self._opened_for: tuple[int, int, Color, Fraction, EncodeSettings] | None = None
        """Width, height, colour, shape of a pixel and settings that the open one was opened with."""
        self._pending: dict[int, _Pending] = {}
        self._last_pts: int | None = None
        self._wants_keyframe = False
        self._target_bps: int | None = None
        self._interval_s = 1 / float(self._fps)
        """Between pictures, the mean of late."""
        self._share = 1.0
        """Of the bits of a second, what a picture is given more or less than at the stated rate."""

    def request_keyframe(self) -> None:
        """The next frame is coded without reference to any other."""
        self._wants_keyframe = True

    def set_target_bitrate(self, bits_per_second: int) -> None:
        """From the next frame on; never above what the encoder was opened with."""
        self._target_bps = bits_per_second

    def set_bitrate(self, kbps: int) -> None:
        """From the next frame on, which is a keyframe where this is another bitrate: libx264 cannot raise
        its ceiling as it runs."""
        self._settings = replace(self._settings, bitrate_kbps=kbps)

    def encode(self, frame: Frame, planes: Planes) -> list[Packet]:
        """Packets that are ready; live that is the frame's own. Raises ``SinkError``.

        ``planes`` are the picture to code; ``frame`` gives its time and colour. A frame whose
        time does not lie after the one before is left out and counted.
        """
        began_ns = self._clock.now_ns()
        packets = []
        if self._wanted_for(frame, planes) != self._opened_for:
            packets += self.flush()
            self._open(frame, planes)
        assert self._context is not None
        pts = rescale(frame.pts, frame.time_base, self._time_base)
        if self._last_pts is not None and pts <= self._last_pts:
            self._metrics.count("dropped.encode.time_not_later")
            return packets
        if self._last_pts is not None and self._is_live:
            self._learn_interval(float((pts - self._last_pts) * self._time_base))
        self._last_pts = pts
        self._pending[pts] = _Pending(
            frame.arrived_ns,
            rescale(frame.duration, frame.time_base, self._time_base),
            frame.origin,
            frame.stamps_ns,
        )
        packets += self._coded(frame, planes, pts)
        self._metrics.time(self._name, (self._clock.now_ns() - began_ns) / 1e6)
        return packets

    def _learn_interval(self, seconds: float) -> None:
        """Without delay an encoder cannot know how long a picture will be shown: it gives to each its
        share of a second at the stated rate, and is told another bitrate where that is not so."""
        stated_s = 1 / float(self._fps)
        # A pause is no rate.
        seconds = min(seconds, HEADROOM * stated_s)
        self._interval_s += (seconds - self._interval_s) / _LEARNS_FROM
        self._share = max(self._interval_s / stated_s, 1 / _MOST_PICTURES)

    def flush(self) -> list[Packet]:
        """What the encoder still holds; it must be opened anew after this."""
        packets = self._take(None) if self._context is not None else []
        self._close()
        return packets

    def _close(self) -> None:
        self._context = None
        self._opened_for = None
        if self._outlet is not None:
            self._outlet.close()
        self._outlet = None

    def _coded(self, frame: Frame, planes: Planes, pts: int) -> list[Packet]:
        """Packets that are ready; an encoder on a device that fails gives way to libx264, which goes
        on with a keyframe."""
        try:
            return self._take(self._as_picture(planes, pts))
        except (SinkError, EngineError) as error:
            if self._outlet is None:
                raise
            _log.warning("pictures are encoded on the CPU from here on: %s", error)
        self._metrics.count("gpu.encoder_lost")
        self._may_be_on_device = False
        packets, this = [], self._pending.pop(pts)
        with suppress(SinkError):
            packets = self._take(None)
        self._pending = {pts: this}
        self._close()
        self._open(frame, planes)
        return packets + self._take(self._as_picture(planes, pts))

    def _as_picture(self, planes: Planes, pts: int) -> av.VideoFrame:
        picture = None if self._outlet is None else self._outlet.picture(planes)
        if picture is None:
            # libx264 copies the picture before encode returns, so lending it the planes is safe;
            # one of the host that NVENC is to code is copied there by PyAV.
            picture = av.VideoFrame.from_dlpack(planes, format="yuv420p")
        picture.pts = pts
        picture.time_base = self._time_base
        if self._wants_keyframe:
            self._wants_keyframe = False
            picture.pict_type = av.video.frame.PictureType.I
        return picture

    def _take(self, picture: av.VideoFrame | None) -> list[Packet]:
        assert self._context is not None
        try:
            if self._is_live:
                # NVENC cannot be opened before its first picture, which says where pictures lie.
                if self._outlet is None:
                    self._context.open(strict=False)
                self._tell(self._bit_rate())
            encoded = self._context.encode(picture)
        except av.error.FFmpegError as error:
            raise SinkError(
                f"{self._context.name} could not encode a frame ({error.strerror}); "
                "try another --preset or a smaller --scale"
            ) from error
        return [self._as_packet(native) for native in encoded]

    def _as_packet(self, native: av.Packet[av.VideoStream]) -> Packet:
        assert native.pts is not None
        assert native.dts is not None
        pending = self._pending.pop(native.pts)
        return Packet(
            payload=bytes(native),
            pts=native.pts,
            dts=native.dts,
            time_base=self._time_base,
            duration=pending.duration,
            arrived_ns=pending.arrived_ns,
            is_keyframe=native.is_keyframe,
            origin=pending.origin,
            stamps_ns=pending.stamps_ns,
        ).stamped("encoded", self._clock.now_ns())

    def _tell(self, bps: int) -> None:
        """Sets the bitrate of the next pictures, where the encoder that is open should know of it."""
        context = self._context
        assert context is not None
        has_begun = self._outlet is not None and context.is_open
        if not has_begun or abs(bps - (context.bit_rate or 0)) * _NVENC_STEPS > bps:
            context.bit_rate = bps

    def _bit_rate(self) -> int:
        """What the open encoder is told, which takes pictures to come at the stated rate."""
        opened_bps = self._ceiling_bps(self._fps) * self._headroom
        wanted_bps = self._ceiling_bps(self._fps / Fraction(self._share))
        if self._target_bps is not None:
            wanted_bps = min(wanted_bps, self._target_bps)
        return min(round(wanted_bps * self._share), opened_bps)

    @property
    def _headroom(self) -> int:
        return HEADROOM if self._outlet is None else 1

    def _ceiling_bps(self, fps: Fraction) -> int:
        assert self._context is not None
        return live_bitrate_bps(self._settings, self._context.width, self._context.height, fps)

    def _wanted_for(
        self, frame: Frame, planes: Planes
    ) -> tuple[int, int, Color, Fraction, EncodeSettings]:
        """What an encoder of this frame has to be opened for."""
        return (*size_of(planes), frame.color, frame.sample_aspect, self._settings)

    def _open(self, frame: Frame, planes: Planes) -> None:
        # Noted before settings are read: those that another thread sets meanwhile open it anew.
        wanted = self._wanted_for(frame, planes)
        if self._may_be_on_device:
            self._outlet = outlet_for(planes, self._settings)
        outlet = self._outlet
        name = "libx264" if outlet is None else outlet.encoder
        context = av.CodecContext.create(name, "w")
        assert isinstance(context, av.VideoCodecContext)
        context.width, context.height = size_of(planes)
        context.pix_fmt = "yuv420p" if outlet is None else outlet.pix_fmt
        self._time_base = _encoder_time_base(frame.time_base)
        context.time_base = self._time_base
        context.framerate = self._fps
        context.sample_aspect_ratio = frame.sample_aspect
        context.color_range = FULL if frame.color.range == "full" else LIMITED
        context.colorspace = MATRIX_CODES.get(frame.color.matrix, UNSPECIFIED)
        context.color_primaries = PRIMARIES_CODES.get(frame.color.primaries, UNSPECIFIED)
        context.color_trc = TRANSFER_CODES.get(frame.color.transfer, UNSPECIFIED)
        context.max_b_frames = 0
        context.gop_size = max(1, round(self._fps * (4 if self._is_live else 8)))
        self._context = context
        context.options = self._live_options() if self._is_live else self._file_options()
        self._opened_for = wanted

    def _live_options(self) -> dict[str, str]:
        assert self._context is not None
        bps = self._ceiling_bps(self._fps)
        self._context.bit_rate = bps * self._headroom
        if self._outlet is not None:
            return encoding.live_options(bps)
        return {
            "preset": self._settings.preset or "ultrafast",
            "tune": "zerolatency",
            # As much as its bitrate: only then does it follow that down.
            "maxrate": str(bps * HEADROOM),
            # A quarter of a second: a keyframe may be several times a mean frame, no more.
            "bufsize": str(bps // 4),
            "forced-idr": "1",
            "x264-params": "repeat-headers=1:scenecut=0:aud=0",
        }

    def _file_options(self) -> dict[str, str]:
        if self._outlet is not None:
            return encoding.file_options(self._settings)
        options = {
            "preset": self._settings.preset or "veryfast",
            "forced-idr": "1",
            "x264-params": "repeat-headers=1",
        }
        if self._settings.bitrate_kbps is None:
            return {**options, "crf": str(self._settings.crf)}
        bps = self._settings.bitrate_kbps * 1000
        return {**options, "b": str(bps), "maxrate": str(bps), "bufsize": str(bps)}


def live_bitrate_bps(
    settings: EncodeSettings, width: int, height: int, fps: Fraction | None
) -> int:
    """The bitrate of a live encode: as set, else in proportion to what is to be shown."""
    if settings.bitrate_kbps is not None:
        return settings.bitrate_kbps * 1000
    return max(500_000, round(BITS_PER_PIXEL * width * height * float(fps or 30)))


def _encoder_time_base(of_input: Fraction) -> Fraction:
    """90 kHz where it holds every input tick exactly, else the input's own, so none is rounded."""
    exact = (of_input / RTP_TIME_BASE).denominator == 1
    return RTP_TIME_BASE if exact or of_input < Fraction(1, 10_000_000) else of_input
