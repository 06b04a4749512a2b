"""An engine that serves while a better one is built, and then gives way to it between two frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.errors import EngineError
from streamer.infer.agreement import disagreement
from streamer.infer.building import GivingWay
from streamer.infer.copying import copy
from streamer.infer.engine import Engine, Tensors
from streamer.infer.self_test import check, drawn_inputs, storage
from streamer.infer.sizes import Sizes, in_order, sizes_of
from streamer.model import RESIDUAL_ZERO

SPARE = 16
"""Arrays of other types than the caller's that are kept, for all sizes together."""

Build = Callable[[Mapping[str, int], Event], Engine]
"""An engine that is ready for these sizes of the free dimensions, or ``EngineError``. The event is
set when nobody waits for it any more."""


@dataclass(frozen=True, slots=True)
class _Trial:
    """A built engine, and what it gave for a drawn picture of the size it is for."""

    engine: Engine
    outputs: Tensors


class Swapping(GivingWay[Engine, _Trial]):
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
        super().__init__(serving, self._tried, discard=lambda trial: trial.engine.close())
        self._build = build
        self._spare: dict[tuple[str, str, tuple[int, ...]], NDArray[Any]] = {}

    def run(self, inputs: Tensors, outputs: Tensors) -> None:
        """Fill ``outputs`` by whichever engine serves this size now. Raises ``EngineError``."""
        sizes = in_order(sizes_of(self._serving.manifest, inputs))
        trial = self._building.taken()
        if trial is not None:
            self._settle(*trial)
        built = self._built_for(sizes)
        if built is not None and self._is_run(built, sizes, inputs, outputs):
            return
        self._engine = self._serving
        self._run(self._serving, inputs, outputs)

    def _tried(self, sizes: Mapping[str, int], abandoned: Event) -> _Trial:
        """On another thread: builds, self-tests, and leaves the rest to the next run."""
        engine = self._build(sizes, abandoned)
        try:
            check(engine)
            outputs = storage(engine.manifest, sizes)
            engine.run(drawn_inputs(engine.manifest, sizes), outputs)
        except EngineError:
            engine.close()
            raise
        return _Trial(engine, outputs)

    def _settle(self, sizes: Sizes, trial: _Trial) -> None:
        """Between two frames: the built engine takes over for its size, or is refused."""
        manifest = self._serving.manifest
        expected = storage(manifest, dict(sizes))
        self._serving.run(drawn_inputs(manifest, dict(sizes)), expected)
        fault = disagreement(trial.engine.manifest, trial.outputs, manifest, expected)
        if fault:
            trial.engine.close()
            self._building.refuse(sizes, fault)
            return
        self._take(sizes, trial.engine)

    def _is_run(self, built: Engine, sizes: Sizes, inputs: Tensors, outputs: Tensors) -> bool:
        """Whether the built engine filled the outputs; one that fails is not asked again."""
        self._engine = built
        try:
            self._run(built, inputs, outputs)
        except EngineError as error:
            self._give_up(sizes, str(error))
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
            if len(self._spare) >= SPARE:
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
