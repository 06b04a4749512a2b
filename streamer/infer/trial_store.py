"""Trials of earlier starts, kept per machine and model, so that the next start is quick."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib import metadata
from pathlib import Path
from secrets import token_hex
from typing import Any

from kernels.cache import user_cache
from streamer.cores import processor_facts, processor_name, usable_cores
from streamer.infer.trial import PICTURE
from streamer.model import ModelManifest

LASTS = timedelta(days=30)
"""After that a trial is made again: it may have met a busy machine, or drivers have changed."""

KEPT = 64
"""Trials in the file, newest last; each is half a kilobyte."""

PACKAGES = ("onnxruntime", "onnxruntime-gpu", "openvino")


@dataclass(frozen=True, slots=True)
class Remembered:
    """What an earlier trial found."""

    tried_on: date
    costs_ms: Mapping[str, float]
    """By the engine's label, fastest first; only those that passed their self-test."""


class TrialStore:
    """A small file of trials. What cannot be read is not there, what cannot be written is not kept:
    then every start makes its own trial."""

    def __init__(self, path: Path, *, today: date | None = None) -> None:
        self.path = path
        self._today = today or datetime.now(UTC).date()

    def recall(self, key: str) -> Remembered | None:
        """The trial of that key, unless it is too old."""
        try:
            remembered = _understood(self._read()[key])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            return None
        # One from the future was written under a wrong date.
        age = self._today - remembered.tried_on
        return remembered if timedelta(0) <= age <= LASTS else None

    def keep(self, key: str, costs_ms: Mapping[str, float]) -> None:
        """Puts a trial into the file, which is replaced in one step."""
        rounded = {label: round(cost_ms, 3) for label, cost_ms in costs_ms.items()}
        trials = {other: trial for other, trial in self._read().items() if other != key}
        trials[key] = {"tried_on": self._today.isoformat(), "costs_ms": rounded}
        newest = dict(list(trials.items())[-KEPT:])
        # Two may write at once, in containers that share the folder also under one process number.
        partial = self.path.with_name(f"{self.path.name}.{token_hex(8)}.partial")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(newest, indent=1), encoding="utf-8")
            os.replace(partial, self.path)
        except OSError:
            with suppress(OSError):
                partial.unlink()

    def _read(self) -> dict[str, Any]:
        try:
            trials = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return trials if isinstance(trials, dict) else {}


def user_store() -> TrialStore:
    """The one in the user's cache folder: ``$XDG_CACHE_HOME/streamer`` or ``~/.cache/streamer``."""
    return TrialStore(user_cache() / "trials.json")


def trial_key(models: Mapping[str, ModelManifest], cores: int | None = None) -> str:
    """Changes with all that a trial depends on: models by engine label, processor, how many of its
    ``cores`` (``None``: all that this process may use), packages."""
    depends = {
        "picture": PICTURE,
        "models": {label: manifest.sha256 for label, manifest in models.items()},
        "processor": _processor(),
        "cores": cores or usable_cores(),
        "packages": {name: _version(name) for name in PACKAGES},
    }
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()


def _understood(trial: Any) -> Remembered:
    costs_ms = {str(label): float(cost) for label, cost in trial["costs_ms"].items()}
    if not costs_ms or not all(math.isfinite(cost) and cost > 0 for cost in costs_ms.values()):
        raise ValueError("no trial")
    ordered = dict(sorted(costs_ms.items(), key=lambda item: item[1]))
    return Remembered(date.fromisoformat(trial["tried_on"]), ordered)


@cache
def _processor() -> list[str]:
    """Its name and what it can do; a virtual machine may hide either."""
    facts = processor_facts()
    return [processor_name(), facts.get("flags", facts.get("Features", ""))]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
