"""Decoding on the device by libav (NVDEC): pictures stay there, and the processor stands in.

A decoder's picture is taken over as three planes of 8 bits in memory of ours, so that its own few
surfaces are free for the next ones. It has a door of its own: a door belongs to one thread.

Note [libav's context]
~~~~~~~~~~~~~~~~~~~~~~
libav works in the context that is current in the calling thread (``current_ctx``): ours, so that
pictures pass without a copy. Asked for the primary context by its own way, which PyAV does by
itself, it refuses one that somebody else has opened before with other flags ("Primary context
already active with incompatible flags"), as CUDA's runtime, PyTorch and we do.
"""

from __future__ import annotations

import ctypes
import logging
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from functools import partial
from itertools import count
from typing import Any
from weakref import finalize

import av
import av.error
from av.codec.hwaccel import HWAccel

from kernels import launch
from kernels.arguments import Layout
from kernels.errors import KernelError
from kernels.stream import Event
from streamer.errors import EngineError
from streamer.gpu.arrays import CUDA, device_array, even, picture_of
from streamer.gpu.door import Gpu
from streamer.gpu.memory import Lease
from streamer.gpu.pictures import (
    Canvas,
    DevicePicture,
    DevicePlanes,
    Failure,
    Landing,
    host_planes,
    lent,
    size_bytes,
)
from streamer.infer.device import ours
from streamer.media import VideoInfo

_log = logging.getLogger(__name__)

LAYOUTS = {"nv12": Layout.NV12, "p010le": Layout.P010}
"""What decoders of a device give, by libav's names."""

KEPT_PACKETS = 900
"""To go on with on the processor: two runs between keyframes of 15 seconds at 30 fps. A stream with
longer ones goes on with its next keyframe."""

REPLAYED_PACKETS = 60
"""At most so many are decoded again because one was lost: each takes a core 0.7 ms at 640x360 and 4
at 1080p (H.264 of 1 and 4 Mbit/s), and all that time the stream stands."""

SUM_BYTES = ctypes.sizeof(ctypes.c_uint64)

_contents = count()
"""Numbers for pictures that show something new."""


def open_decoder(video: VideoInfo, gpu: Gpu, *, max_pixels: int) -> Any:
    """libav's decoder on the device, not opened yet, its frames staying there.

    Of a stream that the device cannot decode (its profile, its size, also from some picture on) it
    gives pictures of the host. Raises ``EngineError`` where the device has no decoder for this codec.
    """
    gpu.enter()
    # See Note [libav's context].
    accelerated = HWAccel(
        "cuda",
        is_hw_owned=True,
        allow_software_fallback=True,
        options={"primary_ctx": "0", "current_ctx": "1"},
    )
    try:
        context = av.CodecContext.create(video.codec, "r", hwaccel=accelerated)
    except (av.error.FFmpegError, NotImplementedError, RuntimeError, ValueError) as error:
        raise EngineError(
            f"libav opens no {video.codec} decoder on the device ({error}); see that nvidia-smi lists it "
            "and that its driver is of CUDA 12 or newer"
        ) from error
    if not context.is_hwaccel:
        raise EngineError(
            f"no device decodes {video.codec}; send H.264 or H.265 to have it decoded there"
        )
    context.options = {"max_pixels": str(max_pixels)}
    told = video.codec_parameters
    extradata = video.extradata or (told.codec_context.extradata if told is not None else None)
    if extradata:
        context.extradata = extradata
    return context


