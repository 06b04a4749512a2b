"""The fastest engine of a network that computes the right thing on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

from streamer.clock import Clock
from streamer.errors import EngineError
from streamer.infer.engine import Engine
from streamer.infer.self_test import check
from streamer.infer.trial import PICTURE, time_engines
from streamer.infer.trial_store import TrialStore, trial_key
from streamer.model import ModelManifest

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


def choose_fastest(
    candidates: Sequence[Candidate], *, store: TrialStore, clock: Clock, cores: int | None = None
) -> Chosen:
    """The fastest of one network's candidates that passes its self-test, opened.

    ``cores``: how many they use, where those are not all that this process may use. Times are those of an earlier trial where the store has one; what is chosen passes its
    self-test all the same. Raises ``EngineError`` saying why each was refused when none is left.
    """
    with _one_at_a_time:
        return _fastest(candidates, store=store, clock=clock, cores=cores)


def _fastest(
    candidates: Sequence[Candidate], *, store: TrialStore, clock: Clock, cores: int | None
) -> Chosen:
    by_label = {candidate.label: candidate for candidate in candidates}
    key = trial_key({label: candidate.manifest for label, candidate in by_label.items()}, cores)
    variant = candidates[0].manifest.variant
    refused: dict[str, EngineError] = {}
    remembered = store.recall(key)
    if remembered is not None:
        for label in remembered.costs_ms:
            engine = _opened(by_label.pop(label, None), refused)
            if engine is not None:
                when = f"{variant} as in the trial of {remembered.tried_on} at {PICTURE}"
                return Chosen(engine, _said(when, remembered.costs_ms, refused))
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
    timings = time_engines(engines, clock)
    best, *others = timings.costs_ms
    for label in others:
        engines[label].close()
    when = f"{engines[best].manifest.variant} tried here at {PICTURE}"
    if timings.is_steady:
        store.keep(key, timings.costs_ms)
    else:
        when += " while the machine was busy, to be tried again next time"
    return Chosen(engines[best], _said(when, timings.costs_ms, refused))


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


def _said(when: str, costs_ms: Mapping[str, float], refused: Mapping[str, EngineError]) -> str:
    costs = ", ".join(f"{label} {cost_ms:.1f} ms" for label, cost_ms in costs_ms.items())
    said = f"{when}: {costs}" if costs else when
    return "; ".join([said, *(f"without {label}: {error}" for label, error in refused.items())])
