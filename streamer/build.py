"""From settings to a stream whose parts are open and warm."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from importlib import import_module

from streamer.clock import Clock
from streamer.config import SinkSpec, StreamSettings
from streamer.encode import Encoder, live_bitrate_bps
from streamer.enhance.chain import Chain
from streamer.enhance.super_resolution import SuperResolution
from streamer.infer.backends import Choice, choose_super_resolution
from streamer.metrics import Metrics
from streamer.pipeline import Rendition, Stream
from streamer.schedule import TierLadder
from streamer.sinks.base import Sink
from streamer.sinks.fanout import FanOut
from streamer.sinks.file import FileSink
from streamer.sinks.null import NullSink
from streamer.sinks.raw import Y4mSink
from streamer.sinks.webrtc import WebRtcSink
from streamer.sources.base import Source
from streamer.sources.opening import open_source

_log = logging.getLogger(__name__)


async def open_stream(settings: StreamSettings, *, clock: Clock) -> Stream:
    """Open the source and the engine; outputs are created, but nothing is written yet.

    Raises ``ConfigError``, ``SourceError``, ``EngineError`` or ``SinkError``, each with the next
    step in its text; whatever was opened by then is closed.
    """
    source = await open_source(settings.source, clock=clock, paced=not settings.is_offline)
    try:
        if any(spec.kind == "webrtc" for spec in settings.sinks):
            # Loading aiortc takes a second; the sink would do it on the event loop.
            await asyncio.to_thread(import_module, "streamer.sinks.rtc_peer")
        choice = await asyncio.to_thread(_choose, settings, clock)
        stage = SuperResolution(choice.engines)
        await asyncio.to_thread(stage.warm_up, source.video.width & ~1, source.video.height & ~1)
        return _assemble(settings, source, stage, clock)
    except BaseException:
        await source.close()
        raise


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


def _assemble(
    settings: StreamSettings, source: Source, stage: SuperResolution, clock: Clock
) -> Stream:
    metrics = Metrics()
    chain = Chain(stage, TierLadder(stage.tiers, clock), clock, metrics)
    lasting = [spec for spec in settings.sinks if spec.kind in ("file", "null")]
    is_watchable = any(spec.kind == "webrtc" for spec in settings.sinks)

    def rendition(name: str, specs: Sequence[SinkSpec]) -> Rendition:
        return _rendition(name, specs, settings, source, clock, metrics, is_watchable=is_watchable)

    return Stream(
        settings,
        source=source,
        chain=chain,
        enhanced=rendition("enhanced", lasting) if lasting or is_watchable else None,
        comparison=rendition("compare", ()) if is_watchable else None,
        raw_sinks=[
            Y4mSink(spec.target, fps=source.video.fps)
            for spec in settings.sinks
            if spec.kind == "y4m"
        ],
        clock=clock,
        metrics=metrics,
    )


def _rendition(
    name: str,
    specs: Sequence[SinkSpec],
    settings: StreamSettings,
    source: Source,
    clock: Clock,
    metrics: Metrics,
    *,
    is_watchable: bool,
) -> Rendition:
    encoder = Encoder(
        "encode" if name == "enhanced" else "encode_compare",
        settings.encode,
        fps=source.video.fps,
        is_live=not settings.is_offline,
        clock=clock,
        metrics=metrics,
    )
    sinks: list[tuple[str, Sink]] = [(spec.label, _sink(spec, source)) for spec in specs]
    webrtc = None
    if is_watchable:
        video, scale = source.video, settings.scale
        height = video.height * scale * (1 if name == "enhanced" else 2)
        webrtc = WebRtcSink(
            name,
            request_keyframe=encoder.request_keyframe,
            set_target_bitrate=encoder.set_target_bitrate,
            clock=clock,
            max_bitrate_bps=live_bitrate_bps(
                settings.encode, video.width * scale, height, video.fps
            ),
        )
        sinks.append(("webrtc", webrtc))
    fanout = FanOut(
        sinks,
        may_drop=not settings.is_offline,
        request_keyframe=encoder.request_keyframe,
        metrics=metrics,
    )
    return Rendition(
        name=name,
        encoder=encoder,
        fanout=fanout,
        webrtc=webrtc,
        is_for_viewers_only=not specs,
    )


def _sink(spec: SinkSpec, source: Source) -> Sink:
    if spec.kind == "file":
        return FileSink(spec.target, audio=source.audio)
    return NullSink()