class HardwareDecoder:
    """A decoder on the device, and one on the processor once that fails; takes packets as libav's
    own do. Belongs to one thread.

    What came since the last keyframe but one is decoded again on the processor then, and only what
    has not left yet leaves: a stream loses nothing with its device. Where packets are lost, the
    processor takes over in the same way for a while, as it tells how pictures move.
    """

    def __init__(
        self, open_on_device: Callable[[], tuple[Any, Intake]], *, open_on_host: Callable[[], Any]
    ) -> None:
        """Both open libav's decoder; the one on the device raises ``EngineError`` where there is none,
        and its pictures are taken over by the intake."""
        self.notice = ""
        """Why pictures are decoded on the processor after all; empty while they are not."""
        self._on_host = open_on_host
        self._context: Any
        self._intake: Intake | None = None
        self._resting: tuple[Any, Intake] | None = None
        """What decodes on the device, while the processor does it for a time."""
        try:
            self._context, self._intake = open_on_device()
        except EngineError as error:
            self._say(str(error))
            self._context = open_on_host()
        self._runs: deque[list[Any]] = deque(maxlen=2)
        """Packets, from each of the last two keyframes on."""
        self._last_pts: int | None = None
        """Of what has left, until something after it comes from the processor."""
        self._taken: dict[int, DevicePlanes] = {}
        """By picture, until they are asked for."""
        self._works_on_rows = False

    @property
    def has_b_frames(self) -> bool:
        return bool(self._context.has_b_frames)

    def decode(self, packet: Any) -> list[av.VideoFrame]:
        """As libav's ``decode``; what stays on the device is fetched by ``planes``.

        Raises libav's errors where the packet is to blame.
        """
        if self._intake is None:
            return self._new(self._context.decode(packet))
        if packet is not None:
            self._keep(packet)
        try:
            decoded = list(self._context.decode(packet))
            pictures = [self._entered(picture) for picture in decoded]
        except (av.error.InvalidDataError, av.error.EOFError):
            raise
        except (av.error.FFmpegError, EngineError) as error:
            return self._leave(error, is_last=packet is None)
        for picture in pictures:
            self._last_pts = self._last_pts if picture.pts is None else picture.pts
        return pictures

    def go_to_host(self, *, is_at_keyframe: bool) -> list[av.VideoFrame]:
        """The processor decodes from the next packet on, until ``come_back``; pictures of earlier ones
        that had not left. Nothing changes where too much would have to be decoded again for that.

        Only for streams without B-frames, whose decoders hold nothing back at a keyframe.
        """
        again = self._runs[-1] if self._runs and not is_at_keyframe else []
        can_begin = is_at_keyframe or 0 < len(again) <= REPLAYED_PACKETS
        if self._intake is None or not can_begin:
            return []
        _log.info("packets were lost: the CPU decodes for a while, so that pictures can be mended")
        self._resting = self._context, self._intake
        self._context, self._intake = self._on_host(), None
        self._taken.clear()
        return self._new(self._replayed(again))

    def come_back(self) -> list[av.VideoFrame]:
        """To the device, if it can do this stream, with the keyframe that comes next; pictures that the
        processor still held."""
        if self._resting is None:
            return []
        held = self._new(self._replayed([None]))
        (self._context, self._intake), self._resting = self._resting, None
        # What it knew of pictures ended with the loss.
        self._context.flush_buffers()
        self._runs.clear()
        self._last_pts = None
        return held

    def planes(self, picture: av.VideoFrame) -> DevicePlanes | None:
        """The planes of a picture that ``decode`` gave last; ``None`` for one that is on the host."""
        return self._taken.pop(id(picture), None)

    def _keep(self, packet: Any) -> None:
        self._taken.clear()
        if packet.is_keyframe:
            self._runs.append([])
        if self._runs:
            self._runs[-1].append(packet)
        if sum(map(len, self._runs)) > KEPT_PACKETS:
            self._runs.clear()

    def _entered(self, picture: av.VideoFrame) -> av.VideoFrame:
        """The picture with its planes taken over, or on the host where that is worked on."""
        assert self._intake is not None
        if not self._intake.knows(picture):
            raise EngineError(
                "the device does not decode this profile or size, or its driver has no libnvcuvid; send "
                "H.264 of 8 bits, or H.265, as 4:2:0, and give a container NVIDIA_DRIVER_CAPABILITIES "
                "with video to have it decoded there"
            )
        # Deinterlacing and turning work on rows in memory of the host.
        is_turned = picture.side_data.get("DISPLAYMATRIX") is not None
        self._works_on_rows |= picture.interlaced_frame or is_turned
        if self._works_on_rows:
            return self._intake.downloaded(picture)
        self._taken[id(picture)] = self._intake.planes(picture)
        return picture

    def _leave(self, error: Exception, *, is_last: bool) -> list[av.VideoFrame]:
        """On the processor from here on: the pictures that have not left yet."""
        self._say(str(error))
        self._context, self._intake = self._on_host(), None
        self._taken.clear()
        kept = [packet for run in self._runs for packet in run]
        pictures = self._replayed([*kept, *([None] if is_last else [])])
        self._runs.clear()
        return self._new(pictures)

    def _replayed(self, packets: Iterable[Any]) -> list[av.VideoFrame]:
        """All that the processor makes of packets, as far as it can."""
        pictures: list[av.VideoFrame] = []
        for packet in packets:
            with suppress(av.error.FFmpegError):
                pictures += self._context.decode(packet)
        return pictures

    def _new(self, pictures: Iterable[av.VideoFrame]) -> list[av.VideoFrame]:
        """Those that have not left before, of what the processor decodes; it may hold some back."""
        new: list[av.VideoFrame] = []
        for picture in pictures:
            last = self._last_pts
            if last is None or (picture.pts is not None and picture.pts > last):
                self._last_pts = None
                new.append(picture)
        return new

    def _say(self, why: str) -> None:
        if not self.notice:
            self.notice = f"pictures are decoded on the CPU: {why}"
            _log.warning("%s", self.notice)


