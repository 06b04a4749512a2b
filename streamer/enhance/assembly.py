"""From settings to the chain that enhances a stream, its engines open and warm."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain

from streamer.clock import Clock
from streamer.config import StreamSettings
from streamer.cores import usable_cores
from streamer.enhance.chain import Chain
from streamer.enhance.conceal import Concealer
from streamer.enhance.denoise import Denoising
from streamer.enhance.frame_maker import FrameMaker
from streamer.enhance.made_frames import MadeFrames
from streamer.enhance.making import Making
from streamer.enhance.noise_watch import NoiseWatch
from streamer.enhance.scene_change import SceneWatch
from streamer.enhance.slots import output_time_base
from streamer.enhance.steady import Steady
from streamer.enhance.super_resolution import SuperResolution
from streamer.errors import EngineError
from streamer.gpu.choosing import NOT_CHOSEN, DeviceChoice, choose_on_device
from streamer.gpu.encoding import encodes
from streamer.gpu.fallback import FallingBack, Upscaler
from streamer.gpu.made_frames import DeviceWarper
from streamer.infer.backends import (
    Choice,
    Use,
    choose_following,
    choose_motion,
    choose_super_resolution,
)
from streamer.infer.engine import Deadline, Engine
from streamer.infer.guarded import Guarded
from streamer.infer.reference import ReferenceEngine
from streamer.infer.reference_motion import ReferenceMotionEngine
from streamer.media import VideoInfo
from streamer.metrics import Metrics
from streamer.schedule import TierLadder

_log = logging.getLogger(__name__)


LIKELY_FPS = 30
"""Of a stream that does not say."""

DENOISING_MACS, STEADYING_MACS = 9_100, 32_000
"""What either takes where everything moves, steadying behind x2, as multiply-accumulates per pixel of a
network that enlarges: 9.3 ms where ``lite`` with 11.4k takes 11.7, and 10.9 where it takes 3.8."""

HELD = 0.45
"""Of the interval that networks and denoising may take alone, so that both are held beside decoder
and encoder: 0.35 of it was held on two cores, 0.6 in one run of four."""


@dataclass(frozen=True, slots=True)
class Engines:
    """The networks of a stream, opened, each watched for outputs that cannot be."""

    upscale: tuple[Engine, ...]
    make: Engine | None
    """Of made frames; ``None`` where all real ones leave and no others."""
    deadline: Deadline
    """Of the picture at hand, for engines that wait for the pictures of other streams."""
    device: DeviceChoice = NOT_CHOSEN
    """What upscales in place of ``upscale`` where pictures stay on a device."""
    denoise: Engine | None = None
    """Of denoising; ``None`` where none is done."""
    steady: Engine | None = None
    """Of steadying; ``None`` where none is done."""
    pixel_ns: Mapping[str, float] = field(default_factory=dict)
    """What each of ``upscale`` takes alone, by tier, in ns per pixel of the input."""

    def close(self) -> None:
        if self.device.stage is not None:
            self.device.stage.close()
        for engine in filter(None, (*self.upscale, self.make, self.denoise, self.steady)):
            engine.close()


@dataclass(frozen=True, slots=True)
class Choices:
    """What this machine has for a stream, and why that."""

    upscale: Choice
    """Without engines where a device is chosen."""
    make: Choice | None
    """Of made frames; ``None`` where none are made."""
    device: DeviceChoice
    denoise: Choice | None = None
    """Of denoising; ``None`` where none is asked for, or pictures stay on a device."""
    steady: Choice | None = None
    """Of steadying; ``None`` where none is to be done, or pictures stay on a device."""

    @property
    def stage(self) -> Upscaler:
        """What upscales; it closes its engines."""
        return self.device.stage or SuperResolution(self.upscale.engines)


def choose(
    settings: StreamSettings, clock: Clock, metrics: Metrics, *, deadline: Deadline | None = None
) -> Choices:
    """What ``settings`` ask for, as fast as this machine has it; its engines are to be closed.

    With the ``deadline`` of a stream they may be shared with other streams. Raises ``EngineError``.
    """
    device = NOT_CHOSEN
    # What follows things over time is on the host, and so is what sharpens.
    if not settings.steady and not settings.sharpen and settings.denoise != "on":
        device = choose_on_device(
            scale=settings.scale,
            backend=settings.backend,
            variant=settings.variant,
            metrics=metrics,
            clock=clock,
            deadline=deadline,
            lands_at_once=lambda: _is_shown_by_host(settings),
        )
    use = _use(settings, clock, deadline)
    if device.stage is not None:
        upscale = Choice((), device.reason)
    else:
        upscale = _choose_on_host(settings, settings.backend, use)
    make = denoise = steady = None
    try:
        if settings.made_task is not None:
            make = choose_motion(task=settings.made_task, backend=settings.backend, use=use)
        if settings.denoise != "off" and device.stage is None:
            # Who enlarges without a network may still want what was asked for.
            is_plain = settings.backend == "reference" and settings.denoise == "on"
            backend = "auto" if is_plain else settings.backend
            denoise = choose_following(task="denoising", backend=backend, use=use)
        if settings.steadies and device.stage is None:
            steady = choose_following(task="steadying", backend=settings.backend, use=use)
    except EngineError:
        opened = [choice.engines for choice in (upscale, make, denoise) if choice is not None]
        Engines(tuple(chain(*opened)), None, Deadline(), device).close()
        raise
    return Choices(upscale, make, device, denoise, steady)


def choose_engines(settings: StreamSettings, clock: Clock, metrics: Metrics) -> Engines:
    """The engines of a stream with these ``settings``. Raises ``EngineError``."""
    deadline = Deadline()
    choices = choose(settings, clock, metrics, deadline=deadline)
    _say(choices.upscale, settings)
    upscale = _guarded(choices.upscale, clock, metrics)
    follower = partial(_follower, clock=clock, metrics=metrics)
    return Engines(
        upscale,
        _maker(settings, choices, clock, metrics),
        deadline,
        choices.device,
        follower(choices.denoise, task="denoising", is_asked_for=settings.denoise == "on"),
        follower(choices.steady, task="steadying", is_asked_for=bool(settings.steady)),
        choices.upscale.pixel_ns,
    )


def _is_shown_by_host(settings: StreamSettings) -> bool:
    """Whether each picture is needed there: to be encoded, or as it is."""
    takes_pictures = any(spec.kind == "y4m" for spec in settings.sinks)
    return takes_pictures or not encodes(settings.encode)


def _use(settings: StreamSettings, clock: Clock, deadline: Deadline | None) -> Use:
    # While a picture is enhanced, a core finds its motion: a network on all cores would wait for it
    # after each of its layers.
    threads = max(1, usable_cores() - 1) if settings.waits_for_next else None
    return Use(clock=clock, deadline=deadline, threads=threads, is_live=not settings.is_offline)


def _choose_on_host(settings: StreamSettings, backend: str, use: Use) -> Choice:
    return choose_super_resolution(
        scale=settings.scale, backend=backend, variant=settings.variant, use=use
    )


def _guarded(choice: Choice, clock: Clock, metrics: Metrics) -> tuple[Engine, ...]:
    return tuple(
        engine if engine.backend == "reference" else Guarded(engine, clock, metrics)
        for engine in choice.engines
    )


def _maker(
    settings: StreamSettings, choices: Choices, clock: Clock, metrics: Metrics
) -> Engine | None:
    if choices.make is None:
        # To fill losses or leave frames out no network is needed.
        makes = settings.fills_losses or settings.rate is not None
        return ReferenceMotionEngine() if makes else None
    best, *others = choices.make.engines
    _log.info("made frames: %s (%s)", best.manifest.name, choices.make.reason)
    return Guarded(best, clock, metrics, fallback=others[-1]) if others else best


def _follower(
    choice: Choice | None, *, clock: Clock, metrics: Metrics, task: str, is_asked_for: bool
) -> Engine | None:
    if choice is None:
        return None
    engines = _guarded(choice, clock, metrics)
    # Where it was asked for, the user must see that it is not done.
    level = logging.WARNING if is_asked_for and not engines else logging.INFO
    _log.log(level, "%s: %s", task, choice.reason)
    return engines[0] if engines else None


def _say(choice: Choice, settings: StreamSettings) -> None:
    if not choice.engines:
        _log.info("engines: %s", choice.reason)
    elif choice.engines[0].backend == "reference" and settings.backend != "reference":
        # Less than what was asked for: the user must see it.
        _log.warning("%s", choice.reason)
    else:
        names = ", ".join(f"{e.manifest.name} on {e.backend}" for e in choice.engines)
        _log.info("engines: %s (%s)", names, choice.reason)


def build_chain(
    settings: StreamSettings, engines: Engines, video: VideoInfo, *, clock: Clock, metrics: Metrics
) -> Chain:
    """The chain for pictures as ``video`` announces them; it closes ``engines``."""
    denoising = _denoising(settings, engines, video, clock, metrics)
    steady = Steady(engines.steady) if engines.steady else None
    stage, warper = _stage(settings, engines, denoising, steady, clock, metrics)
    stage.warm_up(video.width & ~1, video.height & ~1)
    makes = settings.rate is not None and settings.between != "none"
    return Chain(
        stage,
        TierLadder(stage.tiers, clock, makes_frames=makes, pixel_ns=engines.pixel_ns),
        clock,
        metrics,
        concealer=_concealer(settings, engines.make, metrics),
        making=_making(settings, video, stage, engines.make, clock, metrics, warper),
        denoising=denoising,
        steady=steady,
    )


def _stage(
    settings: StreamSettings,
    engines: Engines,
    denoising: Denoising | None,
    steady: Steady | None,
    clock: Clock,
    metrics: Metrics,
) -> tuple[Upscaler, DeviceWarper | None]:
    """What upscales, and what makes frames of the pictures that it leaves on a device; ``denoising`` and
    ``steady`` are for the host, nothing where there is a device."""
    device, deadline = engines.device, engines.deadline
    if device.stage is None or device.gpu is None:
        on_host = SuperResolution(
            engines.upscale,
            denoising=denoising,
            steady=steady,
            deadline=deadline,
            notice=device.reason,
            sharpness=settings.sharpen,
        )
        return on_host, None

    def host() -> SuperResolution:
        # The backend that was named is the one that failed.
        choice = _choose_on_host(settings, "auto", _use(settings, clock, deadline))
        return SuperResolution(_guarded(choice, clock, metrics), deadline=deadline)

    falling_back = FallingBack(
        device.stage,
        plain=lambda: SuperResolution((ReferenceEngine(settings.scale),)),
        host=host,
        metrics=metrics,
    )
    return falling_back, DeviceWarper(device.gpu)


def _denoising(
    settings: StreamSettings, engines: Engines, video: VideoInfo, clock: Clock, metrics: Metrics
) -> Denoising | None:
    if engines.denoise is None:
        return None
    if settings.denoise == "auto" and not settings.is_offline and not has_time(engines, video):
        _log.info("denoising: not done live at this size on this machine; --denoise on does it")
        engines.denoise.close()
        return None
    watch = NoiseWatch() if settings.denoise == "auto" else None
    return Denoising(engines.denoise, clock, metrics, watch=watch)


def has_time(engines: Engines, video: VideoInfo) -> bool:
    """Whether a live picture can be cleaned and then enlarged by ``lite``, or by what there is;
    also where it is not known what a network takes."""
    times = engines.pixel_ns
    variant = "lite" if "lite" in times else max(times, key=times.__getitem__, default="")
    macs = {engine.manifest.variant: engine.manifest.macs_per_pixel for engine in engines.upscale}
    if not macs.get(variant):
        return True
    besides = DENOISING_MACS + (STEADYING_MACS if engines.steady else 0)
    pixel_ns = times[variant] * (1 + besides / macs[variant])
    return pixel_ns * video.width * video.height <= HELD * 1e9 / (video.fps or LIKELY_FPS)


def _making(
    settings: StreamSettings,
    video: VideoInfo,
    stage: Upscaler,
    engine: Engine | None,
    clock: Clock,
    metrics: Metrics,
    warper: DeviceWarper | None,
) -> Making | None:
    """What makes frames; nothing where none are wanted."""
    if engine is None:
        return None
    rate = settings.rate
    time_base = video.time_base
    if rate is not None:
        time_base = output_time_base(time_base, rate)
    # A file has the time.
    maker = FrameMaker(engine, in_full=settings.is_offline, on_device=warper)
    maker.warm_up(video.width & ~1, video.height & ~1, scale=stage.scale)
    return Making(
        MadeFrames(maker, SceneWatch(), stage.lend),
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
    return Concealer(FrameMaker(ReferenceMotionEngine()).ahead, metrics)
