"""The fastest engine of a network that computes the right thing on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock

from streamer.clock import Clock
from streamer.errors import EngineError
from streamer.infer.engine import Engine
from streamer.infer.self_test import check
from streamer.infer.trial import HOPELESS, PICTURE, time_again, time_engines, time_together
from streamer.infer.trial_store import TrialStore, trial_key
from streamer.model import ModelManifest

FASTER = 0.9
"""Of what was remembered: a ladder that takes less than that is remembered anew."""

_one_at_a_time = Lock()
"""Streams that start together would disturb each other's trials; and what the first of them finds,
the others need not try."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to run a network."""

    backend: str
    manifest: ModelManifest
    open: Callable[[ModelManifest], Engine]

    @property
    def label(self) -> str:
        """Backend and precision, which no two candidates of a network share."""
        return f"{self.backend} {self.manifest.precision}"


@dataclass(frozen=True, slots=True)
class Chosen:
    """An engine that passed its self-test, and in one sentence why it is this one."""

    engine: Engine
    reason: str
    costs_ms: Mapping[str, float] = field(default_factory=dict)
    """By the candidates' labels, as they were tried; empty where there was but one."""

    @property
    def hopeless(self) -> frozenset[str]:
        """Labels that need not be tried with a larger network: they took far longer with this one."""
        limit_ms = HOPELESS * min(self.costs_ms.values(), default=0.0)
        return frozenset(label for label, cost_ms in self.costs_ms.items() if cost_ms > limit_ms)


def choose_fastest(
    candidates: Sequence[Candidate], *, store: TrialStore, clock: Clock, cores: int | None = None
) -> Chosen:
    """The fastest of one network's candidates that passes its self-test, opened.

    ``cores``: how many they use, where those are not all that this process may use. Times are those of an
    earlier trial where the store has one; what is chosen passes its self-test all the same.
    Raises ``EngineError`` saying why each was refused when none is left.
    """
    with _one_at_a_time:
        return _fastest(candidates, store=store, clock=clock, cores=cores)


def costs_together(
    engines: Sequence[Engine], *, store: TrialStore, clock: Clock, cores: int | None = None
) -> Mapping[str, float]:
    """What a run of each takes beside the others at ``PICTURE``, in ms, by variant; as earlier where
    the store has it and they are no faster now. ``engines`` are of different variants; ``cores`` as above.

    Their own trials do not tell: they may be weeks and loads apart.
    """
    by_variant = {engine.manifest.variant: engine for engine in engines}
    labels = {v: f"{v} {e.backend} {e.manifest.precision}" for v, e in by_variant.items()}
    with _one_at_a_time:
        key = trial_key({labels[v]: e.manifest for v, e in by_variant.items()}, cores)
        remembered = store.recall(key)
        if remembered is not None and remembered.costs_ms.keys() == by_variant.keys():
            # All of them were slow alike where the machine was busy, which that trial could not tell.
            costs_ms = time_again(by_variant, clock)
            if sum(costs_ms.values()) >= FASTER * sum(remembered.costs_ms.values()):
                return remembered.costs_ms
            store.keep(key, costs_ms)
            return costs_ms
        timings = time_together(by_variant, clock)
        if timings.is_steady:
            store.keep(key, timings.costs_ms)
        return timings.costs_ms


def _fastest(
    candidates: Sequence[Candidate], *, store: TrialStore, clock: Clock, cores: int | None
) -> Chosen:
    by_label = {candidate.label: candidate for candidate in candidates}
    key = trial_key({label: candidate.manifest for label, candidate in by_label.items()}, cores)
    variant = candidates[0].manifest.variant
    refused: dict[str, EngineError] = {}
    remembered = store.recall(key)
    if remembered is not None:
        then: dict[str, object] = {
            label: "refused then" for label in by_label if label not in remembered.costs_ms
        }
        for label in remembered.costs_ms:
            engine = _opened(by_label.pop(label, None), refused)
            if engine is not None:
                when = f"{variant} as in the trial of {remembered.tried_on} at {PICTURE}"
                said = _said(when, remembered.costs_ms, {**then, **refused})
                return Chosen(engine, said, remembered.costs_ms)
    engines: dict[str, Engine] = {}
    for label, candidate in by_label.items():
        engine = _opened(candidate, refused)
        if engine is not None:
            engines[label] = engine
    if not engines:
        raise EngineError("; ".join(dict.fromkeys(str(error) for error in refused.values())))
    if len(engines) == 1:
        label, engine = engines.popitem()
        return Chosen(engine, _said(f"{variant} runs here on {label} alone", {}, refused))
    return _by_trial(engines, key, refused, store=store, clock=clock)


def _by_trial(
    engines: Mapping[str, Engine],
    key: str,
    refused: Mapping[str, EngineError],
    *,
    store: TrialStore,
    clock: Clock,
) -> Chosen:
    try:
        timings = time_engines(engines, clock)
    except EngineError:
        for engine in engines.values():
            engine.close()
        raise
    best, *others = timings.costs_ms
    for label in others:
        engines[label].close()
    when = f"{engines[best].manifest.variant} tried here at {PICTURE}"
    if timings.is_steady:
        store.keep(key, timings.costs_ms)
    else:
        when += " while the machine was busy, to be tried again next time"
    said = _said(when, timings.costs_ms, refused)
    return Chosen(engines[best], said, timings.costs_ms)


def _opened(candidate: Candidate | None, refused: dict[str, EngineError]) -> Engine | None:
    """The candidate's engine if it can be had and passes its self-test; else it is refused."""
    if candidate is None:
        return None
    try:
        engine = candidate.open(candidate.manifest)
    except EngineError as error:
        refused[candidate.label] = error
        return None
    try:
        check(engine)
    except EngineError as error:
        engine.close()
        refused[candidate.label] = error
        return None
    return engine


def _said(when: str, costs_ms: Mapping[str, float], refused: Mapping[str, object]) -> str:
    costs = ", ".join(f"{label} {cost_ms:.1f} ms" for label, cost_ms in costs_ms.items())
    said = f"{when}: {costs}" if costs else when
    return "; ".join([said, *(f"without {label}: {error}" for label, error in refused.items())])
