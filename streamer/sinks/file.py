"""Encoded video and the input's audio into MP4, Matroska or MPEG-TS."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from math import floor
from pathlib import Path

import av.error

from streamer.config import FILE_SUFFIXES
from streamer.errors import SinkError
from streamer.frame import Packet
from streamer.media import AudioInfo
from streamer.sinks.audio_transcode import Refused
from streamer.sinks.beside import free_path
from streamer.sinks.muxer import Muxer
from streamer.sinks.muxer_protocol import Output
from streamer.sinks.muxer_target import TS_SOUND
from streamer.worker import Worker

_log = logging.getLogger(__name__)

# Written as it comes, in fragments and clusters of a second, and completed at the end: a killed run
# leaves a file that plays up to its last second. A buffer of libav's holds several of small pictures.
AT_ONCE = {"flush_packets": "1"}
MKV_OPTIONS = AT_ONCE | {"cluster_time_limit": "1000"}

# Without delay_moov the fragments lose the edit lists, and audio that starts before zero
# (AAC priming) moves every later picture by 23 ms. Edit lists count in the movie's time
# scale, whose usual 1000 would move a start of 1.4667 s by 0.7 ms.
MP4_OPTIONS = AT_ONCE | {
    "movflags": "+hybrid_fragmented+delay_moov",
    "frag_duration": "1000000",
    "movie_timescale": "90000",
}

OPTIONS = {"mp4": MP4_OPTIONS, "matroska": MKV_OPTIONS, "mpegts": AT_ONCE | TS_SOUND}

# Else the picture on the disk lags ten seconds behind a microphone that falls silent.
LIVE_OPTIONS = {"max_interleave_delta": "250000"}

LATEST_START_S = 10
"""Players of MP4 and Matroska show nothing from zero to the first packet: hours, where that has the time of
a broadcast's clock, or of a stream whose recording goes on in another file."""

EARLY_PACKETS = 3000
"""One minute of live audio in packets of 20 ms: what may come before the first picture. A file whose
pictures are seconds apart has more, and is read only as far as its pictures are coded."""


class FileSink:
    """Opens its file at the first keyframe, so that a failing input overwrites nothing."""

    def __init__(
        self,
        path: str,
        *,
        audio: AudioInfo | None,
        fps: Fraction | None = None,
        is_live: bool = False,
        refused: Refused = lambda: None,
    ) -> None:
        """``audio`` is what the input has beside the picture, ``fps`` the nominal rate of what is
        written, where it is known; ``refused`` as in ``Muxer``.

        What is live cannot be had again: a file that holds something is left as it is and
        ``name-2.mkv``, ``name-3.mkv``, … is written beside it. Raises ``SinkError``.
        """
        self._worker = Worker("mux")
        self._writer = _Writer(Path(path), audio, fps, refused, is_live=is_live)

    async def send(self, packet: Packet) -> None:
        """Write one packet. Raises ``SinkError`` when the disk or the container refuses it."""
        await self._worker.call(self._writer.write, packet)

    async def close(self) -> None:
        """Finish the file; it is playable after this, whatever ended the stream."""
        try:
            await self._worker.call(self._writer.close)
        finally:
            await self._worker.close()


class _Writer:
    """The libav side of a file; lives on the sink's worker."""

    def __init__(
        self,
        path: Path,
        audio: AudioInfo | None,
        fps: Fraction | None,
        refused: Refused,
        *,
        is_live: bool,
    ) -> None:
        self._path = path
        self._is_live = is_live
        self._fps = fps
        self._early_audio: list[Packet] = []
        self._is_open = False
        self._has_failed = False
        self._format = FILE_SUFFIXES[path.suffix.lower()]
        output = Output(
            url=_url(path),
            format=self._format,
            options=OPTIONS[self._format] | (LIVE_OPTIONS if is_live else {}),
            describes_once=False,
        )
        try:
            self._muxer = Muxer(output, audio, refused=refused)
        except SinkError as error:
            assert audio is not None
            raise SinkError(
                f"{path.suffix} files cannot hold {audio.codec} audio, and it cannot be decoded "
                "here; convert the sound of the input with ffmpeg"
            ) from error
        if audio is not None and self._muxer.transcoder is not None:
            _log.warning(
                "%s: the sound is coded anew to AAC, since %s files cannot hold %s%s",
                path.name,
                path.suffix,
                audio.codec,
                "" if path.suffix == ".mkv" else "; .mkv takes most sound as it is",
            )

    def write(self, packet: Packet) -> None:
        if not self._is_open and not self._may_begin_at(packet):
            return
        try:
            if not self._is_open:
                self._open(packet)
            self._muxer.write(packet)
        except (av.error.FFmpegError, OSError) as error:
            self._has_failed = True
            raise SinkError(
                f"{self._path} could not be written further ({_reason(error)}); what is in it "
                f"plays, {_way_out(error)} for the rest"
            ) from error

    def close(self) -> None:
        try:
            self._muxer.close()
        except (av.error.FFmpegError, OSError) as error:
            if self._has_failed:
                return  # for the same reason, which was said
            raise SinkError(
                f"{self._path} could not be finished ({_reason(error)}); it may not play"
            ) from error

    def _may_begin_at(self, packet: Packet) -> bool:
        """Whether it is a keyframe; audio before the first one is kept."""
        if packet.stream == "audio":
            if self._is_live and len(self._early_audio) == EARLY_PACKETS:
                del self._early_audio[0]
            self._early_audio.append(packet)
            return False
        return packet.is_keyframe

    def _open(self, keyframe: Packet) -> None:
        if self._is_live:
            self._path = free_path(self._path)
        try:
            with _awaited_reader(self._path):
                self._muxer.open(
                    bytes(keyframe.payload),
                    time_base=keyframe.time_base,
                    fps=self._fps,
                    url=_url(self._path),
                )
            self._muxer.move_by(self._late_s(keyframe))
        except (av.error.FFmpegError, OSError) as error:
            self._has_failed = True
            raise SinkError(
                f"{self._path} could not be written ({_reason(error)}); {_way_in(error)}"
            ) from error
        self._is_open = True
        for early in self._early_audio:
            self._muxer.write(early)
        self._early_audio = []

    def _late_s(self, keyframe: Packet) -> Fraction:
        """What to add to all times, so that a player begins with the first picture or sound."""
        if keyframe.time_s < 0:
            # A transport stream that wraps may begin there, and MP4 hides what does.
            return -keyframe.time_s
        first_s = min(packet.time_s for packet in (*self._early_audio, keyframe))
        if self._format == "mpegts" or first_s < LATEST_START_S:
            return Fraction(0)
        # Whole seconds are exact in any time base; one is left to sound that comes after its picture.
        return Fraction(1 - floor(first_s))


@contextmanager
def _awaited_reader(path: Path) -> Iterator[None]:
    """Where ``path`` is a named pipe, it has a reader before the block begins. libav holds the interpreter
    lock while it waits for one, and the whole program would stand still."""
    if not path.is_fifo():
        yield
        return
    with path.open("wb"):
        yield


def _url(path: Path) -> str:
    """As a path: libav would take 12:30.mp4 for an address."""
    return f"file:{path}"


def _way_in(error: Exception) -> str:
    is_full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    return "free some space or choose another file" if is_full else "choose another file"


def _way_out(error: Exception) -> str:
    if getattr(error, "errno", None) == errno.EINVAL:
        return "the input's times run backwards, convert it with ffmpeg"
    return "free some space or choose another file"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
