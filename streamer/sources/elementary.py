"""What streams of libav say of themselves, and what a bare one shows, found by decoding its first
keyframe."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import av.error

from streamer.color import color_of, is_rgb
from streamer.media import VideoInfo


def describe_video(
    codec: str,
    keyframe: bytes,
    *,
    extradata: bytes = b"",
    fps: Fraction | None = None,
    time_base: Fraction,
) -> VideoInfo | None:
    """The picture in ``keyframe``, by libav's name of its codec; ``None`` if it does not decode.

    Takes a decode's time, some milliseconds, on the calling thread.
    """
    context: Any = av.CodecContext.create(codec, "r")
    if extradata:
        context.extradata = extradata
    try:
        pictures = [*context.decode(av.Packet(keyframe)), *context.decode(None)]
    except av.error.FFmpegError:
        return None
    if not pictures:
        return None
    first = pictures[0]
    color = color_of(first, first.format.name)
    return VideoInfo(
        codec=codec,
        width=first.width,
        height=first.height,
        fps=fps,
        time_base=time_base,
        color=color,
        sample_aspect=Fraction(context.sample_aspect_ratio or 1) or Fraction(1),
        pix_fmt=first.format.name,
        is_live=True,
        notes=picture_notes(
            width=first.width,
            height=first.height,
            pix_fmt=first.format.name,
            stated_matrix=first.colorspace,
            matrix=color.matrix,
        ),
        extradata=extradata,
    )


def packets_of(container: Any, *streams: Any) -> Iterator[Any]:
    """What libav reads of ``streams``, or of all; raises what libav raises.

    At the end PyAV gives one empty packet for each stream, and fails at those that it does not know: that
    appeared while it read, as another programme's sound does in a recording of a broadcast.
    """
    packets = container.demux(*streams)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, IndexError):
            return
        yield packet


def frame_rate(film: Any) -> Fraction | None:
    """Pictures a second of a libav stream, ``None`` where nobody knows.

    libav's guess is its own only once it has seen enough of the stream to measure an average;
    before that it is the clock's finest step, for H.264 the rate of fields: twice that of pictures.
    """
    guessed, average = film.guessed_rate, film.average_rate
    rates = (guessed, average) if average else (film.codec_context.framerate, guessed)
    return next((Fraction(rate) for rate in rates if rate), None)


def let_channels_be_counted(container: Any) -> None:
    """Note [Channels in an order of their own]: QuickTime lists the places of channels in any
    order. Each time somebody looks at such a layout, PyAV frees the list when they are done, and
    libav goes on using it.

    So it is looked at once, here, and what takes its place only says how many there are. Copies of
    the stream have the list again: theirs is to be replaced before anybody looks, as by
    ``audio_format.layout_for_copies``.
    """
    for stream in container.streams.audio:
        codec = stream.codec_context
        layout = None if codec is None else codec.layout
        if layout is not None and layout.name.startswith(f"{layout.nb_channels} channels ("):
            codec.layout = f"{layout.nb_channels}c"


def picture_notes(
    *, width: int, height: int, pix_fmt: str, stated_matrix: int, matrix: str
) -> tuple[str, ...]:
    """What is changed on the way in, one sentence each; ``stated_matrix`` is H.273's code."""
    notes = []
    if pix_fmt not in ("yuv420p", "yuvj420p"):
        how = f" with the {matrix} matrix, limited range" if is_rgb(pix_fmt) else ""
        notes.append(f"{pix_fmt} is converted to 8-bit 4:2:0{how}")
    if stated_matrix in (0, 2) and not is_rgb(pix_fmt):
        notes.append(f"the input states no colour matrix; {matrix} is taken for its height")
    if width % 2 or height % 2:
        notes.append(f"{width}x{height} is cut to even sizes, as 4:2:0 video needs them")
    return tuple(notes)