class Intake:
    """Takes over a decoder's pictures; belongs to the thread that decodes."""

    def __init__(self, gpu: Gpu, *, kind: int = CUDA) -> None:
        """``gpu`` is for this alone, and closed with it, also where this raises ``EngineError``; ``kind``
        is DLPack's of its memory."""
        self._gpu = gpu
        self._kind = kind
        try:
            with ours():
                self._decoded = Event(gpu.device)
        except EngineError:
            gpu.close()
            raise
        self._last: DevicePicture | None = None
        self._content = next(_contents)
        self.close = finalize(self, _close, gpu, self._decoded)
        """Pictures that left keep what they need. Done by itself once nobody holds this."""

    def knows(self, picture: av.VideoFrame) -> bool:
        """Whether the picture is on the device."""
        return picture.format.name == "cuda" if self._kind == CUDA else _layout(picture) in LAYOUTS

    def planes(self, picture: av.VideoFrame) -> DevicePlanes:
        """A picture of libav that is on the device; an odd last line or column is cut.

        Its planes are copied to the host when somebody looks at them, and not before. Raises
        ``EngineError``.
        """
        seen = _layout(picture)
        if seen not in LAYOUTS:
            raise EngineError(
                f"the device's decoder gives {seen}, not {' or '.join(LAYOUTS)}; send 4:2:0 to "
                "have it decoded there"
            )
        arrays = [device_array(plane, kind=self._kind) for plane in picture.planes]
        size = {"width": picture.width & ~1, "height": picture.height & ~1}
        return self.taken_over(picture_of(even(arrays, **size), LAYOUTS[seen]))

    def downloaded(self, picture: av.VideoFrame) -> av.VideoFrame:
        """The picture on the host, by libav."""
        self._gpu.metrics.count("copied.rows")
        return picture.reformat(format=_layout(picture))

    def taken_over(self, there: DevicePicture) -> DevicePlanes:
        """A picture of pairs as one of ours; what it is taken from may go when this is done."""
        gpu, (width, height) = self._gpu, there.size
        gpu.enter()
        with ours():
            # libav decodes on the null stream.
            self._decoded.record()
            gpu.compute.wait_for(self._decoded)
            out = lent(gpu, Layout.YUV420P, width, height, stream=gpu.compute)
            with out.memory.writing(gpu.compute):
                gpu.launch(launch.planar(there.at, out.at))
            compared = self._compared(out)
            # From here on the decoder may use its surface again.
            gpu.compute.wait()
            landed = gpu.pinned.lease(size_bytes(Layout.YUV420P, width, height), gpu.downloads)
        if compared is None or ctypes.c_uint64.from_address(compared.address).value:
            self._content = next(_contents)
        self._last = out
        canvas = Canvas(out, None, landed, lands_at_once=False, name="decoded")
        planes = host_planes(landed, width, height)

        def settle(failure: Failure | None) -> None:
            if failure is not None:
                # It went with the device: grey is all that is left of it.
                gpu.metrics.count("gpu.lost")
                for plane in planes:
                    plane[:] = 128

        landing = Landing(
            gpu.device, [landed.ready], settle, begin=gpu.later(partial(canvas.send, gpu))
        )
        return DevicePlanes(planes, landing, out, gpu=gpu, content=self._content)

    def _compared(self, picture: DevicePicture) -> Lease | None:
        """Where it lands how far the luma is from the last one's; ``None`` without such a one."""
        gpu, last = self._gpu, self._last
        if last is None or last.size != picture.size:
            return None
        there = gpu.memory.lease(SUM_BYTES, gpu.compute)
        landed = gpu.pinned.lease_for_host(SUM_BYTES)
        with ExitStack() as used:
            for one in (last, picture):
                used.enter_context(one.memory.reading(gpu.compute))
            counts = used.enter_context(there.writing(gpu.compute))
            target = used.enter_context(landed.writing(gpu.compute))
            gpu.compute.fill(counts, 0, SUM_BYTES)
            lumas = last.planes()[0], picture.planes()[0]
            gpu.launch(launch.difference(*lumas, out=counts))
            gpu.compute.download(target, counts, SUM_BYTES)
        return landed


def _layout(picture: av.VideoFrame) -> str:
    """How it lies in memory, by libav's name."""
    return picture.sw_format.name if picture.sw_format is not None else picture.format.name


def _close(gpu: Gpu, event: Event) -> None:
    with suppress(KernelError):
        gpu.device.enter()
        event.close()
    gpu.close()
