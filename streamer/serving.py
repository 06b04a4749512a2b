"""Many streams in one process: ``streamer serve`` with its settings file."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from threading import Timer

import av
from fastapi import APIRouter

from streamer.build import open_stream
from streamer.clock import Clock, MonotonicClock
from streamer.config import StreamSettings
from streamer.console import INTERRUPTED, ending_on_signals, say
from streamer.heap import keep_what_is_loaded
from streamer.server.admission import Admission
from streamer.server.app import Access, build_app
from streamer.server.hls import hls_routes
from streamer.server.registry import CLOSE_WITHIN_S, CUT_OFF_WITHIN_S, Registry
from streamer.server.rtsp import RtspServer
from streamer.server.run import Server
from streamer.server.secrecy import SHORTEST, RedactingFilter
from streamer.server.supervised import RunningStream
from streamer.server.whip import whip_routes
from streamer.settings_file import ServeSettings, read_serve_settings
from streamer.sinks.rtsp_mount import RtspMount
from streamer.sources.whip import WhipDoor

THREADS = 64
"""For what blocks: files, names, models. Names that do not resolve must not keep others waiting."""

ENDS_WITHIN_S = CLOSE_WITHIN_S + CUT_OFF_WITHIN_S + 3
"""All of it: the streams, and then their viewers' connections."""


async def serve(path: Path, *, host: str | None, port: int | None) -> int:
    """Run all streams of the settings file until Ctrl-C; gives the exit code.

    Raises ``ConfigError`` where the file is wrong or an address cannot be had.
    """
    # What goes wrong in libav is said by our own errors, once.
    av.logging.set_level(av.logging.PANIC)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "blocking"))
    settings = await asyncio.to_thread(read_serve_settings, path)
    settings = settings.listening_on(host=host, port=port)
    with ending_on_signals(lambda: None) as interrupted:
        async with AsyncExitStack() as stack:
            await _Serving(settings, MonotonicClock()).begin(stack)
            keep_what_is_loaded()
            await interrupted.wait()
            say("streamer: ending the streams; Ctrl-C again ends at once")
            # Neither asyncio nor Python ends while a thread waits, as for a pipe that nobody reads.
            in_any_case = Timer(ENDS_WITHIN_S, os._exit, [INTERRUPTED])
            in_any_case.daemon = True
            in_any_case.start()
    return 0


class _Serving:
    """The parts of a server, and how they come together."""

    def __init__(self, settings: ServeSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._doors: dict[str, WhipDoor] = {}
        self._mounts: dict[str, RtspMount] = {}
        self._registry = Registry(
            self._open, limits=settings.limits, clock=clock, forget=self._close_door
        )

    async def begin(self, stack: AsyncExitStack) -> None:
        """Listen, then begin the streams; ``stack`` ends it all in reverse."""
        settings, registry = self._settings, self._registry
        stack.enter_context(_without_secrets(registry, settings))
        app = build_app(
            registry,
            allowed_origins=settings.allow_origins,
            access=Access(token=settings.token),
            admission=Admission(
                policy=settings.sources,
                allow_files=settings.allow_files,
                hls_folder=settings.hls_folder,
                serves_rtsp=settings.rtsp is not None,
            ),
            routers=self._routers(),
            clock=self._clock,
        )
        listen, rtsp = settings.listen, settings.rtsp
        server = await stack.enter_async_context(Server(app, host=listen.host, port=listen.port))
        if rtsp is not None:
            mounts = await stack.enter_async_context(
                RtspServer(
                    self._mounts,
                    host=rtsp.listen.host,
                    port=rtsp.listen.port,
                    users=rtsp.users,
                    clock=self._clock,
                )
            )
            say(f"streamer: rtsp: outputs are at {mounts.url} and their stream's name")
        # Last in, first out: the streams end while their viewers are still connected.
        await stack.enter_async_context(registry)
        for one in settings.streams:
            await registry.add(one)
        say(f"streamer: open {server.url} (Ctrl-C ends it)")

    def _routers(self) -> Sequence[APIRouter]:
        return (whip_routes(self._doors), hls_routes(self._hls_folder))

    async def _open(self, settings: StreamSettings) -> RunningStream:
        if settings.source == "whip:" and settings.name not in self._doors:
            # Loading aiortc takes a second; the door would do it on the event loop.
            await asyncio.to_thread(import_module, "streamer.sources.rtc_publisher")
            self._doors[settings.name] = WhipDoor(
                settings.name, clock=self._clock, ice_servers=self._settings.ice_servers
            )
        # Not on the event loop: settings look at their files.
        settings = await asyncio.to_thread(
            replace, settings, ice_servers=self._settings.ice_servers
        )
        return await open_stream(
            settings,
            clock=self._clock,
            doors=self._doors,
            mounts=self._mounts,
        )

    async def _close_door(self, name: str) -> None:
        door = self._doors.pop(name, None)
        if door is not None:
            await door.close()

    def _hls_folder(self, name: str) -> Path | None:
        stream = self._registry.get(name)
        if stream is None:
            return None
        folders = (Path(one.target) for one in stream.settings.sinks if one.kind == "hls")
        return next(folders, None)


@contextmanager
def _without_secrets(registry: Registry, settings: ServeSettings) -> Iterator[None]:
    """Nothing that any library logs while the block runs holds a token or a password."""
    users = settings.rtsp.users if settings.rtsp is not None else None
    relays = {server.credential or "" for server in settings.ice_servers}
    given = (settings.token or "", *(users or {}).values(), *relays)
    own = {one for one in given if len(one) >= SHORTEST}
    redacting = RedactingFilter(lambda: registry.secrets() | own)
    handlers = logging.getLogger().handlers
    for handler in handlers:
        handler.addFilter(redacting)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(redacting)
