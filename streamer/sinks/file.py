"""Encoded video, and the input's audio untouched, into MP4, Matroska or MPEG-TS."""

from __future__ import annotations

import errno
import io
from pathlib import Path
from typing import Any

import av
import av.error

from streamer.config import FILE_SUFFIXES
from streamer.errors import SinkError
from streamer.frame import Packet
from streamer.media import AudioInfo
from streamer.worker import Worker

TS_AUDIO = frozenset(
    {"aac", "aac_latm", "ac3", "dts", "eac3", "mp1", "mp2", "mp3", "opus", "s302m", "truehd"}
)
"""What MPEG-TS has a stream type for; libav writes anything else as data that nothing plays."""


class FileSink:
    """Opens its file at the first keyframe, so that a failing input overwrites nothing."""

    def __init__(self, path: str, *, audio: AudioInfo | None) -> None:
        """``audio`` is what the input has beside the picture. Raises ``SinkError``."""
        self._path = Path(path)
        if audio is not None and _format(self._path) == "mpegts" and audio.codec not in TS_AUDIO:
            raise _cannot_hold(self._path, audio)
        self._worker = Worker("mux")
        self._muxer = _Muxer(self._path, audio)

    async def send(self, packet: Packet) -> None:
        """Write one packet. Raises ``SinkError`` when the disk or the container refuses it."""
        await self._worker.call(self._muxer.write, packet)

    async def close(self) -> None:
        """Finish the file; it is playable after this, whatever ended the stream."""
        try:
            await self._worker.call(self._muxer.close)
        finally:
            await self._worker.close()


class _Muxer:
    """The libav side of a file; lives on the sink's worker."""

    def __init__(self, path: Path, audio: AudioInfo | None) -> None:
        self._path = path
        self._audio = audio
        self._container: Any = None
        self._video_stream: Any = None
        self._audio_stream: Any = None
        self._audio_filter: av.BitStreamFilterContext | None = None
        self._early_audio: list[Packet] = []

    def write(self, packet: Packet) -> None:
        try:
            if self._container is None and not self._open_at(packet):
                return
            self._mux(packet)
        except (av.error.FFmpegError, OSError) as error:
            raise SinkError(
                f"{self._path} could not be written further ({_reason(error)}); what is in it "
                f"plays, {_way_out(error)} for the rest"
            ) from error

    def close(self) -> None:
        if self._container is None:
            return
        container, self._container = self._container, None
        try:
            container.close()
        except (av.error.FFmpegError, OSError) as error:
            raise SinkError(
                f"{self._path} could not be finished ({_reason(error)}); it may not play"
            ) from error

    def _open_at(self, packet: Packet) -> bool:
        """Whether the file is open now; audio before the first picture is kept for it."""
        if packet.stream == "audio":
            self._early_audio.append(packet)
            return False
        if not packet.is_keyframe:
            return False
        self._open(packet)
        for early in self._early_audio:
            self._mux(early)
        self._early_audio = []
        return True

    def _open(self, keyframe: Packet) -> None:
        format = _format(self._path)
        # Written in fragments and completed at the end: even a killed run leaves a file that plays.
        # Without delay_moov the fragments lose the edit lists, and audio that starts before zero
        # (AAC priming) moves every later picture by 23 ms. Edit lists count in the movie's time
        # scale, whose usual 1000 would move a start of 1.4667 s by 0.7 ms.
        options = (
            {"movflags": "+hybrid_fragmented+delay_moov", "movie_timescale": "90000"}
            if format == "mp4"
            else {}
        )
        self._container = av.open(str(self._path), "w", format=format, options=options)
        self._video_stream = self._container.add_stream_from_template(_template(keyframe))
        self._video_stream.time_base = keyframe.time_base
        if self._audio is not None:
            self._add_audio(self._audio)
        self._container.start_encoding()

    def _add_audio(self, audio: AudioInfo) -> None:
        try:
            self._audio_stream = self._container.add_stream_from_template(audio.codec_parameters)
        except (ValueError, av.error.FFmpegError) as error:
            raise _cannot_hold(self._path, audio) from error
        if _format(self._path) == "mp4" and audio.codec == "aac" and not _has_extradata(audio):
            # MP4 says once what ADTS says before every packet.
            self._audio_filter = av.BitStreamFilterContext("aac_adtstoasc", audio.codec_parameters)

    def _mux(self, packet: Packet) -> None:
        stream = self._video_stream if packet.stream == "video" else self._audio_stream
        if stream is None:
            return
        natives = [_own(packet)]
        if packet.stream == "audio" and self._audio_filter is not None:
            natives = self._audio_filter.filter(natives[0])
        for native in natives:
            native.stream = stream
            self._container.mux(native)


def _own(packet: Packet) -> av.Packet[Any]:
    """A copy: muxing rewrites a packet's times, and other sinks have the same one."""
    native = av.Packet(bytes(packet.payload))
    native.pts, native.dts = packet.pts, packet.dts
    native.duration = packet.duration
    native.is_keyframe = packet.is_keyframe
    native.time_base = packet.time_base
    if isinstance(packet.payload, av.Packet):
        for side in packet.payload.iter_sidedata():
            native.set_sidedata(side)
    return native


def _format(path: Path) -> str:
    return FILE_SUFFIXES[path.suffix.lower()]


def _has_extradata(audio: AudioInfo) -> bool:
    return bool(audio.codec_parameters.codec_context.extradata)


def _cannot_hold(path: Path, audio: AudioInfo) -> SinkError:
    return SinkError(
        f"{path.suffix} files cannot hold {audio.codec} audio; write .mkv, which takes it as it is"
    )


def _template(keyframe: Packet) -> Any:
    """A stream described by the parameter sets inside a keyframe of ours."""
    elementary = av.open(io.BytesIO(bytes(keyframe.payload)), format="h264")
    return elementary.streams.video[0]


def _way_out(error: Exception) -> str:
    if getattr(error, "errno", None) == errno.EINVAL:
        return "the input's times run backwards, convert it with ffmpeg"
    return "free some space or choose another file"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
