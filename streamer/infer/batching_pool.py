"""Engines that several streams share: opened for the first of them, closed with the last."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from threading import Lock

from streamer.infer.batching import BatchingEngine, Lease
from streamer.infer.engine import Deadline


@dataclass(slots=True, eq=False)
class _Shared:
    """One engine, and for how many."""

    leases: int = 0
    opening: Lock = field(default_factory=Lock)
    engine: BatchingEngine | None = None


class Pool:
    """Shared engines by what tells one from another; used from any thread."""

    def __init__(self) -> None:
        self._shared: dict[Hashable, _Shared] = {}
        self._lock = Lock()

    def lease(
        self, key: Hashable, open_one: Callable[[], BatchingEngine], deadline: Deadline
    ) -> Lease:
        """A lease on the engine of that key, which is opened where nobody holds one.

        Who asks for the same key meanwhile waits, others do not. Raises what ``open_one`` does.
        """
        with self._lock:
            shared = self._shared.setdefault(key, _Shared())
            shared.leases += 1
        try:
            with shared.opening:
                if shared.engine is None:
                    shared.engine = open_one()
                return shared.engine.lease(deadline, closed=lambda: self._release(key, shared))
        except BaseException:
            self._release(key, shared)
            raise

    def __len__(self) -> int:
        """Engines that are held."""
        with self._lock:
            return len(self._shared)

    def _release(self, key: Hashable, shared: _Shared) -> None:
        with self._lock:
            shared.leases -= 1
            if shared.leases:
                return
            del self._shared[key]
        if shared.engine is not None:
            shared.engine.close()


ENGINES = Pool()
"""Of this process."""
