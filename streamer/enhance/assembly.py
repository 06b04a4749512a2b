"""From settings to the chain that enhances a stream, its engines open and warm."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from streamer.clock import Clock
from streamer.config import StreamSettings
from streamer.enhance.chain import Chain
from streamer.enhance.conceal import Concealer
from streamer.enhance.frame_maker import FrameMaker
from streamer.enhance.made_frames import MadeFrames
from streamer.enhance.making import Making
from streamer.enhance.scene_change import SceneWatch
from streamer.enhance.slots import Slots, output_time_base
from streamer.enhance.steady import Steady
from streamer.enhance.super_resolution import SuperResolution
from streamer.infer.backends import Choice, choose_motion, choose_super_resolution
from streamer.infer.engine import Engine
from streamer.infer.guarded import Guarded
from streamer.media import VideoInfo
from streamer.metrics import Metrics
from streamer.rate import Rate
from streamer.schedule import TierLadder

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Engines:
    """The networks of a stream, opened, each watched for outputs that cannot be."""

    upscale: tuple[Engine, ...]
    make: Engine | None
    """Of made frames; ``None`` where no frames are made."""

    def close(self) -> None:
        for engine in filter(None, (*self.upscale, self.make)):
            engine.close()


def choose_engines(settings: StreamSettings, clock: Clock, metrics: Metrics) -> Engines:
    """What ``settings`` ask for, as fast as this machine has it. Raises ``EngineError``."""
    upscale = choose_super_resolution(
        scale=settings.scale, backend=settings.backend, variant=settings.variant, clock=clock
    )
    _say(upscale, settings)
    guarded = tuple(
        engine if engine.backend == "reference" else Guarded(engine, clock, metrics)
        for engine in upscale.engines
    )
    if settings.made_task is None and settings.rate is None:
        return Engines(guarded, None)
    make = choose_motion(
        task=settings.made_task or "prediction", backend=settings.backend, clock=clock
    )
    _log.info("made frames: %s (%s)", make.engines[0].manifest.name, make.reason)
    best, *others = make.engines
    if not others:
        return Engines(guarded, best)
    return Engines(guarded, Guarded(best, clock, metrics, fallback=others[-1]))


def _say(choice: Choice, settings: StreamSettings) -> None:
    if choice.engines[0].backend == "reference" and settings.backend != "reference":
        # Less than what was asked for: the user must see it.
        _log.warning("%s", choice.reason)
    else:
        names = ", ".join(f"{e.manifest.name} on {e.backend}" for e in choice.engines)
        _log.info("engines: %s (%s)", names, choice.reason)


def build_chain(
    settings: StreamSettings, engines: Engines, video: VideoInfo, *, clock: Clock, metrics: Metrics
) -> Chain:
    """The chain for pictures as ``video`` announces them; it closes ``engines``."""
    steady = Steady(follows_motion=True) if settings.steady else None
    stage = SuperResolution(engines.upscale, steady=steady)
    stage.warm_up(video.width & ~1, video.height & ~1)
    makes = settings.rate is not None and settings.between != "none"
    return Chain(
        stage,
        TierLadder(stage.tiers, clock, makes_frames=makes),
        clock,
        metrics,
        concealer=_concealer(settings, engines.make, metrics),
        making=_making(settings, video, stage, engines.make, clock, metrics),
    )


def _making(
    settings: StreamSettings,
    video: VideoInfo,
    stage: SuperResolution,
    engine: Engine | None,
    clock: Clock,
    metrics: Metrics,
) -> Making | None:
    """What makes frames; nothing where none are wanted."""
    if engine is None:
        return None
    rate = settings.rate
    time_base = video.time_base
    if rate is not None:
        time_base = output_time_base(time_base, rate)
    maker = FrameMaker(engine)
    maker.warm_up(video.width & ~1, video.height & ~1, scale=stage.scale)
    return Making(
        MadeFrames(maker, SceneWatch(), stage.lend),
        Slots(rate or Rate(times=2), time_base),
        engine=engine,
        rate=rate,
        between=settings.between,
        time_base=time_base,
        clock=clock,
        metrics=metrics,
    )


def _concealer(
    settings: StreamSettings, engine: Engine | None, metrics: Metrics
) -> Concealer | None:
    """What mends damaged pictures; it looks at other pairs than ``Making`` does."""
    if engine is None or not settings.fills_losses:
        return None
    return Concealer(FrameMaker(engine).ahead, metrics)
