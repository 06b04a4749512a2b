"""What a person at the terminal sees: a progress bar offline, one status line live."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
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

err = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
"""Standard output belongs to the video of ``y4m:-`` and to answers. An address is neither markup nor
wrapped: somebody copies it."""


def say(text: str, **options: Any) -> None:
    """A line for the person at the terminal; ``options`` are those of rich's ``print``.

    A terminal that was closed, or a full disk behind it, is no reason to end a stream.
    """
    with suppress(OSError):
        err.print(text, **options)


def ending_signals() -> list[signal.Signals]:
    """What asks a program to end: Ctrl-C, a service manager, and a terminal that is closed. That one
    is left alone where it is ignored, as nohup has it."""
    is_heard = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if is_heard else [])]


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
    leaving = round(frames * leaving_fps / source_fps)
    return min(frames, leaving) if settings.between == "none" else leaving


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
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        yield progress


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
