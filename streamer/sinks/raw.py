"""Uncompressed pictures as Y4M, to a file or to standard output."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from fractions import Fraction
from functools import partial
from pathlib import Path
from threading import Condition, Thread
from typing import BinaryIO

from streamer.errors import SinkError
from streamer.frame import Frame
from streamer.sinks.beside import free_path

_log = logging.getLogger(__name__)

MOST_WAITING = 8
"""Pictures that a live reader may lag behind: a third of a second at 25 fps."""

FINISH_S = 3.0
"""What a live reader has at the end for what still waits."""


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

    @property
    def name(self) -> str:
        """As the user has named it."""
        return f"y4m:{self._target}"

    def close(self) -> None:
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            # It flushes, and closes also where that fails.
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
        # Stays open from frame to frame; close() ends it. Standard output is not ours, and Python aborts
        # where a thread still writes to it at the very end.
        self._file = (
            os.fdopen(os.dup(sys.stdout.fileno()), "wb") if is_piped else self._path().open("wb")
        )
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


class Aside:
    """A sink on a thread of its own: a reader that pauses costs itself pictures, and nobody else."""

    def __init__(self, sink: Y4mSink, *, lost: Callable[[], None]) -> None:
        """``lost`` is called for each picture that finds too many waiting."""
        self._sink = sink
        self._lost = lost
        self._waiting: deque[Frame] = deque()
        self._change = Condition()
        self._is_closing = False
        self._error: SinkError | None = None
        # Not waited for at the end of the program: its reader may never read again.
        self._thread = Thread(target=self._run, name="y4m", daemon=True)
        """Begun by the first picture."""

    def write(self, frame: Frame) -> None:
        """Take or lose one picture, at once. Raises the ``SinkError`` of an earlier one."""
        with self._change:
            if self._error is not None:
                raise self._error
            if len(self._waiting) == MOST_WAITING:
                self._lost()
                return
            self._waiting.append(frame)
            self._change.notify()
        if not self._thread.ident:
            self._thread.start()

    def close(self) -> None:
        """Finish what waits. Raises ``SinkError``, also where the reader takes nothing."""
        if not self._thread.ident:
            return
        with self._change:
            self._is_closing = True
            self._change.notify()
        self._thread.join(FINISH_S)
        if self._thread.is_alive():
            raise SinkError(
                f"{self._sink.name} lacks its end, its reader takes nothing; see why it stands still"
            )
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while (frame := self._next()) is not None:
                self._sink.write(frame)
            self._sink.close()
        except SinkError as error:
            with suppress(SinkError):  # it was said what is wrong with it
                self._sink.close()
            with self._change:
                self._error = error
                self._waiting.clear()

    def _next(self) -> Frame | None:
        """The oldest one that waits; ``None`` at the end."""
        with self._change:
            self._change.wait_for(lambda: self._waiting or self._is_closing)
            return self._waiting.popleft() if self._waiting else None


class RawOutputs:
    """A stream's outputs that take pictures. One that fails is closed and left out; the others, and
    those that take packets, go on."""

    def __init__(
        self,
        sinks: Sequence[Y4mSink],
        *,
        are_alone: bool,
        lost: Callable[[str], None] | None = None,
    ) -> None:
        """``are_alone``: the stream has no other outputs, so that it ends when the last one fails.

        With ``lost`` none waits for a slow one's reader: it is called with the name of a sink that is
        too slow for a picture, which that one alone does not get.
        """
        self._sinks: list[Y4mSink | Aside] = list(sinks)
        if lost is not None:
            self._sinks = [Aside(sink, lost=partial(lost, sink.name)) for sink in sinks]
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
