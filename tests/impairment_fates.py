"""What a bad network does to each packet, decided by a seed and the packet's number."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

Direction = Literal["to_target", "to_client"]
Address = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """Gilbert-Elliott: a good state that loses nothing, and a bad one that loses ``loss``."""

    enter: float
    """Chance per packet to go from good to bad; the mean distance of bursts is 1 / enter."""
    leave: float
    """Chance per packet to go back; the mean length of a burst is 1 / leave packets."""
    loss: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Impairment:
    """What is done to each packet of one direction; the default does nothing."""

    loss: float = 0.0
    burst: Burst | None = None
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    """Up to this much more delay, evenly spread. Order is kept: ``reorder`` changes it."""
    reorder: float = 0.0
    """Chance that a packet comes after the ``reorder_by`` packets that were sent after it."""
    reorder_by: int = 1
    duplicate: float = 0.0
    bandwidth_kbps: float = 0.0
    """0 for no limit. A UDP packet that would wait longer than ``queue_ms`` for it is lost."""
    queue_ms: float = 200.0


CLEAR = Impairment()


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one packet."""

    is_lost: bool
    is_twice: bool
    held_for: int
    """Packets that overtake it."""
    delay_ms: float


class Fates:
    """The fates of one direction, in order; the same seed gives the same ones."""

    def __init__(self, seed: int, direction: str) -> None:
        self._random = random.Random(f"{seed} {direction}")
        self._is_bad = False

    def next(self, impairment: Impairment) -> Fate:
        """The next packet's. Draws as often whatever is set, so that settings do not shift it."""
        lost, burst, burst_loss, twice, late, jitter = (self._random.random() for _ in range(6))
        if impairment.burst is not None:
            chance = impairment.burst.leave if self._is_bad else impairment.burst.enter
            self._is_bad = self._is_bad != (burst < chance)
        else:
            self._is_bad = False
        in_burst = (
            self._is_bad and impairment.burst is not None and burst_loss < impairment.burst.loss
        )
        return Fate(
            is_lost=lost < impairment.loss or in_burst,
            is_twice=twice < impairment.duplicate,
            held_for=impairment.reorder_by if late < impairment.reorder else 0,
            delay_ms=impairment.delay_ms + jitter * impairment.jitter_ms,
        )


@dataclass(slots=True)
class Done:
    """What a proxy did so far, per direction."""

    counts: Counter[str] = field(default_factory=Counter)

    def of(self, direction: Direction, what: str) -> int:
        """``what``: received, sent, lost, duplicated, reordered, swallowed, overflowed, bytes."""
        return self.counts[f"{direction}.{what}"]

    def add(self, direction: Direction, what: str, amount: int = 1) -> None:
        self.counts[f"{direction}.{what}"] += amount


class Proxy(Protocol):
    """What ``in_thread`` runs."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...


ProxyT = TypeVar("ProxyT", bound=Proxy)


class Controlled:
    """Controls that work from the proxy's own loop at once and from any other thread."""

    _loop: asyncio.AbstractEventLoop

    def _now(self, change: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            running: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is not self._loop:
            asyncio.run_coroutine_threadsafe(change(), self._loop).result(timeout=60)
            return
        # None of the changes waits for anything, so that one step runs it to its end.
        with suppress(StopIteration):
            change().send(None)


@contextmanager
def in_thread(proxy: ProxyT) -> Iterator[ProxyT]:
    """``proxy``, started in a loop and thread of its own and closed at the end."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="impairment", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(proxy.start(), loop).result(timeout=60)
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(proxy.close(), loop).result(timeout=60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=60)
        loop.close()
