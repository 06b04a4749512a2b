"""What a person at the terminal sees: a progress bar offline, one status line live."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from streamer.config import StreamSettings
from streamer.outlets import fps_out
from streamer.pipeline import Stream

REFRESH_S = 0.25
QUIET_STATUS_S = 10.0
"""How often the status is printed where it cannot be overwritten (a log file)."""

INTERRUPTED = 130
"""The exit code of what was ended by a signal."""

SAME_S = 0.5
"""Signals as close as this are one: ``timeout`` sends two within microseconds, and of a terminal that is
closed its shell tells once more. A person who wants it to end at once takes longer."""


class _Terminal(Console):
    """Standard error, as long as somebody reads it."""

    def on_broken_pipe(self) -> None:
        """Says no more. Rich would end the program with all its outputs, and lead standard output,
        which may be the video, to nowhere."""
        self.quiet = True

    def forget(self) -> None:
        """Leaves out what could not be written. Rich would keep it and try it again with each line that
        follows: of a stream that runs for weeks without a terminal that grew without end."""
        was_quiet, self.quiet = self.quiet, True
        with self:
            pass  # leaving it is when a quiet console empties its buffer
        self.quiet = was_quiet


err = _Terminal(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
"""Standard output belongs to the video of ``y4m:-`` and to answers. An address is neither markup nor
wrapped: somebody copies it."""


def say(text: str, **options: Any) -> None:
    """A line for the person at the terminal; ``options`` are those of rich's ``print``.

    A terminal that was closed, a log's reader that ended, or a full disk is no reason to end a stream.
    """
    try:
        err.print(text, **options)
    except OSError:
        err.forget()


def wipe_line() -> None:
    """Leave the terminal's line empty, whatever stood there; a shorter text would not cover it."""
    if err.is_terminal:
        say("", end="\r")
        say(" " * (err.width - 1), end="\r")


class _BesideStatus(io.StringIO):
    """Takes what a log handler writes, and puts it above the status line or the bar."""

    def write(self, text: str, /) -> int:
        wipe_line()
        say(text, end="")
        return len(text)


@contextmanager
def logging_beside_status() -> Iterator[None]:
    """While the block runs, a line of the log has a line of the terminal for itself. Where nothing is
    overwritten it goes where it went before."""
    streams = (
        one for one in logging.getLogger().handlers if isinstance(one, logging.StreamHandler)
    )
    handlers = [one for one in streams if one.stream is sys.stderr and err.is_terminal]
    before = [one.setStream(_BesideStatus()) for one in handlers]
    try:
        yield
    finally:
        for handler, stream in zip(handlers, before, strict=True):
            handler.setStream(stream)


def ending_signals() -> list[signal.Signals]:
    """What asks a program to end: Ctrl-C, a service manager, and a terminal that is closed. That one
    is left alone where it is ignored, as nohup has it."""
    is_heard = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if is_heard else [])]


@contextmanager
def ending_on_signals(stop: Callable[[], None]) -> Iterator[asyncio.Event]:
    """Calls ``stop`` and sets the event on Ctrl-C and its like, so that all outputs are finished; a
    second one ends the program at once."""
    loop = asyncio.get_running_loop()
    interrupted = asyncio.Event()
    first_s = 0.0

    def interrupt() -> None:
        nonlocal first_s
        if not interrupted.is_set():
            first_s = loop.time()
            interrupted.set()
            stop()
        elif loop.time() - first_s > SAME_S:
            # A worker may wait for a pipe that nobody reads, so unwinding could take for ever.
            err.show_cursor()
            os._exit(INTERRUPTED)

    numbers = ending_signals()
    for number in numbers:
        loop.add_signal_handler(number, interrupt)
    try:
        yield interrupted
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def show_progress(stream: Stream) -> None:
    """Show how far the stream is until cancelled."""
    if stream.settings.is_offline:
        await _progress_bar(stream)
    else:
        await _status_line(stream)


async def _progress_bar(stream: Stream) -> None:
    total = expected_frames(stream)
    with _bar() as bar:
        task = bar.add_task("enhancing", total=total, fps=0.0)
        while True:
            seen = stream.metrics.counted("sent")
            bar.update(task, completed=seen, fps=stream.statistics()["fps"]["out"])
            await asyncio.sleep(REFRESH_S)


def expected_frames(stream: Stream) -> int | None:
    """How many frames the run will give, or ``None`` where nobody can tell."""
    video, limit_s = stream.source.video, stream.settings.duration_s
    frames = video.frames or None
    if frames is None and video.duration_s and video.fps:
        frames = round(video.duration_s * video.fps)
    if limit_s is not None and video.fps:
        limit = round(limit_s * video.fps)
        frames = min(frames, limit) if frames else limit
    return frames and _at_rate(frames, stream.settings, video.fps)


def _at_rate(frames: int, settings: StreamSettings, source_fps: Fraction | None) -> int:
    """How many leave of so many that come in, where both rates are known."""
    leaving_fps = fps_out(settings, source_fps)
    if settings.rate is None or leaving_fps is None or not source_fps:
        return frames
    return round(frames * leaving_fps / source_fps)


@contextmanager
def _bar() -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[fps]:.1f} fps"),
        TimeRemainingColumn(),
    )
    progress = Progress(*columns, console=err, transient=True, disable=not err.is_terminal)
    progress.start()
    try:
        yield progress
    finally:
        # The terminal may have been closed meanwhile, which is no failure of the run.
        with suppress(OSError):
            progress.stop()


async def _status_line(stream: Stream) -> None:
    every_s = REFRESH_S if err.is_terminal else QUIET_STATUS_S
    while True:
        await asyncio.sleep(every_s)
        if err.is_terminal:
            text = status_text(stream)
            say(text, end="\r", soft_wrap=False, no_wrap=True, overflow="ellipsis")
        else:
            say(status_text(stream))


def status_text(stream: Stream) -> str:
    """The state of a live stream in one line."""
    now = stream.statistics()
    latency = now["latency_ms"].get("arrived_to_sent", {})
    size = "{width}x{height}".format(**now["output"]) if "width" in now["output"] else "no picture"
    return (
        f"{now['fps']['in']:5.1f} fps in, {now['fps']['out']:5.1f} out, {size}, "
        f"latency p95 {latency.get('p95', 0):.1f} ms, tier {now['tier'] or '-'}, "
        f"{sum(now['frames']['dropped'].values())} dropped, {now['viewers']} watching   "
    )
