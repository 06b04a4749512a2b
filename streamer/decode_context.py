"""Decoders of libav as streams want them: bounded, with the threads and the side data that are needed."""

from __future__ import annotations

from typing import Any, cast

import av
from av.sidedata.sidedata import Type as SideDataType

from streamer.gpu.door import Gpu
from streamer.gpu.hardware import HardwareDecoder, Intake, open_decoder
from streamer.media import VideoInfo

MAX_PIXELS = 8192 * 4608
"""Of one picture that a stranger sends: 8K and a little."""


def _unnamed(cls: type[SideDataType], code: int) -> SideDataType:
    """What libav attaches to a picture and PyAV has no name for, such as the EXIF of a photo (31);
    else none of the picture's side data could be looked at."""
    member: Any = object.__new__(cls)
    member._name_, member._value_ = f"UNNAMED_{code}", code
    return cast(SideDataType, member)


# In the whole process: PyAV makes a type of every entry before it gives any. What it has names for is as
# it was, all else would raise.
SideDataType._missing_ = classmethod(_unnamed)  # type: ignore[method-assign, assignment]


def open_on_host(video: VideoInfo, *, low_delay: bool) -> Any:
    """A ``CodecContext``; with ``low_delay`` a frame waits for later packets only where the stream may
    reorder. Who lets go of it empties it first: Note [Freeing a decoder] in ``decode.py``."""
    if video.codec_parameters is not None:
        context = video.codec_parameters.codec_context
    else:
        context = av.CodecContext.create(video.codec, "r")
        # A parameter set may announce any size; the memory for it is taken before a pixel comes.
        context.options = {"max_pixels": str(MAX_PIXELS)}
        if video.extradata:
            context.extradata = video.extradata
    return _configured(context, video, low_delay=low_delay)


def open_best(video: VideoInfo, *, low_delay: bool, gpu: Gpu | None) -> Any:
    """A decoder on the device where there is one, else on the processor."""

    def on_host() -> Any:
        return open_on_host(video, low_delay=low_delay)

    def on_device() -> tuple[Any, Intake]:
        assert gpu is not None
        context = open_decoder(video, gpu, max_pixels=MAX_PIXELS)
        _configured(context, video, low_delay=low_delay)
        # Each thread would hold surfaces of the device.
        context.thread_count = 1
        return context, Intake(gpu.another())

    return on_host() if gpu is None else HardwareDecoder(on_device, open_on_host=on_host)


def _configured(context: Any, video: VideoInfo, *, low_delay: bool) -> Any:
    # Frame threads hold back as many frames as there are threads; slice threads none.
    context.thread_type = "SLICE" if low_delay else "AUTO"
    context.copy_opaque = True
    if low_delay and not video.codec.startswith("mpeg"):
        # To MPEG-1, 2 and 4 the flag is a promise that there are no B-frames: pictures would leave in
        # coding order. Without it MPEG-1, and MPEG-2 that does not say low_delay, hold one back.
        context.flags |= av.codec.context.Flags.low_delay
    if low_delay and tells_motion(video):
        # libav makes up what is missing of a picture only without slice threads, which are worth
        # 0.7 ms of a 640x360 picture in four slices and nothing where a picture is one slice.
        context.thread_count = 1
        # How a picture moves says what of it was made up; free within what can be measured.
        context.flags2 |= av.codec.context.Flags2.export_mvs
    return context


def tells_motion(video: VideoInfo) -> bool:
    """Whether pictures come with the motion that they were coded by; only while a stream is live,
    and only where packets may be lost on the way to us."""
    return video.codec == "h264" and video.codec_parameters is None
