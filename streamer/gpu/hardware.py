"""Decoding on the device by libav (NVDEC), whose pictures stay there; and whether it can encode.

A decoder's picture is taken over as three planes of 8 bits in memory of ours, so that its own few
surfaces are free for the next ones. It has a door of its own: a door belongs to one thread.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from fractions import Fraction
from functools import cache
from threading import Lock
from typing import Any

import av
import av.error
from av.codec.hwaccel import HWAccel

from kernels import launch
from kernels.arguments import Layout
from kernels.errors import KernelError
from kernels.stream import Event
from streamer.errors import EngineError
from streamer.gpu.arrays import device_array, picture_of
from streamer.gpu.door import Gpu, ours
from streamer.gpu.pictures import (
    Canvas,
    DevicePicture,
    DevicePlanes,
    Landing,
    host_planes,
    lent,
    size_bytes,
)
from streamer.media import VideoInfo

_log = logging.getLogger(__name__)

LAYOUTS = {"nv12": Layout.NV12, "p010le": Layout.P010}
"""What decoders of a device give, by libav's names."""

_NVENC = {"h264": "h264_nvenc", "hevc": "hevc_nvenc"}

_said: set[str] = set()


def open_decoder(video: VideoInfo) -> Any | None:
    """libav's decoder on the device, its frames staying there; ``None``, and once a line in the log,
    where there is none for this codec. A stream that the device cannot decode comes as pictures of
    the host."""
    accelerated = HWAccel("cuda", is_hw_owned=True, allow_software_fallback=True)
    try:
        context = av.CodecContext.create(video.codec, "r", hwaccel=accelerated)
    except (av.error.FFmpegError, NotImplementedError, RuntimeError, ValueError) as error:
        _say_once(f"{video.codec} is decoded on the CPU: the device does not do it ({error})")
        return None
    told = video.codec_parameters
    extradata = video.extradata or (told.codec_context.extradata if told is not None else None)
    if extradata:
        context.extradata = extradata
    return context


@cache
def encoder_on_device(codec: str) -> str | None:
    """libav's name of the device's encoder; ``None``, and once a line in the log, for a card without
    one, such as A100, H100 and H200: then each picture is copied to the host once."""
    name = _NVENC.get(codec)
    if name is None:
        return None
    try:
        context = av.CodecContext.create(name, "w")
        assert isinstance(context, av.VideoCodecContext)
        context.width, context.height, context.pix_fmt = 256, 256, "yuv420p"
        context.time_base = Fraction(1, 30)
        context.open()
    except (av.error.FFmpegError, NotImplementedError, ValueError) as error:
        _say_once(f"{codec} is encoded on the CPU: the device does not do it ({error})")
        return None
    return name


class Intake:
    """Takes over a decoder's pictures; belongs to the thread that decodes."""

    def __init__(self, gpu: Gpu) -> None:
        """``gpu`` is for this alone, and closed with it."""
        self._gpu = gpu
        self._decoded = Event(gpu.device)

    def planes(self, picture: av.VideoFrame) -> DevicePlanes:
        """The picture on the device, one of libav's with the format ``cuda``.

        Its planes are copied to the host when somebody looks at them, and not before. Raises
        ``EngineError``.
        """
        seen = picture.sw_format.name if picture.sw_format is not None else picture.format.name
        if seen not in LAYOUTS:
            raise EngineError(
                f"the decoder gives {seen}, pictures of a device are {' or '.join(LAYOUTS)}; decode "
                "on the CPU with --backend ort-cpu"
            )
        arrays = [device_array(plane) for plane in picture.planes]
        return self.taken_over(picture_of(arrays, LAYOUTS[seen]))

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
            # From here on the decoder may use its surface again.
            gpu.compute.wait()
            landed = gpu.pinned.lease(size_bytes(Layout.YUV420P, width, height), gpu.downloads)
        canvas = Canvas(out, None, landed)
        landing = _OnDemand(gpu, canvas)
        return DevicePlanes(host_planes(landed, width, height), landing, out)

    def close(self) -> None:
        with suppress(KernelError):
            self._gpu.device.enter()
            self._decoded.close()
        self._gpu.close()


class _OnDemand(Landing):
    """Copies a picture to the host when its pixels are looked at for the first time."""

    _one_copy_at_a_time = Lock()

    def __init__(self, gpu: Gpu, canvas: Canvas) -> None:
        super().__init__(gpu.device, [canvas.landed.ready], _blame)
        self._gpu: Gpu | None = gpu
        self._canvas = canvas

    def wait(self) -> None:
        with self._one_copy_at_a_time:
            gpu, self._gpu = self._gpu, None
            if gpu is not None:
                gpu.enter()
                self._canvas.send(gpu)
        super().wait()


def _blame(failure: KernelError | None) -> None:
    if failure is not None:
        raise EngineError(str(failure)) from failure


def _say_once(text: str) -> None:
    if text not in _said:
        _said.add(text)
        _log.info("%s", text)
