"""Packets to frames, with libav; every input leaves as upright, progressive 8-bit 4:2:0."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import av
import av.error
import numpy as np
from av.video.reformatter import Interpolation

from streamer.clock import Clock
from streamer.color import FULL, LIMITED, MATRIX_CODES, color_of
from streamer.decode_context import open_best, open_on_host, tells_motion
from streamer.errors import SourceLost
from streamer.frame import Damage, Frame, Packet, Plane, Planes
from streamer.gpu.door import Gpu
from streamer.gpu.hardware import HardwareDecoder
from streamer.gpu.pictures import DeviceFrame
from streamer.media import VideoInfo
from streamer.metrics import Metrics
from streamer.ops.aspect import SampleAspect
from streamer.ops.damage import NO_VECTORS, LossMemory, coded_motion, made_up_rows
from streamer.ops.deinterlace import Deinterlacer, shape_of
from streamer.ops.even import EvenSides
from streamer.ops.upright import Turn, turn_stated, upright
from streamer.rtp.h264_missing import MissingPictures

WHOLE_S = 10
"""So long nothing may have been lost before a device decodes again: each loss costs the pictures since a
keyframe once more."""

_NATIVE = ("yuv420p", "yuvj420p")


class Decoder:
    """One stream's decoder; called from one thread only."""

    def __init__(
        self,
        video: VideoInfo,
        *,
        low_delay: bool,
        clock: Clock,
        metrics: Metrics,
        gpu: Gpu | None = None,
    ) -> None:
        """With ``low_delay`` a frame waits for later packets only where the stream may reorder.

        Pictures stay on the device of ``gpu``, where that decodes them.
        """
        self._gpu = gpu
        self._low_delay = low_delay
        self._clock = clock
        self._metrics = metrics
        self._context: Any
        self._marks = (False, False)
        """Whether libav marked the last two packets as damaged, and the one that follows is to tell."""
        self._begin(video)
        if gpu is None:
            # A device is opened in the thread that decodes.
            self._context = open_on_host(video, low_delay=low_delay)
        self._arrived_ns = self._released_ns = 0
        self._last_pts: int | None = None
        self._next_pts = 0
        self._stated_pts: int | None = None
        """What the input said of the last frame's time."""
        self.refused = 0
        """Packets that came damaged, could not be decoded, or gave a damaged picture."""

    def decode(self, packet: Packet) -> list[Frame]:
        """The frames that are ready after ``packet``; a damaged packet gives none and is counted."""
        began_ns = self._clock.now_ns()
        frames: list[Frame] = []
        if packet.video is not None and packet.video is not self._video:
            # Another camera, or the same one after a break: nothing refers to what came before. Live,
            # what was held then is of another moment.
            frames = [] if self._low_delay else self.flush()
            self._begin(packet.video)
        if self._context is None:
            self._context = open_best(self._video, low_delay=self._low_delay, gpu=self._gpu)
        damage = self._losses.see(packet)
        if damage is not None and self._video.codec == "vp8":
            # Its probabilities went with what was lost: 18.7 dB against 21 for the last picture,
            # on average until the next keyframe.
            self._metrics.count("dropped.decode.after_loss")
            return frames
        frames += self._where_it_is_mended(packet, damage)
        frames += self._make_up(packet)
        native = _native(packet)
        self._look_for_marks(packet, is_marked=native.is_corrupt)
        native.opaque = _Arrival(packet.arrived_ns, damage, packet if packet.gaps else None)
        self._arrived_ns = packet.arrived_ns
        self._released_ns = packet.stamps_ns.get("released", packet.arrived_ns)
        frames += self._take(native)
        self._metrics.time("decode", (self._clock.now_ns() - began_ns) / 1e6)
        return frames

    def flush(self) -> list[Frame]:
        """What the decoder still holds; the stream has ended."""
        self.refused += sum(self._marks)
        self._marks = (False, False)
        frames = self._take(None) if self._context is not None else []
        if self._deinterlacer is not None:
            frames += [self._as_frame(f) for f in self._deinterlacer.push(None)]
        return frames

    def close(self) -> None:
        """Throw away what the decoder still holds, so that it can be freed.

        Note [Freeing a decoder]: libav's threads give packets back under the interpreter's lock, and
        whoever frees a decoder holds that while it waits for them: it has to be empty by then.
        """
        self.flush()

    def _begin(self, video: VideoInfo) -> None:
        """Nothing is known of a stream but what it is said to be."""
        self._video = video
        self._context = None
        self._deinterlacer: Deinterlacer | None = None
        self._losses = LossMemory()
        self._lost_s: Fraction | None = None
        """When something was lost last, in media time."""
        self._missing = _missing_pictures(video, low_delay=self._low_delay)
        self._turn = Turn()
        self._aspect = SampleAspect(video.sample_aspect)
        self._even_sides = EvenSides()

    @property
    def _is_mended(self) -> bool:
        """Whether pictures are to tell what ``enhance.conceal`` needs once something was lost."""
        return self._low_delay and tells_motion(self._video)

    @property
    def notice(self) -> str:
        """What the user must see of where it decodes; empty where that is as asked for."""
        return self._context.notice if isinstance(self._context, HardwareDecoder) else ""

    def damage_to(self, source: str) -> SourceLost | None:
        """What to say of a file that was not whole; ``None`` where it was, and of live streams."""
        if self._low_delay or not self.refused:
            return None
        return SourceLost(
            f"{source} is damaged: {self.refused} of its packets could not be decoded in full; "
            "the output has every other frame, copy the file again for the rest"
        )

    def _look_for_marks(self, packet: Packet, *, is_marked: bool) -> None:
        """Count what is damaged by libav's word, and leave to the decoder what may be whole.

        Where packets of a transport stream do not follow on, libav's parser marks the picture before the
        one that it was gathering. Where a keyframe comes after that, it may have been whole: another
        recording was put behind it. There the decoder's flags alone tell, and with frame threads on busy
        cores they were missing in 1 of 130 runs.
        """
        before, last = self._marks
        self.refused += before and not packet.is_keyframe
        self._marks = (last, is_marked)

    def _where_it_is_mended(self, packet: Packet, damage: Damage | None) -> list[Frame]:
        """Has what is damaged decoded on the processor, as devices do not tell how pictures move; frames
        of earlier packets that had not left."""
        context = self._context
        if not isinstance(context, HardwareDecoder) or not self._is_mended or context.has_b_frames:
            return []
        if damage is not None and not damage.pictures_since:
            self._lost_s = packet.time_s
        is_whole = self._lost_s is None or packet.time_s - self._lost_s >= WHOLE_S
        if damage is not None or (packet.is_keyframe and not is_whole):
            return self._shown(context.go_to_host(is_at_keyframe=packet.is_keyframe))
        return self._shown(context.come_back()) if packet.is_keyframe else []

    def _make_up(self, packet: Packet) -> list[Frame]:
        """Give the decoder what stands for the pictures that are missing before ``packet``.

        It may let go of earlier ones. See Note [Missing frame numbers] in ``rtp/h264_missing.py``.
        """
        if self._missing is None:
            return []
        frames: list[Frame] = []
        for unit in self._missing.before(packet.payload, follows_loss=packet.follows_loss):
            native = av.Packet(unit)
            native.opaque = _MadeUp()
            frames += self._take(native)
        return frames

    def _take(self, native: av.Packet[Any] | None) -> list[Frame]:
        try:
            decoded = self._context.decode(native)
        except av.error.EOFError:
            return []
        except av.error.FFmpegError:
            self.refused += 1
            self._metrics.count("dropped.decode.refused")
            return []
        return self._shown(decoded)

    def _shown(self, decoded: list[av.VideoFrame]) -> list[Frame]:
        ready: list[av.VideoFrame] = []
        for picture in decoded:
            if isinstance(picture.opaque, _MadeUp):
                # A predicted frame has stood at its time already.
                continue
            if min(picture.width, picture.height) < 2:
                # A single line or column has no 4:2:0.
                self.refused += 1
                self._metrics.count("dropped.decode.too_small")
                continue
            self.refused += picture.is_corrupt
            ready += self._progressive(picture)
        return [self._as_frame(picture) for picture in ready]

    def _progressive(self, picture: av.VideoFrame) -> list[av.VideoFrame]:
        if self._deinterlacer is None and picture.interlaced_frame:
            self._deinterlacer = Deinterlacer(picture, self._video.time_base)
        if self._deinterlacer is None:
            return [picture]
        ready = []
        if self._deinterlacer.shape != shape_of(picture):
            ready = self._deinterlacer.push(None)
            self._deinterlacer = Deinterlacer(picture, self._video.time_base)
        return ready + self._deinterlacer.push(picture)

    def _as_frame(self, picture: av.VideoFrame) -> Frame:
        color = color_of(picture, picture.format.name)
        duration = picture.duration or self._nominal_duration()
        pts = self._time_of(picture, duration)
        turn = self._turn = self._turn_of(picture)
        arrival = picture.opaque if isinstance(picture.opaque, _Arrival) else None
        aspect = self._aspect.after(getattr(self._context, "sample_aspect_ratio", None))
        damage = None if arrival is None else self._damage(picture, arrival)
        there = (
            self._context.planes(picture) if isinstance(self._context, HardwareDecoder) else None
        )
        if there is None and picture.format.name not in _NATIVE:
            cut = self._even_sides.of(picture)
            picture = _converted(cut, matrix=color.matrix, full=color.range == "full")
        kind = Frame if there is None else DeviceFrame
        return kind(
            planes=there or upright(_even(picture), turn),
            pts=pts,
            time_base=self._video.time_base,
            duration=duration,
            arrived_ns=self._arrived_ns if arrival is None else arrival.ns,
            color=color,
            sample_aspect=1 / aspect if turn.is_transposed else aspect,
            damage=damage,
            stamps_ns={"released": self._released_ns, "decoded": self._clock.now_ns()},
        )

    def _damage(self, picture: av.VideoFrame, arrival: _Arrival) -> Damage | None:
        """What is known of the picture's damage now that it is decoded."""
        damage = arrival.damage
        is_told = self._is_mended and not any(self._turn)
        # Among B-frames a vector leads to another picture than the one that is shown before. Devices
        # tell none.
        is_told = is_told and picture.format.name in _NATIVE and not self._context.has_b_frames
        if damage is None or not is_told:
            return damage
        told: Any = picture.side_data.get("MOTION_VECTORS")
        vectors = NO_VECTORS if told is None else told.to_ndarray()
        size = {"width": picture.width & ~1, "height": picture.height & ~1}
        rows = made_up_rows(vectors, arrival.packet, **size) if arrival.packet else ()
        return replace(damage, lost_rows=rows, motion=coded_motion(vectors, **size))

    def _turn_of(self, picture: av.VideoFrame) -> Turn:
        """How to hold it: H.264 and H.265 may say so with the keyframe alone, for all up to the next."""
        stated: Any = picture.side_data.get("DISPLAYMATRIX")
        if stated is not None:
            return turn_stated(bytes(stated))
        return Turn() if picture.key_frame else self._turn

    def _time_of(self, picture: av.VideoFrame, duration: int) -> int:
        """Its pts; where the input states none (raw H.264) or one that does not lie after the last
        (B-frames in AVI, damage, the same one twice), the end of the last frame.

        Whoever has been moved behind its own time by that makes half of the time good, so that pictures
        do not fall behind the sound with each time stamp that comes twice.
        """
        stated, before, last = picture.pts, self._stated_pts, self._last_pts
        self._stated_pts = stated
        pts = self._next_pts if stated is None else stated
        if stated is not None and last is not None and stated <= last:
            late = stated + duration - last
            is_next = before is not None and stated > before and late > 0
            pts = last + max(1, late // 2) if is_next else self._next_pts
        self._last_pts = pts
        self._next_pts = pts + max(1, duration)
        return pts

    def _nominal_duration(self) -> int:
        if not self._video.fps:
            return 0
        return round(1 / self._video.fps / self._video.time_base)


def _missing_pictures(video: VideoInfo, *, low_delay: bool) -> MissingPictures | None:
    """Only where the payload tells all that is needed: beside an ``extradata`` it may lack both
    parameter sets and start codes."""
    tells_all = low_delay and tells_motion(video) and not video.extradata
    return MissingPictures() if tells_all else None


def _native(packet: Packet) -> av.Packet[Any]:
    if isinstance(packet.payload, av.Packet):
        return packet.payload
    native = av.Packet(packet.payload)
    native.pts, native.dts, native.duration = packet.pts, packet.dts, packet.duration
    native.time_base = packet.time_base
    native.is_keyframe = packet.is_keyframe
    return native


class _Arrival:
    """Rides through the decoder on the packet and comes out on its frame."""

    __slots__ = ("damage", "ns", "packet")

    def __init__(self, ns: int, damage: Damage | None, packet: Packet | None) -> None:
        self.ns = ns
        self.damage = damage
        self.packet = packet
        """The packet itself where it came with gaps."""


class _MadeUp:
    """Rides on what stands for a picture that never came; each packet needs one of its own, which
    PyAV forgets with it."""


def _converted(picture: av.VideoFrame, *, matrix: str, full: bool) -> av.VideoFrame:
    """8-bit 4:2:0 with the same pts; values keep their matrix and range, RGB is given one."""
    code = _SWS_MATRIX.get(matrix, av.video.reformatter.Colorspace.ITU601)
    wanted = FULL if full else LIMITED
    converted = picture.reformat(
        format="yuv420p",
        interpolation=_EXACTLY if picture.format.is_rgb else None,
        src_colorspace=code,
        dst_colorspace=code,
        src_color_range=FULL if full or picture.format.is_rgb else LIMITED,
        dst_color_range=wanted,
    )
    converted.colorspace = MATRIX_CODES.get(matrix, 2)
    return converted


_EXACTLY = Interpolation.BILINEAR | Interpolation.ACCURATE_RND
"""libav's fast way from packed RGB truncates: all of the picture would be half a code value darker."""

_SWS_MATRIX = {
    "bt709": av.video.reformatter.Colorspace.ITU709,
    "bt601": av.video.reformatter.Colorspace.ITU601,
    "fcc": av.video.reformatter.Colorspace.FCC,
    "smpte240m": av.video.reformatter.Colorspace.SMPTE240M,
}


def _even(picture: av.VideoFrame) -> Planes:
    """The planes where libav keeps them, without a copy; an odd last line or column is cut."""
    width, height = picture.width & ~1, picture.height & ~1
    y, u, v = (_view(plane) for plane in picture.planes)
    half = (slice(height // 2), slice(width // 2))
    return (y[:height, :width], u[half], v[half])


def _view(plane: Any) -> Plane:
    # See Note [Picture memory] in ops/memory.py for what keeps it alive.
    return np.from_dlpack(plane)  # type: ignore[return-value]
