"""Batches of one size of picture: which is filling, which wait to be run, which are idle.

Nothing here waits or locks; whoever calls holds the lock of the engine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from streamer.clock import Clock
from streamer.infer.batching_window import BatchCosts, Joining, Request, closes_ns, joining
from streamer.infer.engine import Tensors
from streamer.infer.sizes import Sizes

BATCHES = (1, 2, 4, 8)
"""Sizes that are run; what lies in between is run as the next larger one, its last places idle."""

KEPT_SIZES = 8 * len(BATCHES)
"""What engines keep open at once, each with device memory: eight sizes of picture in each batch size.
Four cameras of their own sizes need up to half of that all the time, and the other half goes to what
they change to and come back from: opening one again stops all of them."""


def batch_sizes(*, streams: int, most: int) -> tuple[int, ...]:
    """Those that are run for so many streams; ``most`` is the largest there may be, of ``BATCHES``."""
    wanted = min(streams, most)
    return tuple(
        size for size, below in zip(BATCHES, (0, *BATCHES), strict=False) if below < wanted
    )


@dataclass(slots=True, eq=False)
class Batch:
    """Storage for several pictures, and the requests that are in it, each at its place."""

    inputs: Tensors
    outputs: Tensors
    places: int
    members: list[Request] = field(default_factory=list)
    unfilled: int = 0
    """Members whose pictures are still being copied in."""
    unread: int = 0
    """Members who have not copied out what they came for."""
    done: Event = field(default_factory=Event)
    fault: str = ""
    """Why there is nothing to be read, once it is done."""
    pictures: dict[int, Any] = field(default_factory=dict)
    """By place: where members' pictures are that stay there until the batch is run."""

    def first(self, number: int) -> tuple[Tensors, Tensors]:
        """Storage of that many pictures."""
        inputs = {name: array[:number] for name, array in self.inputs.items()}
        outputs = {name: array[:number] for name, array in self.outputs.items()}
        return inputs, outputs


class Group:
    """All that is known of one size of picture."""

    def __init__(self, sizes: Sizes, clock: Clock, *, most: int = BATCHES[-1]) -> None:
        """``most`` is the largest batch size that there may be, one of ``BATCHES``."""
        self.sizes = sizes
        self.streams = 0
        """That give pictures of this size now."""
        self.places = 0
        """Of each batch: the largest batch size that was tried and found right; 0 before that."""
        self.fault = ""
        """Why not even one picture can be run."""
        self.costs = BatchCosts(BATCHES, clock)
        self._clock = clock
        self._most = most
        self._is_refused = False
        self._idle: list[Batch] = []
        self._filling: Batch | None = None
        self._closed: deque[Batch] = deque()

    @property
    def wants(self) -> int:
        """The batch size to be tried next; 0 where a larger one is of no use or cannot be had."""
        if self.fault or self._is_refused:
            return 0
        wanted = batch_sizes(streams=self.streams, most=self._most)
        return next((size for size in wanted if size > self.places), 0)

    @property
    def waiting(self) -> tuple[Batch, ...]:
        """All that hold pictures and were not begun."""
        filling = () if self._filling is None else (self._filling,)
        return (*self._closed, *filling)

    @property
    def has_closed(self) -> bool:
        """Whether there are batches that nobody joins any more."""
        return bool(self._closed)

    @property
    def closed_ns(self) -> int:
        """What running those costs that nobody joins any more."""
        return sum(self.costs.foreseen_ns(len(batch.members)) for batch in self._closed)

    def take(self, batches: Sequence[Batch], size: int, costs_ns: Sequence[int]) -> None:
        """Storage for batches of a larger size, which was tried and took so long."""
        for cost_ns in costs_ns:
            self.costs.spent(size, cost_ns)
        self.places = size
        # Smaller ones that still hold pictures are run as they are, and forgotten once they are read.
        self._idle = list(batches)

    def refuse(self, why: str) -> None:
        """The size that was wanted cannot be had."""
        if self.places:
            self._is_refused = True
        else:
            self.fault = why

    def join(self, request: Request, *, begins_ns: int) -> Batch | None:
        """The batch that the request is now the last member of; ``None`` while there is no place.

        ``begins_ns`` is when the engine could begin with the batch that is filling.
        """
        filling = self._filling
        members = [] if filling is None else filling.members
        verdict = joining(members, request, costs=self.costs, begins_ns=begins_ns)
        if verdict is Joining.FOLLOWS:
            self._close()
        if verdict is Joining.GOES_ALONE or self._filling is None:
            if not self._idle:
                return None
            batch = self._idle.pop()
        else:
            batch = self._filling
        batch.members.append(request)
        batch.unfilled += 1
        batch.unread += 1
        if verdict is Joining.GOES_ALONE:
            self._closed.appendleft(batch)
            return batch
        self._filling = batch
        if len(batch.members) == batch.places:
            self._close()
        return batch

    def due_ns(self, window_ns: int) -> int | None:
        """When the batch that is filling has to be run; ``None`` where none is."""
        if self._filling is None:
            return None
        members = self._filling.members
        others = self.streams - len(members)
        return closes_ns(members, costs=self.costs, window_ns=window_ns, others=others)

    def ready(self, window_ns: int) -> Batch | None:
        """The next batch to be run, if its time has come and all of its pictures are in it."""
        due_ns = self.due_ns(window_ns)
        if due_ns is not None and due_ns <= self._clock.now_ns():
            self._close()
        return self._closed[0] if self._closed and not self._closed[0].unfilled else None

    def begin(self, batch: Batch) -> None:
        """It is being run."""
        self._closed.remove(batch)

    def give_back(self, batch: Batch) -> bool:
        """Whether the storage of a batch is free for others now: it is done and everyone has read it."""
        is_free = batch.done.is_set() and not batch.unread and batch.places == self.places
        if is_free:
            self._idle.append(Batch(batch.inputs, batch.outputs, batch.places))
        return is_free

    def is_filling(self, batch: Batch) -> bool:
        """Whether others may still join it."""
        return batch is self._filling

    def _close(self) -> None:
        """Nobody joins what was filling any more."""
        if self._filling is not None:
            self._closed.append(self._filling)
            self._filling = None
