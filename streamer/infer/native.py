"""Our own convolutions, compiled for this machine's processor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from kernels.errors import KernelError
from kernels.native import native
from kernels.native_conv import SIDE, ConvPart, ConvStack, aligned
from streamer.cores import usable_cores
from streamer.errors import EngineError
from streamer.infer.conv_model import read_conv_model
from streamer.infer.engine import Tensors, ended
from streamer.model import FOLLOWING, ModelManifest

TASKS = ("super_resolution", *FOLLOWING)
"""Whose networks are such stacks."""


class NativeEngine:
    """A quantised network that enlarges, denoises or steadies; takes any size.

    In whole numbers throughout: every processor gives the same picture, with any number of threads.
    """

    backend = "native"

    def __init__(self, manifest: ModelManifest, *, threads: int | None = None) -> None:
        """Load and verify the model; ``threads`` defaults to the cores this process may use.

        Raises ``EngineError`` where nothing is compiled here, and for networks of other kinds.
        """
        self.manifest = manifest
        compiled = native()
        if compiled is None:
            raise EngineError(
                "the backend native needs what is compiled at install, which is not there; install "
                "g++ and then streamer again, or use another --backend"
            )
        if manifest.task not in TASKS or manifest.precision != "int8":
            raise EngineError(
                f"native runs {', '.join(TASKS)} in int8, {manifest.name} is for {manifest.task} in "
                f"{manifest.precision}; use another --backend"
            )
        try:
            self._stack = ConvStack(compiled, read_conv_model(manifest))
        except KernelError as error:
            raise EngineError(f"native cannot run {manifest.file}: {error}") from error
        # What could be read has one of each.
        self._taken, self._given = manifest.inputs[0].name, manifest.outputs[0].name
        self._threads = threads or usable_cores()
        self._helpers = ThreadPoolExecutor(max(1, self._threads - 1), thread_name_prefix="native")
        self._scratch: list[NDArray[np.uint8]] = []
        self._is_closed = False

    def run(self, inputs: Tensors, outputs: Tensors) -> None:
        """Run once; both sides stay where they are.

        Raises ``EngineError`` where they are not what the network takes and gives, or it is closed.
        """
        if self._is_closed:
            raise EngineError(ended(self.manifest))
        packed, residual = inputs[self._taken], outputs[self._given]
        if packed.ndim != 4 or residual.ndim != 4 or packed.shape[0] != 1 or residual.shape[0] != 1:
            raise EngineError(
                f"native is given {packed.shape} to fill {residual.shape}; allowed is one picture at a "
                "time, (1, planes, rows, columns)"
            )
        rows, columns = packed.shape[-2:]
        try:
            self._make_room(columns)
            parts = [
                ConvPart(self._stack, packed[0], residual[0], part)
                for part in _parts(rows, -(-self._threads // 2))
            ]
            ways = [(part, upwards) for upwards in (False, True) for part in parts]
            _together(
                self._helpers,
                [
                    partial(part.make, scratch, upwards=upwards)
                    for (part, upwards), scratch in zip(ways, self._scratch, strict=False)
                ],
            )
        except KernelError as error:
            raise EngineError(f"native cannot run {self.manifest.file}: {error}") from error

    def close(self) -> None:
        """Nothing runs after this; its threads end by themselves."""
        self._is_closed = True
        # Whoever closes it may be the event loop, which waits for no thread.
        self._helpers.shutdown(wait=False)

    def _make_room(self, columns: int) -> None:
        """Scratch for each thread."""
        needed = self._stack.scratch_bytes(columns)
        if not self._scratch or self._scratch[0].nbytes < needed:
            self._scratch = [aligned(needed) for _ in range(self._threads)]


def is_installed() -> bool:
    """Whether it was compiled here."""
    return native() is not None


def _parts(rows: int, count: int) -> list[range]:
    """The rows of a picture in so many parts, or fewer where it is small; two threads are at each."""
    steps = -(-rows // SIDE)
    count = max(1, min(count, steps))
    cuts = [steps * n // count * SIDE for n in range(count)]
    return [range(begin, end) for begin, end in zip(cuts, [*cuts[1:], rows], strict=True)]


def _together(helpers: ThreadPoolExecutor, jobs: Sequence[Callable[[], None]]) -> None:
    """Does all of them, the first one here. One that no helper has begun once that is done, the other
    of its part has done as well; but the first of a part must be done by somebody."""
    begun = [_begun(helpers, job) for job in jobs[1:]]
    try:
        jobs[0]()
    finally:
        pairs = list(zip(jobs[1:], begun, strict=True))
        late = [job for job, part in pairs if part is None or part.cancel()]
        # Whoever goes on must not meet a part still at work.
        taken = [part for part in begun if part is not None and not part.cancelled()]
        failures = [part.exception() for part in taken]
    for failure in failures:
        if failure is not None:
            raise failure
    for job in late:
        job()


def _begun(helpers: ThreadPoolExecutor, job: Callable[[], None]) -> Future[None] | None:
    """``None`` where the helpers were sent away: the engine was closed while a picture is made."""
    try:
        return helpers.submit(job)
    except RuntimeError:
        return None
