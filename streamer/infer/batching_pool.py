"""Engines that several streams share: opened for the first of them, closed with the last."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Generic, TypeVar

from streamer.infer.batching import BatchingEngine, Lease
from streamer.infer.batching_core import Batching
from streamer.infer.engine import Deadline

Shared = TypeVar("Shared", bound=Batching[Any])


@dataclass(slots=True, eq=False)
class _Entry:
    """One engine, and for how many."""

    shares: int = 0
    opening: Lock = field(default_factory=Lock)
    engine: Any = None


@dataclass(frozen=True, slots=True)
class Share(Generic[Shared]):
    """An engine that others may hold too, and what ends this one's part in it, once."""

    engine: Shared
    release: Callable[[], None]


class Pool:
    """Shared engines by what tells one from another; used from any thread."""

    def __init__(self) -> None:
        self._entries: dict[Hashable, _Entry] = {}
        self._lock = Lock()

    def share(self, key: Hashable, open_one: Callable[[], Shared]) -> Share[Shared]:
        """The engine of that key, which is opened where nobody holds one; a key always goes with
        engines of one kind.

        Who asks for the same key meanwhile waits, others do not. Raises what ``open_one`` does.
        """
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            entry.shares += 1
        try:
            with entry.opening:
                if entry.engine is None:
                    entry.engine = open_one()
                return Share(entry.engine, lambda: self._release(key, entry))
        except BaseException:
            self._release(key, entry)
            raise

    def lease(
        self, key: Hashable, open_one: Callable[[], BatchingEngine], deadline: Deadline
    ) -> Lease:
        """As ``share``, for pictures on the host."""
        share = self.share(key, open_one)
        return share.engine.lease(deadline, closed=share.release)

    def __len__(self) -> int:
        """Engines that are held."""
        with self._lock:
            return len(self._entries)

    def _release(self, key: Hashable, entry: _Entry) -> None:
        with self._lock:
            entry.shares -= 1
            if entry.shares:
                return
            del self._entries[key]
        if entry.engine is not None:
            entry.engine.close()


ENGINES = Pool()
"""Of this process."""
