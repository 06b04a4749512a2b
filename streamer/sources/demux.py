"""Reads packets with libav, on a thread of its own; shared by files and devices."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import av.format
import av.stream

from streamer.clock import Clock
from streamer.color import color_of
from streamer.errors import SourceError, SourceLost
from streamer.frame import Packet
from streamer.media import AudioInfo, VideoInfo
from streamer.sources.elementary import (
    frame_rate,
    let_channels_be_counted,
    packets_of,
    picture_notes,
)
from streamer.sources.joined import Joined
from streamer.sources.pipe import STANDARD_INPUT, Pipe

READ_TIMEOUT_S = 5.0

LEAD_IN_S = Fraction(1, 10)
"""Of sound that is not to be heard: AAC needs a packet of 21 ms before the first, Opus 80 ms."""


class Demuxer:
    """One opened container: its first picture and its first sound. Used from one thread."""

    def __init__(
        self,
        url: str | Pipe,
        *,
        name: str,
        clock: Clock,
        format: str | None,
        options: dict[str, str],
    ) -> None:
        """Open ``url``; ``name`` is what messages call it. Raises ``SourceError``."""
        self.name = name
        self._clock = clock
        self._container = _open(url, name=name, format=format, options=options)
        try:
            let_channels_be_counted(self._container)
            if isinstance(url, Pipe):
                _refuse_late_index(self._container, name)
            self.video = _video_info(self._container, name)
        except BaseException:
            self._container.close()
            raise
        self.audio = _audio_info(self._container)
        self.packets_read = 0
        self._next_dts: dict[int, int] = {}
        """Where the last packet ended, by stream."""
        self._packets = self._demux()

    def next_packet(self) -> Packet | None:
        """The next packet of either stream, ``None`` at the end. Raises ``SourceLost``, and
        ``BlockingIOError`` where a device that is not waited for has none yet."""
        try:
            return next(self._packets, None)
        except BlockingIOError:
            self._packets = self._demux()
            raise
        except (av.error.FFmpegError, OSError) as error:
            raise SourceLost(
                f"{self.name} could not be read further after {self.packets_read} video packets "
                f"({_reason(error)}); what was read before is in the output"
            ) from error

    def missing_packets(self) -> int:
        """Pictures that the container announced and that never came."""
        return max(0, self.video.frames - self.packets_read) if self.packets_read else 0

    def close(self) -> None:
        # What it holds of a device's memory goes back before that is gone.
        self._packets.close()
        self._container.close()

    def _demux(self) -> Generator[Packet, None, None]:
        video = _films(self._container)[0]
        streams = [video, *_sounds(self._container)[:1]]
        unheard: list[Packet] = []
        for native in self._natives(streams):
            is_video = native.stream_index == video.index
            self.packets_read += is_video
            packet = self._as_packet(native, is_video=is_video)
            if not is_video and native.is_discard:
                unheard.append(packet)
                continue
            if not is_video and unheard:
                # What an edit list cuts off would be heard after all, but a decoder needs a little.
                yield from (one for one in unheard if one.time_s >= packet.time_s - LEAD_IN_S)
                unheard = []
            yield packet

    def _natives(self, streams: list[Any]) -> Iterator[Any]:
        """What libav reads, on one timeline where the format lets times jump."""
        natives = (one for one in packets_of(self._container, *streams) if one.size)
        if self._container.format.flags & av.format.Flags.ts_discont.value:
            return Joined().given(natives)
        return natives

    def _as_packet(self, packet: av.Packet[Any], *, is_video: bool) -> Packet:
        dts = packet.dts if packet.dts is not None else packet.pts
        if dts is None:
            # A bare codec stream has no times at all, and is paced by them.
            dts = self._next_dts.get(packet.stream_index, 0)
        self._next_dts[packet.stream_index] = dts + (packet.duration or 0)
        return Packet(
            payload=packet,
            pts=packet.pts if packet.pts is not None else dts,
            dts=dts,
            time_base=packet.time_base or Fraction(1, 1000),
            duration=packet.duration or 0,
            arrived_ns=self._clock.now_ns(),
            is_keyframe=packet.is_keyframe,
            stream="video" if is_video else "audio",
        )


def _open(url: str | Pipe, *, name: str, format: str | None, options: dict[str, str]) -> Any:
    try:
        # Metadata in any encoding must not stop a picture from being read.
        return av.open(
            url,
            format=format,
            options=options,
            # Whoever fills a pipe takes the time it needs.
            timeout=None if isinstance(url, Pipe) else READ_TIMEOUT_S,
            metadata_errors="replace",
        )
    except FileNotFoundError as error:
        raise SourceError(f"{name} does not exist; check the path") from error
    except PermissionError as error:
        raise SourceError(f"{name} may not be read by this user; check its permissions") from error
    except (av.error.FFmpegError, OSError) as error:
        raise SourceError(
            f"{name} cannot be opened as video ({_reason(error)}); "
            "use a file or device that ffmpeg can read"
        ) from error


def _refuse_late_index(container: Any, name: str) -> None:
    """An MP4 out of a pipe is past when its index comes behind it, as cameras and phones write it."""
    films = [film.codec_context for film in _films(container) if film.codec_context]
    if "mp4" in container.format.name and films and films[0].pix_fmt is None:
        raise SourceError(
            f"{name} brings an MP4 whose index comes last, which cannot be read out of a pipe; give "
            "the name of the file, or let ffmpeg copy it with -movflags +faststart first"
        )


def _video_info(container: Any, name: str) -> VideoInfo:
    if container.format.name == "tty":
        # libav draws any text as an animation; nobody who names a text file wants that.
        raise SourceError(f"{name} is a text file; use a file with a picture")
    films = _films(container)
    if not films:
        kinds = ", ".join(s.type if s.type != "video" else "cover" for s in container.streams)
        kinds = kinds or "nothing"
        raise SourceError(f"{name} holds no video (it has: {kinds}); use a file with a picture")
    stream = films[0]
    codec = stream.codec_context
    if codec is None or not codec.width or not codec.height or codec.pix_fmt is None:
        if "v4l2" in container.format.name:
            raise SourceError(
                f"{name} gave no picture within {READ_TIMEOUT_S:g} s; unplug it and plug it in again, or "
                "ask for another of its modes, as ?size=640x360&fps=30 does"
            )
        kind = codec.name if codec is not None else "unknown"
        raise SourceError(
            f"{name} has a video stream of codec {kind!r} whose size cannot be found; "
            "the file is damaged or the codec is unknown: convert it with ffmpeg first"
        )
    if min(codec.width, codec.height) < 2:
        raise SourceError(
            f"{name} is {codec.width}x{codec.height}, and video of this kind has at least 2x2 pixels; "
            "use a larger picture"
        )
    color = color_of(codec, codec.pix_fmt)
    return VideoInfo(
        codec=codec.name,
        width=codec.width,
        height=codec.height,
        fps=frame_rate(stream),
        time_base=Fraction(stream.time_base),
        color=color,
        sample_aspect=Fraction(stream.sample_aspect_ratio or 1) or Fraction(1),
        pix_fmt=codec.pix_fmt,
        frames=_announced(container, stream),
        duration_s=container.duration / 1_000_000 if container.duration else None,
        notes=(
            *picture_notes(
                width=codec.width,
                height=codec.height,
                pix_fmt=codec.pix_fmt,
                stated_matrix=codec.colorspace,
                matrix=color.matrix,
            ),
            *_left_out(container, film=stream),
        ),
        codec_parameters=stream,
    )


def _announced(container: Any, film: Any) -> int:
    """How many pictures there are to be; 0 where the container does not say."""
    # AVI counts the times without a picture too. ``riff.missing_bytes`` tells whether it is whole.
    if not film.frames or container.format.name == "avi":
        return 0
    # MP4 counts all samples, libav's index only those that the edit list shows.
    return len(film.index_entries) or int(film.frames)


def _left_out(container: Any, *, film: Any) -> tuple[str, ...]:
    """What else it holds, for the notes; a cover and data of no kind are not missed."""
    sounds, notes = _sounds(container), []
    taken = {film.index, *(stream.index for stream in sounds[:1])}
    others = [one for one in (*_films(container), *sounds) if one.index not in taken]
    others += container.streams.subtitles
    if others:
        kinds = ", ".join(one.type for one in others)
        notes.append(
            f"its first picture and its first sound are taken, not the other tracks ({kinds})"
        )
    if len(sounds) < len(container.streams.audio):
        notes.append(
            "sound is announced whose rate and channels cannot be found at the beginning; it is left out"
        )
    return tuple(notes)


def _films(container: Any) -> list[Any]:
    """Its video streams; the cover of a song is none."""
    cover = av.stream.Disposition.attached_pic
    return [stream for stream in container.streams.video if not stream.disposition & cover]


def _sounds(container: Any) -> list[Any]:
    """Its audio streams; one without data, or that begins after what libav looked through, is none: not
    even its rate is known."""
    return [
        stream
        for stream in container.streams.audio
        if (codec := stream.codec_context) is not None and codec.sample_rate and codec.channels
    ]


def _audio_info(container: Any) -> AudioInfo | None:
    stream = next(iter(_sounds(container)), None)
    if stream is None:
        return None
    codec = stream.codec_context
    return AudioInfo(
        codec=codec.name,
        rate_hz=codec.sample_rate,
        channels=codec.channels,
        time_base=Fraction(stream.time_base),
        codec_parameters=stream,
    )


def _reason(error: Exception) -> str:
    """libav's own word for it, without the file's name in it."""
    text = getattr(error, "strerror", None) or str(error)
    return str(text).split(": '")[0]


def file_url(path: str) -> str:
    """A path that libav takes as a path, whatever colons it holds; ``-`` is standard input."""
    return "file:/dev/stdin" if path == STANDARD_INPUT else f"file:{Path(path)}"
