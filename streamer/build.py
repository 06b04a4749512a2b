"""From settings to a stream whose parts are open and warm."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, MutableMapping
from contextlib import AsyncExitStack
from importlib import import_module
from random import Random
from types import MappingProxyType

from streamer.clock import Clock
from streamer.config import LIVE_KINDS, StreamSettings, place_of, source_kind
from streamer.enhance.assembly import Engines, build_chain, choose_engines
from streamer.errors import ConfigError, SinkError
from streamer.metrics import Metrics
from streamer.outlets import Outlets
from streamer.pipeline import Stream
from streamer.rtsp.url import parse_url
from streamer.sinks.muxer_target import target_of
from streamer.sinks.rtsp_mount import RtspMount
from streamer.sources.base import PacketSource, Source
from streamer.sources.lasting import Lasting, Opener
from streamer.sources.network_address import parse
from streamer.sources.opening import open_source, open_within
from streamer.sources.whip import WhipDoor

_log = logging.getLogger(__name__)


def check_addresses(settings: StreamSettings) -> None:
    """Raises ``ConfigError`` for an address of the source or of an output that can never work. Nothing is
    looked up or opened."""
    kind = source_kind(settings.source)
    if kind == "rtsp":
        parse_url(settings.source)
    elif kind == "network":
        parse(settings.source)
    for sink in settings.sinks:
        if sink.kind != "push":
            continue
        try:
            target_of(sink.target)
        except SinkError as error:
            raise ConfigError(str(error)) from error


async def open_stream(
    settings: StreamSettings,
    *,
    clock: Clock,
    doors: Mapping[str, WhipDoor] = MappingProxyType({}),
    mounts: MutableMapping[str, RtspMount] | None = None,
) -> Stream:
    """Open the source and the engine; outputs are created, but nothing is written yet.

    ``doors`` are where publishers come in, by stream. A stream with an ``rtsp:`` output puts its
    mount into ``mounts`` and takes it out when it ends. Raises ``ConfigError``, ``SourceError``,
    ``EngineError`` or ``SinkError``, each with the next step in its text; whatever was opened by
    then is closed.
    """
    metrics = Metrics()
    if any(spec.kind == "webrtc" for spec in settings.sinks):
        # Loading aiortc takes a second; the sink would do it on the event loop.
        await asyncio.to_thread(import_module, "streamer.sinks.rtc_peer")
    # The engines come first: while they are tried, a live source would pile up old pictures.
    choosing = asyncio.ensure_future(asyncio.to_thread(choose_engines, settings, clock, metrics))
    try:
        engines = await asyncio.shield(choosing)
    except asyncio.CancelledError:
        choosing.add_done_callback(_close_unwanted)
        raise
    async with AsyncExitStack() as opened:
        # Not on the event loop: on a device that waits for what is under way.
        opened.push_async_callback(asyncio.to_thread, engines.close)
        source = await _open_source(settings, clock, metrics, doors)
        opened.push_async_callback(source.close)
        building = asyncio.ensure_future(
            asyncio.to_thread(
                build_chain, settings, engines, source.video, clock=clock, metrics=metrics
            )
        )
        # It runs them; a thread goes on though nobody waits for it any more.
        opened.push_async_callback(asyncio.wait, {building})
        chain = await asyncio.shield(building)
        stream = Stream(
            settings,
            source=source,
            chain=chain,
            outlets=Outlets(settings, source=source, clock=clock, metrics=metrics, mounts=mounts),
            clock=clock,
            metrics=metrics,
            gpu=engines.device.gpu,
        )
        opened.pop_all()
        return stream


def _close_unwanted(choosing: asyncio.Future[Engines]) -> None:
    """Of a stream that was given up while its engines were tried, which may take minutes."""
    if not choosing.cancelled() and choosing.exception() is None:
        asyncio.get_running_loop().run_in_executor(None, choosing.result().close)


async def _open_source(
    settings: StreamSettings, clock: Clock, metrics: Metrics, doors: Mapping[str, WhipDoor]
) -> Source:
    """The opened source; one that may come back is looked for again whenever it is lost."""
    kind = source_kind(settings.source)
    if kind == "whip":
        door = doors.get(settings.name)
        if door is None:
            raise ConfigError("whip: needs a server to publish to; use it under streamer serve")
        opener: Opener = door.source
    elif kind in LIVE_KINDS:

        async def opener() -> PacketSource:
            # A device has no host.
            if settings.reach is None or kind == "device":
                opened = await open_source(settings.source, clock=clock, paced=True)
            else:
                opened = await open_within(settings.reach, settings.source, clock=clock)
            assert isinstance(opened, PacketSource)
            return opened

    else:
        return await open_source(settings.source, clock=clock, paced=not settings.is_offline)
    return await Lasting.open(
        opener,
        label=_label(settings),
        clock=clock,
        metrics=metrics,
        random=Random(),
    )


def _label(settings: StreamSettings) -> str:
    """What the log calls the source."""
    if settings.source == "whip:":
        return f"whip:{settings.name}"
    return place_of(settings.source) if "://" in settings.source else settings.source
