"""What a stream would do, said before anything runs."""

from __future__ import annotations

from dataclasses import dataclass

from streamer.clock import MonotonicClock
from streamer.config import StreamSettings, place_of
from streamer.enhance.assembly import Choices, choose
from streamer.infer.backends import Choice
from streamer.infer.engine import Engine
from streamer.infer.trial import PICTURE
from streamer.metrics import Metrics
from streamer.rungs import rungs_of

ON_DEVICE = "not done to pictures that stay on a device; --denoise on cleans them on the host"


def describe_stream(settings: StreamSettings) -> str:
    """The chain, its engine and its latency budget as text. Raises ``EngineError``."""
    choices = choose(settings, MonotonicClock(), Metrics())
    stage = choices.stage
    stage.close()
    is_refused = choices.device.stage is None and bool(choices.device.reason)
    made = _made(settings, choices.make)
    cleaned = _cleaned(settings, choices)
    tiers = tuple(rung.name for rung in rungs_of(stage.tiers, makes_frames=made.makes))
    outputs = ", ".join(sink.label for sink in settings.sinks)
    loss = "nothing is dropped, the links wait" if settings.is_offline else "late frames step down"
    return "\n".join(
        (
            f"stream {settings.name}: {place_of(settings.source)} to {outputs}",
            f"  way      source > decode > super-resolve{made.step} > encode once > outputs",
            f"  scale    x{settings.scale}",
            f"  rate     {made.rate}",
            *(f"  engine   {_engine(engine)}" for engine in stage.engines.values()),
            f"           {choices.upscale.reason}",
            *_costs(choices.upscale),
            *((f"           {choices.device.reason}",) if is_refused else ()),
            *made.engines,
            *cleaned,
            *_steadied(choices.steady),
            f"  tiers    {' > '.join(tiers)}",
            *((f"  sharpen  {settings.sharpen:g}, on every tier",) if settings.sharpen else ()),
            f"  waits    {made.waits}",
            f"  budget   {settings.budget_ms:g} ms from arrival to outputs; {loss}",
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """What is said of frames that no source sent."""

    step: str = ""
    rate: str = "as it comes"
    engines: tuple[str, ...] = ()
    waits: str = "for no later frame"
    makes: bool = False


def _made(settings: StreamSettings, choice: Choice | None) -> _Made:
    task, rate = settings.made_task, settings.rate
    if choice is None:
        step = " > fill losses" if settings.fills_losses else ""
        return _Made(step=step, rate="as it comes" if rate is None else f"{rate} by leaving out")
    for engine in choice.engines:
        engine.close()
    engines = (f"  engine   {_engine(choice.engines[0])}", f"           {choice.reason}")
    waits = f"{settings.waits_intervals} of an interval for the next frame"
    return _Made(
        step=" > make frames",
        rate=f"{rate} by {task}",
        engines=engines,
        waits=waits if settings.waits_for_next else "for no later frame",
        makes=True,
    )


def _cleaned(settings: StreamSettings, choices: Choices) -> tuple[str, ...]:
    """What is said of denoising; its engine is closed."""
    choice = choices.denoise
    if choice is None:
        is_left_out = settings.denoise != "off"
        return (f"  denoise  {ON_DEVICE}",) if is_left_out else ()
    for engine in choice.engines:
        engine.close()
    calm = "auto: while there is noise, live where there is time"
    when = calm if settings.denoise == "auto" else "on: always"
    said = [f"{_engine(engine)} ({when})" for engine in choice.engines] or ["not done"]
    return (f"  denoise  {said[0]}", f"           {choice.reason}")


def _steadied(choice: Choice | None) -> tuple[str, ...]:
    """What is said of steadying; its engine is closed."""
    if choice is None:
        return ()
    for engine in choice.engines:
        engine.close()
    said = [_engine(engine) for engine in choice.engines] or ["not done"]
    return (f"  steady   {said[0]}", f"           {choice.reason}")


def _costs(choice: Choice) -> tuple[str, ...]:
    """What decides with which network a live stream begins, where it is known."""
    dearest = sorted(choice.costs_ms.items(), key=lambda item: -item[1])
    costs = ", ".join(f"{variant} {cost_ms:.1f}" for variant, cost_ms in dearest)
    if not costs:
        return ()
    return (
        f"  costs    {costs} ms alone for {PICTURE}; live, what cannot be expected to fit is not run",
    )


def _engine(engine: Engine) -> str:
    manifest = engine.manifest
    return (
        f"{manifest.name}, {manifest.precision} on {engine.backend}, "
        f"{manifest.parameters} parameters, {manifest.macs_per_pixel} MAC per input pixel"
    )
