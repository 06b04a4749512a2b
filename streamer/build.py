"""From settings to a stream whose parts are open and warm."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, MutableMapping
from importlib import import_module
from random import Random
from types import MappingProxyType

from streamer.clock import Clock
from streamer.config import LIVE_KINDS, StreamSettings, place_of, source_kind
from streamer.enhance.chain import Chain
from streamer.enhance.super_resolution import SuperResolution
from streamer.errors import ConfigError
from streamer.infer.backends import Choice, choose_super_resolution
from streamer.metrics import Metrics
from streamer.outlets import Outlets
from streamer.pipeline import Stream
from streamer.schedule import TierLadder
from streamer.sinks.rtsp_mount import RtspMount
from streamer.sources.base import PacketSource, Source
from streamer.sources.lasting import Lasting, Opener
from streamer.sources.opening import open_source
from streamer.sources.whip import WhipDoor

_log = logging.getLogger(__name__)


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
    stage = SuperResolution((await asyncio.to_thread(_choose, settings, clock)).engines)
    try:
        source = await _open_source(settings, clock, metrics, doors)
    except BaseException:
        stage.close()
        raise
    try:
        await asyncio.to_thread(stage.warm_up, source.video.width & ~1, source.video.height & ~1)
        outlets = Outlets(settings, source=source, clock=clock, metrics=metrics, mounts=mounts)
        return Stream(
            settings,
            source=source,
            chain=Chain(stage, TierLadder(stage.tiers, clock), clock, metrics),
            outlets=outlets,
            clock=clock,
            metrics=metrics,
        )
    except BaseException:
        stage.close()
        await source.close()
        raise


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
            opened = await open_source(
                settings.source,
                clock=clock,
                paced=True,
                may_connect=settings.reach.may_connect if settings.reach is not None else None,
            )
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


def _choose(settings: StreamSettings, clock: Clock) -> Choice:
    choice = choose_super_resolution(
        scale=settings.scale, backend=settings.backend, variant=settings.variant, clock=clock
    )
    if choice.engines[0].backend == "reference" and settings.backend != "reference":
        # Less than what was asked for: the user must see it.
        _log.warning("%s", choice.reason)
    else:
        names = ", ".join(f"{e.manifest.name} on {e.backend}" for e in choice.engines)
        _log.info("engines: %s (%s)", names, choice.reason)
    return choice
