from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import pytest

from streamer.clock import MonotonicClock
from streamer.errors import EngineError
from streamer.infer.batching import BatchingEngine, Lease
from streamer.infer.batching_pool import Pool
from streamer.infer.engine import Deadline
from streamer.infer.ort import OrtCpuEngine
from streamer.model import ModelManifest
from tests.streamer.models import tiny

PATIENCE_S = 60


class Opened:
    """Opens real engines, and counts those that are open."""

    def __init__(self, folder: Path) -> None:
        self.manifest = tiny(folder)
        self.times = self.open = 0

    def __call__(self) -> BatchingEngine:
        return BatchingEngine(self._engine, self.manifest, MonotonicClock())

    def _engine(self, manifest: ModelManifest) -> OrtCpuEngine:
        counted = self
        self.times += 1
        self.open += 1

        class Counted(OrtCpuEngine):
            def close(self) -> None:
                counted.open -= 1
                super().close()

        return Counted(manifest, threads=1)


def test_an_engine_is_opened_for_the_first_and_closed_with_the_last(tmp_path: Path) -> None:
    pool, opened = Pool(), Opened(tmp_path)
    leases = [pool.lease("a", opened, Deadline()) for _ in range(3)]
    assert (len(pool), opened.times) == (1, 1)
    for lease in leases[:2]:
        lease.close()
        # Only once for each, however often it is closed.
        lease.close()
    assert opened.open == 1
    leases[2].close()
    assert (len(pool), opened.open) == (0, 0)
    pool.lease("a", opened, Deadline()).close()
    assert opened.times == 2


def test_another_key_is_another_engine(tmp_path: Path) -> None:
    pool, opened = Pool(), Opened(tmp_path)
    leases = [pool.lease(key, opened, Deadline()) for key in ("a", "b")]
    assert (len(pool), opened.open) == (2, 2)
    for lease in leases:
        lease.close()


def test_one_that_cannot_be_opened_is_tried_again_by_the_next(tmp_path: Path) -> None:
    pool, opened = Pool(), Opened(tmp_path)

    def fail() -> BatchingEngine:
        raise EngineError("no memory; free some")

    for _ in range(2):
        with pytest.raises(EngineError, match="no memory; free some"):
            pool.lease("a", fail, Deadline())
        assert len(pool) == 0
    pool.lease("a", opened, Deadline()).close()
    assert opened.times == 1


def test_who_wants_the_same_waits_for_its_opening_and_nobody_else_does(tmp_path: Path) -> None:
    pool, opened = Pool(), Opened(tmp_path)
    is_opening, may_open = Event(), Event()
    leases: list[Lease] = []

    def slowly() -> BatchingEngine:
        is_opening.set()
        assert may_open.wait(PATIENCE_S)
        return opened()

    def lease(open_one: Callable[[], BatchingEngine]) -> None:
        leases.append(pool.lease("a", open_one, Deadline()))

    threads = [Thread(target=lease, args=(slowly,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert is_opening.wait(PATIENCE_S)
    pool.lease("b", opened, Deadline()).close()
    assert (leases, opened.times) == ([], 1)
    may_open.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert (len(leases), opened.times) == (2, 2)
    for one in leases:
        one.close()
    assert opened.open == 0
