"""One stream from the command line: the page, the signals, the terminal and the report."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import av
from fastapi import FastAPI

from streamer.addresses import is_loopback
from streamer.build import check_addresses, open_stream
from streamer.clock import Clock, MonotonicClock
from streamer.config import HTTP_PORT, RTSP_PORT, STANDARD, StreamSettings, identity
from streamer.console import (
    INTERRUPTED,
    ending_on_signals,
    logging_beside_status,
    say,
    show_progress,
    wipe_line,
)
from streamer.errors import ConfigError, SinkError
from streamer.heap import keep_what_is_loaded
from streamer.pipeline import Stream
from streamer.server.app import Access, build_app
from streamer.server.rtsp import RtspServer
from streamer.server.run import Server
from streamer.sinks.rtsp_mount import RtspMount


async def run_stream(
    settings: StreamSettings,
    *,
    host: str,
    port: int | None,
    rtsp_port: int = RTSP_PORT,
    report: Path | None,
) -> int:
    """Run until the source ends, the time is over or Ctrl-C; gives the exit code.

    The report is written in every case in which the stream began. Raises ``SinkError`` where that
    could not be done, unless the stream itself failed.
    """
    # What goes wrong in libav is said by our own errors, once.
    av.logging.set_level(av.logging.PANIC)
    check_addresses(settings)
    await asyncio.to_thread(_check_report, report, settings)
    clock = MonotonicClock()
    mounts: dict[str, RtspMount] = {}
    stream = await open_stream(settings, clock=clock, mounts=mounts)
    unwritten: SinkError | None = None
    has_begun = False
    try:
        with ending_on_signals(stream.stop) as interrupted:
            async with _page(stream, host, port), _rtsp(mounts, host, rtsp_port, clock):
                has_begun = True
                keep_what_is_loaded()
                await _run_visibly(stream)
    finally:
        numbers = await asyncio.to_thread(stream.report)
        # Where its port was taken by the same command, which is running, that one's report stands there.
        if report is not None and has_begun:
            unwritten = await asyncio.to_thread(_write_report, report, numbers)
    if unwritten is not None:
        raise unwritten
    _say_result(numbers, is_live=not settings.is_offline)
    return INTERRUPTED if interrupted.is_set() and settings.is_offline else 0


async def _run_visibly(stream: Stream) -> None:
    shown = asyncio.create_task(show_progress(stream))
    with logging_beside_status():
        try:
            await stream.run()
        finally:
            shown.cancel()
            with suppress(asyncio.CancelledError):
                await shown
            wipe_line()


@asynccontextmanager
async def _page(stream: Stream, host: str, port: int | None) -> AsyncIterator[None]:
    """Serve the page while the block runs, where the stream has an output that needs it."""
    if not any(sink.kind == "webrtc" for sink in stream.settings.sinks):
        yield
        return
    # Without it any page in the user's browser could look in by a name of its own (DNS rebinding).
    access = Access(token=None) if is_loopback(host) else None
    app = build_app({stream.name: stream}, access=access)
    async with _listening(app, host, port) as server:
        say(f"streamer: open {server.url} (Ctrl-C ends it)")
        yield


@asynccontextmanager
async def _rtsp(
    mounts: Mapping[str, RtspMount], host: str, port: int, clock: Clock
) -> AsyncIterator[None]:
    """Serve the stream over RTSP while the block runs, where it was asked for."""
    if not mounts:
        yield
        return
    async with RtspServer(mounts, host=host, port=port, users=None, clock=clock) as server:
        for name in mounts:
            say(f"streamer: play {server.url}{name}")
        yield


@asynccontextmanager
async def _listening(app: FastAPI, host: str, port: int | None) -> AsyncIterator[Server]:
    """A server on ``port`` while the block runs; without one on the usual port, or on any where that is
    taken."""
    async with AsyncExitStack() as stack:
        listen = stack.enter_async_context
        try:
            usual = HTTP_PORT if port is None else port
            server = await listen(Server(app, host=host, port=usual))
        except ConfigError:
            if port is not None:
                raise
            server = await listen(Server(app, host=host, port=0))
        yield server


def _check_report(path: Path | None, settings: StreamSettings) -> None:
    """Refuse a report that could not be written when all is done, or would overwrite something."""
    if path is None:
        return
    if str(path) == STANDARD:
        raise ConfigError(f"{path} is no file; write --report to a file, such as run.json")
    if not os.path.isdir(path.parent):
        raise ConfigError(
            f"the folder of {path} does not exist; make it, or write --report somewhere else"
        )
    if os.path.isdir(path):
        raise ConfigError(f"{path} is a folder; write --report to a file, such as run.json")
    written = [sink.target for sink in settings.sinks if sink.kind in ("file", "y4m")]
    if identity(str(path)) in map(identity, (settings.source, *written)):
        raise ConfigError(
            f"{path} is the input or an output as well as the report; write --report to another file"
        )
    is_new = not os.path.lexists(path)
    if not is_new and not path.is_file():
        return  # a pipe would take this for its end
    try:
        with path.open("a"):
            pass
    except OSError as error:
        raise ConfigError(
            f"the report {path} cannot be written ({error.strerror}); choose another file"
        ) from error
    if is_new:
        path.unlink()


def _write_report(path: Path, numbers: dict[str, Any]) -> SinkError | None:
    """Why it could not be written; ``None`` where it was."""
    try:
        path.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        return SinkError(
            f"the report {path} could not be written ({error.strerror}), all outputs are finished; "
            "run again with --report somewhere else"
        )
    return None


def _say_result(numbers: dict[str, Any], *, is_live: bool) -> None:
    """One line on what was done; the details are in the report."""
    latency = numbers["latency_ms"].get("arrived_to_sent", {})
    lost = sum(numbers["frames"]["dropped"].values())
    text = f"streamer: {numbers['frames']['sent']} frames sent, {lost} dropped"
    if is_live:
        text += f", latency p50 {latency.get('p50', 0):.1f} ms, p95 {latency.get('p95', 0):.1f} ms"
    say(text)
