"""Looks at a source, and measures what this machine could do with it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from threading import Event
from typing import Any

from streamer import report
from streamer.clock import Clock, MonotonicClock
from streamer.config import SCALES
from streamer.costs import ALONE
from streamer.decode import Decoder
from streamer.enhance.super_resolution import SuperResolution
from streamer.errors import SourceError
from streamer.frame import Frame
from streamer.infer.backends import Use, choose_super_resolution
from streamer.metrics import Metrics, Samples, Summary
from streamer.rungs import Rung, most_share
from streamer.sources.base import FrameSource, PacketSource, Source
from streamer.sources.opening import open_source
from streamer.worker import Worker

FRAMES = 24
"""Real frames on which each tier is timed."""


async def probe_source(source_text: str) -> dict[str, Any]:
    """What the source gives, and per scale and tier the measured p95 and whether a live stream would run
    it."""
    clock = MonotonicClock()
    source = await open_source(source_text, clock=clock, paced=False)
    stopping = Event()
    try:
        frames = await _first_frames(source, clock)
        if not frames:
            raise SourceError(f"{source_text} gives no picture; check it with another player")
        tiers = await asyncio.to_thread(_time_tiers, frames, source, clock, stopping)
        machine = await asyncio.to_thread(report.machine)
    finally:
        # Nobody can end a thread from outside, and the program waits for it.
        stopping.set()
        await source.close()
    return {
        "source": {**report.describe_source(source.video), "live": source.video.is_live},
        "duration_s": source.video.duration_s,
        "audio": report.describe_audio(source.audio),
        "tiers": tiers,
        "machine": machine,
    }


def as_text(found: dict[str, Any]) -> str:
    """The same for a person."""
    source, audio = found["source"], found["audio"]
    rate = f"{source['fps']:g} fps" if source["fps"] else "unknown rate"
    lines = [
        (
            f"video   {source['codec']} {source['width']}x{source['height']} {rate} "
            f"{source['pix_fmt']}, {source['color']['matrix']} {source['color']['range']}"
        ),
        "audio   "
        + (f"{audio['codec']} {audio['rate_hz']} Hz x{audio['channels']}" if audio else "none"),
        *(f"note    {note}" for note in source["notes"]),
    ]
    lines += [
        f"x{tier['scale']} {tier['tier']:6} {tier['model']} on {tier['backend']}: "
        f"p95 {tier['p95_ms']:.1f} ms, {'holds' if tier['holds'] else 'too slow'}"
        for tier in found["tiers"]
    ]
    return "\n".join(lines)


async def _first_frames(source: Source, clock: Clock) -> list[Frame]:
    if isinstance(source, PacketSource):
        return await _first_decoded(source, clock)
    assert isinstance(source, FrameSource)
    found: list[Frame] = []
    async for frame in source.frames():
        found.append(frame)
        if len(found) == FRAMES:
            break
    return found


async def _first_decoded(source: PacketSource, clock: Clock) -> list[Frame]:
    decoder = Decoder(source.video, low_delay=False, clock=clock, metrics=Metrics())
    found: list[Frame] = []
    async with Worker("decode") as worker:
        try:
            async for packet in source.packets():
                if packet.stream == "video":
                    found += await worker.call(decoder.decode, packet)
                if len(found) >= FRAMES:
                    break
            else:
                found += await worker.call(decoder.flush)
        finally:
            await worker.call(decoder.close)
    return found[:FRAMES]


def _time_tiers(
    frames: list[Frame], source: Source, clock: Clock, stopping: Event
) -> list[dict[str, Any]]:
    """Each tier of each scale; no more of them once ``stopping`` is set."""
    fps = float(source.video.fps or 30)
    results = []
    for scale in SCALES:
        if stopping.is_set():
            break
        choice = choose_super_resolution(scale=scale, backend="auto", use=Use(clock=clock))
        stage = SuperResolution(choice.engines)
        stage.warm_up(frames[0].width, frames[0].height)
        for tier in stage.tiers:
            if stopping.is_set():
                break
            costs = _costs(stage, tier, _until(stopping, frames), clock)
            results.append(
                {
                    "scale": scale,
                    "tier": tier,
                    "model": _model(stage, tier),
                    "backend": _backend(stage, tier),
                    "p95_ms": round(costs.p95, 2),
                    "holds": holds(tier, costs.p50, tiers=stage.tiers, fps=fps),
                }
            )
        stage.close()
    return results


def holds(tier: str, cost_ms: float, *, tiers: Sequence[str], fps: float) -> bool:
    """Whether a live stream with these ``tiers``, best first, would begin with one that takes ``cost_ms``
    alone, were there no better one: the ladder's rule, beside decoding and encoding."""
    return ALONE * cost_ms <= most_share(Rung(tier), tiers) * 1000 / fps


def _model(stage: SuperResolution, tier: str) -> str:
    return stage.engines[tier].manifest.name if tier in stage.engines else "bicubic"


def _backend(stage: SuperResolution, tier: str) -> str:
    """Each tier has its own; the plain one is what the reference engine does."""
    return stage.engines[tier].backend if tier in stage.engines else "reference"


def _until(stopping: Event, frames: list[Frame]) -> Iterator[Frame]:
    """The first frame in any case, the others while nobody wants to stop."""
    for frame in frames:
        yield frame
        if stopping.is_set():
            return


def _costs(stage: SuperResolution, tier: str, frames: Iterable[Frame], clock: Clock) -> Summary:
    costs = Samples()
    for frame in frames:
        began_ns = clock.now_ns()
        stage.process(frame, tier=tier, with_comparison=False)
        costs.add((clock.now_ns() - began_ns) / 1e6)
    summary = costs.summary()
    assert summary is not None
    return summary
