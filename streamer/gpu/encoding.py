"""Encoding on the device by libav (NVENC): pictures go there as they are, without the host.

Only what libav's ``h264_nvenc`` takes is made of them, luma and pairs in one piece of memory: it
registers the address of luma and expects the pairs right behind it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from fractions import Fraction
from functools import cache
from typing import Any
from weakref import finalize

import av
import av.error
from av.video.frame import CudaContext

from kernels import launch
from kernels.arguments import Layout, Picture
from streamer.config import EncodeSettings
from streamer.errors import EngineError
from streamer.frame import Planes
from streamer.gpu.arrays import CUDA, Exported
from streamer.gpu.door import Gpu
from streamer.gpu.memory import Lease
from streamer.gpu.pictures import DevicePlanes
from streamer.infer.device import ours

_log = logging.getLogger(__name__)

NVENC = "h264_nvenc"

PROBED = {"gpu": "0"}
"""Of the encoder, when it is tried: libav would take any card that encodes, pictures are on the first."""

PITCH = 256
"""Bytes that rows of what is encoded are a multiple of, as those of libav's own frames."""


@cache
def encoder_on_device() -> str | None:
    """libav's name of the device's encoder; ``None``, and one line in the log, for a card without
    one, such as A100, H100 and H200: then each picture is copied to the host once."""
    try:
        context = av.CodecContext.create(NVENC, "w")
        assert isinstance(context, av.VideoCodecContext)
        context.width, context.height, context.pix_fmt = 256, 256, "yuv420p"
        context.time_base = Fraction(1, 30)
        context.options = dict(PROBED)
        context.open()
    except (av.error.FFmpegError, NotImplementedError, ValueError) as error:
        _log.info("H.264 is encoded on the CPU: the device does not do it (%s)", error)
        return None
    return NVENC


def encodes(settings: EncodeSettings) -> bool:
    """Whether the device has an encoder for these: ``preset`` names one of libx264's."""
    return settings.preset is None and encoder_on_device() is not None


def live_options(bps: int) -> dict[str, str]:
    """For a stream that is watched: each packet leaves with its picture, a quarter second of buffer,
    and what browsers take, as libx264's ``ultrafast`` gives it."""
    return {
        "preset": "p3",
        "tune": "ull",
        "profile": "baseline",
        "rc": "cbr",
        "maxrate": str(bps),
        "bufsize": str(bps // 4),
        "zerolatency": "1",
        "delay": "0",
        "rc-lookahead": "0",
        "forced-idr": "1",
        "no-scenecut": "1",
    }


def file_options(settings: EncodeSettings) -> dict[str, str]:
    """For a file: by quality, or by rate where one is set. NVENC's ``cq`` counts as libx264's crf
    does, the same number is not the same quality.

    Each packet leaves with its picture, so that none goes with a device that is lost.
    """
    options = {"preset": "p5", "tune": "hq", "forced-idr": "1", "rc": "vbr", "delay": "0"}
    if settings.bitrate_kbps is None:
        # 0 would leave it to the encoder.
        return {**options, "cq": str(max(1, settings.crf)), "b": "0"}
    bps = str(settings.bitrate_kbps * 1000)
    return {**options, "b": bps, "maxrate": bps, "bufsize": bps}


class Outlet:
    """Gives pictures of a device to libav's encoder there; belongs to the thread that encodes.

    All is queued on one stream, the encoder's reading with it, so that nobody waits and memory is
    used again only behind it.
    """

    encoder = NVENC
    """libav's name of it."""

    def __init__(self, gpu: Gpu, *, kind: int = CUDA) -> None:
        """``gpu`` is for this alone, and closed with it; ``kind`` is DLPack's of its memory."""
        self._gpu = gpu
        self._kind = kind
        self._context: CudaContext | None = None
        self.close: Callable[[], Any] = finalize(self, gpu.close)
        """After the encoder. Done by itself once nobody holds this."""

    @property
    def pix_fmt(self) -> str:
        """What the encoder is to be opened for."""
        return "cuda" if self._kind == CUDA else "nv12"

    def picture(self, planes: Planes) -> av.VideoFrame | None:
        """The picture as the encoder takes it; ``None`` where it is not on the device, or is not to be
        shown as it is there. Raises ``EngineError``."""
        there = planes.to_show() if isinstance(planes, DevicePlanes) else None
        if there is None:
            return None
        gpu, (width, height) = self._gpu, there.size
        gpu.enter()
        with ours(), ExitStack() as used:
            used.enter_context(there.memory.reading(gpu.compute))
            at, lease = self._leased(width, height)
            used.enter_context(lease.writing(gpu.compute))
            gpu.launch(launch.interleave(there.at, at))
        if self._kind != CUDA:
            with ours():
                gpu.compute.wait()
        return self._as_frame(at, lease)

    def _leased(self, width: int, height: int) -> tuple[Picture, Lease]:
        stride = -(-width // PITCH) * PITCH
        lease = self._gpu.memory.lease(stride * height * 3 // 2, self._gpu.compute)
        at = Picture(
            layout=Layout.NV12,
            width=width,
            height=height,
            luma=lease.address,
            chroma=lease.address + stride * height,
            luma_stride=stride,
            chroma_stride=stride,
        )
        return at, lease

    def _as_frame(self, at: Picture, lease: Lease) -> av.VideoFrame:
        planes = (
            Exported(at.luma, (at.height, at.width), at.luma_stride, lease, kind=self._kind),
            Exported(
                at.chroma, (at.height // 2, at.width // 2, 2), at.chroma_stride, lease,
                kind=self._kind,
            ),
        )  # fmt: skip
        if self._kind != CUDA:
            return av.VideoFrame.from_dlpack(planes, format="nv12")
        if self._context is None:
            # See Note [libav's context] in gpu/hardware.py. NVENC reads on our stream.
            self._context = CudaContext(
                primary_ctx=False, current_ctx=True, cuda_stream=self._gpu.compute.handle
            )
        try:
            return av.VideoFrame.from_dlpack(planes, format="nv12", cuda_context=self._context)
        except (av.error.FFmpegError, NotImplementedError, ValueError) as error:
            raise EngineError(
                f"libav takes no pictures of the device ({error}); encode with --backend ort-cpu"
            ) from error


def outlet_for(planes: Planes, settings: EncodeSettings) -> Outlet | None:
    """What encodes pictures such as this one on the device; ``None`` where they are on the host, or
    the host has to."""
    gpu = planes.gpu if isinstance(planes, DevicePlanes) else None
    if gpu is None or not encodes(settings):
        return None
    try:
        return Outlet(gpu.another())
    except EngineError as error:
        _log.warning("pictures are encoded on the CPU: %s", error)
        return None
