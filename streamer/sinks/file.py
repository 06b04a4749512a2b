"""Encoded video, and the input's audio untouched, into MP4, Matroska or MPEG-TS."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import av
import av.error

from streamer.config import FILE_SUFFIXES
from streamer.errors import SinkError
from streamer.frame import Packet
from streamer.media import AudioInfo
from streamer.worker import Worker

_log = logging.getLogger(__name__)


class FileSink:
    """Opens its file at the first keyframe, so that a failing input overwrites nothing."""

    def __init__(self, path: str, *, audio: AudioInfo | None) -> None:
        self._path = Path(path)
        self._worker = Worker("mux")
        self._muxer = _Muxer(self._path, audio)
        if not self._path.parent.is_dir():
            raise SinkError(
                f"the folder of {self._path} does not exist; make it, or write somewhere else"
            )

    async def send(self, packet: Packet) -> None:
        """Write one packet. Raises ``SinkError`` when the disk or the container refuses it."""
        await self._worker.call(self._muxer.write, packet)

    async def close(self) -> None:
        """Finish the file; it is playable after this, whatever ended the stream."""
        try:
            await self._worker.call(self._muxer.close)
        finally:
            await self._worker.__aexit__(None, None, None)


class _Muxer:
    """The libav side of a file; lives on the sink's worker."""

    def __init__(self, path: Path, audio: AudioInfo | None) -> None:
        self._path = path
        self._audio = audio
        self._container: Any = None
        self._video_stream: Any = None
        self._audio_stream: Any = None
        self._early_audio: list[Packet] = []

    def write(self, packet: Packet) -> None:
        try:
            if self._container is None and not self._open_at(packet):
                return
            self._mux(packet)
        except (av.error.FFmpegError, OSError) as error:
            raise SinkError(
                f"{self._path} could not be written further ({_reason(error)}); what is in it "
                "plays, free some space or choose another file for the rest"
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
        format = FILE_SUFFIXES[self._path.suffix.lower()]
        # Written in fragments and completed at the end: even a killed run leaves a file that plays.
        # Without delay_moov the fragments lose the edit lists, and audio that starts before zero
        # (AAC priming) moves every later picture by 23 ms.
        options = {"movflags": "+hybrid_fragmented+delay_moov"} if format == "mp4" else {}
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
            raise SinkError(
                f"{self._path.suffix} files cannot hold {audio.codec} audio; write .mkv, "
                "which takes it as it is"
            ) from error

    def _mux(self, packet: Packet) -> None:
        stream = self._video_stream if packet.stream == "video" else self._audio_stream
        if stream is None:
            return
        if isinstance(packet.payload, av.Packet):
            native = packet.payload
        else:
            native = av.Packet(packet.payload)
            native.pts, native.dts = packet.pts, packet.dts
            native.duration = packet.duration
            native.is_keyframe = packet.is_keyframe
            native.time_base = packet.time_base
        native.stream = stream
        self._container.mux(native)


def _template(keyframe: Packet) -> Any:
    """A stream described by the parameter sets inside a keyframe of ours."""
    elementary = av.open(io.BytesIO(bytes(keyframe.payload)), format="h264")
    return elementary.streams.video[0]


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
