"""Uncompressed pictures as Y4M, to a file or to standard output."""

from __future__ import annotations

import errno
import logging
import sys
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from streamer.errors import SinkError
from streamer.frame import Frame
from streamer.sinks.beside import free_path

_log = logging.getLogger(__name__)


class Y4mSink:
    """Writes frames; called from one thread, and it may block there (a pipe does).

    Y4M has one rate and no time stamps: a stream whose intervals vary loses them here.
    """

    def __init__(self, target: str, *, fps: Fraction | None, is_live: bool = False) -> None:
        """``target`` is a path, or ``-`` for standard output; nothing is opened yet. ``is_live`` as
        in ``FileSink``."""
        self._target = target
        self._is_live = is_live
        self._fps = fps or Fraction(30)
        self._file: BinaryIO | None = None
        self._size = (0, 0)
        self.frames = 0

    def write(self, frame: Frame) -> None:
        """Append one picture. Raises ``SinkError`` when the target takes no more."""
        try:
            if self._file is None:
                self._begin(frame)
            assert self._file is not None
            if (frame.width, frame.height) != self._size:
                raise SinkError(
                    f"the picture changed from {self._size[0]}x{self._size[1]} to "
                    f"{frame.width}x{frame.height}, which Y4M cannot hold; write .mkv instead"
                )
            self._file.write(b"FRAME\n")
            for plane in frame.planes:
                self._file.write(plane.data if plane.flags.c_contiguous else plane.tobytes())
            self.frames += 1
        except OSError as error:
            raise SinkError(
                f"y4m:{self._target} takes no more ({error.strerror}) after {self.frames} frames; "
                f"{_way_out(error)}"
            ) from error

    def close(self) -> None:
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            # Closing flushes, and closes also where that fails; standard output is not ours.
            if self._target == "-":
                file.flush()
            else:
                file.close()
        except OSError as error:
            raise SinkError(
                f"y4m:{self._target} could not be finished ({error.strerror}); {_way_out(error)}"
            ) from error

    def _begin(self, frame: Frame) -> None:
        is_piped = self._target == "-"
        if is_piped and sys.stdout is None:
            raise SinkError(
                "y4m:- has nowhere to go, standard output is closed; use a pipe or a file"
            )
        # Stays open from frame to frame; close() ends it.
        self._file = sys.stdout.buffer if is_piped else self._path().open("wb")
        self._size = (frame.width, frame.height)
        aspect = frame.sample_aspect
        header = (
            f"YUV4MPEG2 W{frame.width} H{frame.height} "
            f"F{self._fps.numerator}:{self._fps.denominator} Ip "
            f"A{aspect.numerator}:{aspect.denominator} C420jpeg "
            f"XCOLORRANGE={frame.color.range.upper()}\n"
        )
        self._file.write(header.encode())

    def _path(self) -> Path:
        asked = Path(self._target)
        return free_path(asked) if self._is_live else asked


def _way_out(error: OSError) -> str:
    if error.errno == errno.EPIPE:
        return "see why its reader ended, or write to a file"
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "free some space or choose another file" if is_full else "choose another file"


class RawOutputs:
    """A stream's outputs that take pictures. One that fails is closed and left out; the others, and
    those that take packets, go on."""

    def __init__(self, sinks: Sequence[Y4mSink], *, are_alone: bool) -> None:
        """``are_alone``: the stream has no other outputs, so that it ends when the last one fails."""
        self._sinks = list(sinks)
        self._are_alone = are_alone
        self.failures: list[SinkError] = []

    def __bool__(self) -> bool:
        return bool(self._sinks)

    def write(self, frame: Frame) -> None:
        """Append one picture to each. Raises ``SinkError`` where that leaves nothing to write to."""
        for sink in tuple(self._sinks):
            try:
                sink.write(frame)
            except SinkError as error:
                self._sinks.remove(sink)
                self.failures.append(error)
                with suppress(SinkError):  # it was said what is wrong with it
                    sink.close()
                if self._are_alone and not self._sinks:
                    raise
                _log.error("%s; the other outputs go on", error)

    def close(self) -> None:
        """Finish all of them."""
        for sink in self._sinks:
            try:
                sink.close()
            except SinkError as error:
                self.failures.append(error)
        self._sinks.clear()
