"""An engine that serves while a better one is built, and then gives way to it between two frames."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Event, Lock, Thread
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.errors import EngineError
from streamer.infer.copying import copy
from streamer.infer.engine import Engine, Tensors, code_values
from streamer.infer.self_test import (
    ROUNDING,
    TOLERANCES,
    check,
    drawn_inputs,
    root_mean_square,
    storage,
)
from streamer.infer.sizes import sizes_of
from streamer.model import RESIDUAL_ZERO, ModelManifest

_log = logging.getLogger(__name__)

KEPT = 4
"""Built engines, one for each size; a camera that changes its own goes back and forth between few."""

ABANDON_S = 5.0
"""How long ``close`` waits for a build to notice; builders ask after every step they make."""

Sizes = tuple[tuple[str, int], ...]

Build = Callable[[Mapping[str, int], Event], Engine]
"""An engine that is ready for these sizes of the free dimensions, or ``EngineError``. The event is
set when nobody waits for it any more."""


@dataclass(frozen=True, slots=True)
class _Trial:
    """A built engine, and what it gave for a drawn picture of the size it is for."""

    sizes: Sizes
    engine: Engine
    outputs: Tensors


class Swapping:
    """Runs ``serving`` until an engine for the size at hand is built, self-tested and agrees with it.

    The first run of a size starts the build, on a thread of its own, one at a time. What was built
    has to pass its self-test there, and then to give what ``serving`` gives for a drawn picture of
    this very size: kernels are chosen by size, and a wrong one may be among them. That comparison
    costs one frame a second run of ``serving``. Where none can be built, or one fails later on, that
    is logged once and the size stays with ``serving``.

    Belongs to one thread, as any engine; callers keep the storage they have, and may have made it
    for either engine: residuals are converted where types differ.
    """

    def __init__(self, serving: Engine, build: Build) -> None:
        """``build`` is called on another thread. Closes ``serving`` with itself."""
        self._serving = serving
        self._build = build
        self._engine = serving
        self._built: dict[Sizes, Engine] = {}
        self._refused: set[Sizes] = set()
        self._thread: Thread | None = None
        self._trial: _Trial | None = None
        self._handing_over = Lock()
        self._abandoned = Event()
        self._spare: dict[tuple[str, str, tuple[int, ...]], NDArray[Any]] = {}

    @property
    def manifest(self) -> ModelManifest:
        """Of the engine that ran last."""
        return self._engine.manifest

    @property
    def backend(self) -> str:
        """Of the engine that ran last."""
        return self._engine.backend

    def run(self, inputs: Tensors, outputs: Tensors) -> None:
        sizes = tuple(sorted(sizes_of(self._serving.manifest, inputs).items()))
        # Asked first: a build that ends after this is settled in the next run.
        is_idle = self._thread is None or not self._thread.is_alive()
        if self._trial is not None:
            self._settle(self._trial)
        if is_idle and sizes not in self._built and sizes not in self._refused:
            self._thread = Thread(target=self._make, args=(sizes,), name="engines", daemon=True)
            self._thread.start()
        if sizes in self._built and self._is_run(sizes, inputs, outputs):
            return
        self._engine = self._serving
        self._run(self._serving, inputs, outputs)

    def wait(self) -> None:
        """Until a build that was begun is over; what it made serves from the next run on."""
        if self._thread is not None:
            self._thread.join()

    def close(self) -> None:
        """Closes what runs; a build that does not notice in time closes what it makes by itself."""
        with self._handing_over:
            self._abandoned.set()
        if self._thread is not None:
            self._thread.join(ABANDON_S)
        waiting = [self._trial.engine] if self._trial is not None else []
        for engine in (self._serving, *self._built.values(), *waiting):
            engine.close()
        self._built.clear()
        self._trial = None

    def _make(self, sizes: Sizes) -> None:
        """On its own thread: builds, self-tests, and leaves the rest to the next run."""
        try:
            engine = self._build(dict(sizes), self._abandoned)
        except EngineError as error:
            self._refuse(sizes, error)
            return
        try:
            check(engine)
            manifest = engine.manifest
            outputs = storage(manifest, dict(sizes))
            engine.run(drawn_inputs(manifest, dict(sizes)), outputs)
        except EngineError as error:
            engine.close()
            self._refuse(sizes, error)
            return
        with self._handing_over:
            if not self._abandoned.is_set():
                self._trial = _Trial(sizes, engine, outputs)
                return
        engine.close()

    def _settle(self, trial: _Trial) -> None:
        """Between two frames: the built engine takes over for its size, or is refused."""
        self._trial = None
        manifest, sizes = self._serving.manifest, dict(trial.sizes)
        expected = storage(manifest, sizes)
        self._serving.run(drawn_inputs(manifest, sizes), expected)
        fault = disagreement(trial.engine.manifest, trial.outputs, manifest, expected)
        if fault:
            trial.engine.close()
            self._refuse(trial.sizes, EngineError(fault))
            return
        while len(self._built) >= KEPT:
            self._built.pop(next(iter(self._built))).close()
        self._built[trial.sizes] = trial.engine
        _log.info("%s now runs on %s", trial.engine.manifest.name, trial.engine.backend)

    def _refuse(self, sizes: Sizes, error: EngineError) -> None:
        self._refused.add(sizes)
        if self._abandoned.is_set():
            return
        _log.warning(
            "%s is left to %s: %s", self._serving.manifest.name, self._serving.backend, error
        )

    def _is_run(self, sizes: Sizes, inputs: Tensors, outputs: Tensors) -> bool:
        """Whether the built engine filled the outputs; one that fails is not asked again."""
        self._engine = self._built[sizes]
        try:
            self._run(self._engine, inputs, outputs)
        except EngineError as error:
            self._built.pop(sizes).close()
            self._refuse(sizes, error)
            return False
        return True

    def _run(self, engine: Engine, inputs: Tensors, outputs: Tensors) -> None:
        manifest = engine.manifest
        taken = {
            spec.name: self._like(inputs[spec.name], "input " + spec.name, spec.dtype)
            for spec in manifest.inputs
        }
        given = {
            spec.name: self._like(outputs[spec.name], "output " + spec.name, spec.dtype)
            for spec in manifest.outputs
        }
        for name, array in taken.items():
            if array is not inputs[name]:
                copy(inputs[name], array)
        engine.run(taken, given)
        for name, array in given.items():
            if array is not outputs[name]:
                convert(array, outputs[name])

    def _like(self, array: NDArray[Any], label: str, dtype: str) -> NDArray[Any]:
        """The array itself where its type is right, else storage of ours of the same shape."""
        if array.dtype == dtype:
            return array
        key = (label, dtype, array.shape)
        if key not in self._spare:
            if len(self._spare) >= 4 * KEPT:
                self._spare.clear()
            self._spare[key] = np.empty(array.shape, dtype)
        return self._spare[key]


def convert(residual: NDArray[Any], out: NDArray[Any]) -> None:
    """The same residual in ``out``'s type; uint8 is around ``RESIDUAL_ZERO`` on either side."""
    if np.uint8 not in (residual.dtype, out.dtype) or residual.dtype == out.dtype:
        copy(residual, out)
    elif out.dtype == np.uint8:
        rounded = np.rint(residual.astype(np.float32)) + RESIDUAL_ZERO
        np.copyto(out, np.clip(rounded, 0, 255), casting="unsafe")
    else:
        np.subtract(residual, np.float32(RESIDUAL_ZERO), out=out, casting="same_kind")


def disagreement(
    seen_by: ModelManifest, seen: Tensors, expected_by: ModelManifest, expected: Tensors
) -> str:
    """How outputs of two variants of a network differ beyond what their precisions explain; or ""."""
    allowed = max(TOLERANCES[seen_by.precision], TOLERANCES[expected_by.precision])
    for name, array in expected.items():
        values, others = code_values(array), code_values(seen[name])
        size, error = root_mean_square(values), root_mean_square(others - values)
        is_rounded = np.uint8 in (array.dtype, seen[name].dtype)
        # Written so that not a number is never within.
        if not error <= np.hypot(allowed * size, ROUNDING if is_rounded else 0.0):
            return (
                f"{name} of {seen_by.name} is off by {error / size if size else np.inf:.2g} of its "
                f"size at {'x'.join(map(str, array.shape))}, allowed are {allowed:g}; use another "
                "--backend, and please report it"
            )
    return ""
