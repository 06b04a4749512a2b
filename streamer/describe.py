"""What a stream would do, said before anything runs."""

from __future__ import annotations

from streamer.clock import MonotonicClock
from streamer.config import StreamSettings, redacted
from streamer.enhance.chain import Chain
from streamer.enhance.super_resolution import SuperResolution
from streamer.infer.backends import choose_super_resolution
from streamer.infer.engine import Engine


def describe_stream(settings: StreamSettings) -> str:
    """The chain, its engine and its latency budget as text. Raises ``EngineError``."""
    choice = choose_super_resolution(
        scale=settings.scale,
        backend=settings.backend,
        variant=settings.variant,
        clock=MonotonicClock(),
    )
    stage = SuperResolution(choice.engines)
    stage.close()
    outputs = ", ".join(sink.label for sink in settings.sinks)
    loss = "nothing is dropped, the links wait" if settings.is_offline else "late frames step down"
    return "\n".join(
        (
            f"stream {settings.name}: {redacted(settings.source)} to {outputs}",
            "  way      source > decode > super-resolve > encode once > outputs",
            f"  scale    x{settings.scale}",
            *(f"  engine   {_engine(engine)}" for engine in choice.engines),
            f"           {choice.reason}",
            f"  tiers    {' > '.join(stage.tiers)}",
            f"  waits    for {Chain.lookahead_frames} later frames, each an interval of latency",
            f"  budget   {settings.budget_ms:g} ms from arrival to outputs; {loss}",
        )
    )


def _engine(engine: Engine) -> str:
    manifest = engine.manifest
    return (
        f"{manifest.name}, {manifest.precision} on {engine.backend}, "
        f"{manifest.parameters} parameters, {manifest.macs_per_pixel} MAC per input pixel"
    )
