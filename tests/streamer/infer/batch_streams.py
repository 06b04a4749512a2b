"""Streams that share an engine, each with a picture of its own and on a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from threading import Barrier, Thread, get_ident
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.clock import MonotonicClock
from streamer.errors import EngineError
from streamer.infer.batching import BatchingEngine
from streamer.infer.engine import Deadline, Engine, Tensors
from streamer.infer.ort import OrtCpuEngine
from streamer.model import ModelManifest

FOR_EVER_NS = 3_600_000_000_000
"""A window that no test lives to see the end of."""

LATE_NS = 0
"""A deadline that has passed: whoever has it goes at once."""

PATIENCE_S = 60


class Watched(OrtCpuEngine):
    """A real engine that notes its runs, and does before each what a test wants."""

    def __init__(self, manifest: ModelManifest) -> None:
        super().__init__(manifest, threads=1)
        self.batches: list[int] = []
        self.threads: set[int] = set()
        self.before: Callable[[int], None] = lambda number: None
        self.is_closed = False

    def run(self, inputs: Tensors, outputs: Tensors) -> None:
        number = len(inputs["packed"])
        self.batches.append(number)
        self.threads.add(get_ident())
        self.before(number)
        super().run(inputs, outputs)

    def close(self) -> None:
        self.is_closed = True
        super().close()


class Streams:
    """Several streams with a picture each, all of which have come once."""

    def __init__(
        self,
        manifest: ModelManifest,
        number: int,
        *,
        window_ns: int | None = FOR_EVER_NS,
        engine: type[Watched] = Watched,
    ) -> None:
        self.opened: list[Watched] = []

        def open_one(model: ModelManifest) -> Watched:
            self.opened.append(engine(model))
            return self.opened[-1]

        self.door = BatchingEngine(open_one, manifest, MonotonicClock(), window_ns=window_ns)
        self.engine = self.opened[0]
        self.deadlines = [Deadline(LATE_NS) for _ in range(number)]
        self.leases = [self.door.lease(deadline) for deadline in self.deadlines]
        self.pictures = [
            np.random.default_rng(seed).random((1, 6, 6, 8)).astype(np.float32)
            for seed in range(number)
        ]
        alone = OrtCpuEngine(manifest, threads=1)
        self.expected = [residual_of(alone, picture) for picture in self.pictures]
        for one in range(number):
            (error,) = at_once([partial(self.run, one)])
            if error is not None:
                raise error
        for deadline in self.deadlines:
            deadline.ns = None
        self.door.runs.update(dict.fromkeys(self.door.runs, 0))

    @property
    def runs(self) -> dict[int, int]:
        return {size: runs for size, runs in self.door.runs.items() if runs}

    def run(self, number: int) -> None:
        """One picture of one stream; it has to be the right one."""
        residual = residual_of(self.leases[number], self.pictures[number])
        np.testing.assert_allclose(residual, self.expected[number], atol=1e-4)


def residual_of(engine: Engine, picture: NDArray[Any]) -> NDArray[np.float32]:
    residual = np.full((1, 24, *picture.shape[2:]), np.nan, np.float32)
    engine.run({"packed": picture}, {"residual": residual})
    return residual


def at_once(calls: Sequence[Callable[[], object]]) -> list[Exception | None]:
    """Runs each on a thread of its own, together; what each raised."""
    together = Barrier(len(calls))
    raised: list[Exception | None] = [None] * len(calls)

    def run(number: int) -> None:
        together.wait(PATIENCE_S)
        try:
            calls[number]()
        except (EngineError, TypeError, AssertionError) as error:
            raised[number] = error

    threads = [Thread(target=run, args=(n,), daemon=True) for n in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "it waits for ever"
    return raised


def each(streams: Streams, *numbers: int) -> list[Callable[[], None]]:
    return [lambda number=number: streams.run(number) for number in numbers]  # type: ignore[misc]
