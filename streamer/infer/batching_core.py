"""Pictures of several streams as one run of one engine, wherever they lie.

Note [A batch]: a stream's thread puts its picture into the next place of a batch that is still
open, and waits. The engine's own thread runs the batch when it is full, when all streams are in it,
or when waiting longer would cost one of them its deadline (``batching_window``); then each stream
takes its result out by itself. So the costly copies are made by many threads, and while one batch
runs the next one fills. Nothing but the engine's thread ever calls the engine: contexts and captured
graphs of a device belong to one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from threading import Condition, Lock, Thread
from typing import Generic, Protocol, TypeVar, runtime_checkable

from streamer.clock import Clock
from streamer.errors import EngineError
from streamer.infer.batching_graph import BATCH
from streamer.infer.batching_group import BATCHES, Batch, Group
from streamer.infer.batching_window import Business, Request
from streamer.infer.engine import ended
from streamer.infer.sizes import Sizes
from streamer.model import ModelManifest

_log = logging.getLogger(__name__)

NEVER_NS = 1 << 63
"""Later than any instant."""

Picture = TypeVar("Picture")
"""What a stream brings for each run: where its picture is, and where its result has to go."""

Given_contra = TypeVar("Given_contra", contravariant=True)


class Way(Protocol[Given_contra]):
    """How pictures get into an engine's batches and out again. All of it raises ``EngineError``."""

    @property
    def manifest(self) -> ModelManifest:
        """As a stream with one picture sees it."""

    @property
    def backend(self) -> str: ...

    def most_places(self, sizes: Sizes) -> int:
        """The largest batch size that there may be for a size of picture."""

    def is_ready(self, sizes: Sizes, places: int) -> bool:
        """Whether trying so many at once needs no build first; see ``BuildsAhead``."""

    def tried(self, sizes: Sizes, places: int) -> tuple[Sequence[Batch], Sequence[int]]:
        """Storage for batches of so many, and what runs of them took in ns, once they were found to
        give what one by one gives. On the engine's thread, as ``begin`` and ``end``."""

    def put(self, picture: Given_contra, batch: Batch, place: int) -> None:
        """On the stream's thread, as ``take``."""

    def begin(self, batch: Batch, sizes: Sizes, places: int) -> None:
        """Runs a batch as one of so many places; afterwards what it gives can be taken."""

    def end(self) -> None:
        """Waits until what was begun is done, where ``begin`` did not."""

    def take(self, picture: Given_contra, batch: Batch, place: int) -> None: ...

    def close(self) -> None: ...


@runtime_checkable
class BuildsAhead(Protocol):
    """An engine that builds for each size, for so long that nobody may wait for it meanwhile."""

    def is_ready(self, sizes: Mapping[str, int]) -> bool:
        """Whether a size is built; where not, that goes on from here on another thread."""


def is_ready(engine: object, sizes: Sizes, places: int) -> bool:
    """Whether an engine can run a batch size without a long build; one is begun where it cannot."""
    return not isinstance(engine, BuildsAhead) or engine.is_ready({**dict(sizes), BATCH: places})


class Batching(Generic[Picture]):
    """Runs an engine for many streams. See Note [A batch].

    A size of picture, and each batch size, is prepared when enough streams have come for it: all
    wait meanwhile, on a GPU for up to a second. Where a larger batch size has to be built first, they
    go on with what there is until it is. A batch size that fails or gives other pictures than
    one by one is never used; that is logged once.
    """

    def __init__(self, way: Way[Picture], clock: Clock, *, window_ns: int | None = None) -> None:
        """Closes ``way`` with itself. ``window_ns`` is how long a picture waits for others at most;
        without it that is learnt."""
        self.runs: dict[int, int] = dict.fromkeys(BATCHES, 0)
        """Of streams' pictures so far, by batch size."""
        self._way = way
        self._clock = clock
        self._window_ns = window_ns
        self._business = Business(clock.now_ns())
        self._groups: dict[Sizes, Group] = {}
        self._lock = Lock()
        self._has_work = Condition(self._lock)
        """For the engine's thread."""
        self._has_place = Condition(self._lock)
        """For streams that wait to join a batch."""
        self._awake_ns = 0
        """When the engine's thread looks again by itself."""
        self._free_ns = 0
        """When the run that goes on will be over, as far as is known."""
        self._is_closing = False
        self._thread = Thread(target=self._serve, name="batches", daemon=True)
        self._thread.start()

    @property
    def manifest(self) -> ModelManifest:
        """As a stream with one picture sees it."""
        return self._way.manifest

    @property
    def backend(self) -> str:
        return self._way.backend

    def close(self) -> None:
        """Ends the thread, then the engine; whoever still waits gets an ``EngineError``."""
        with self._lock:
            self._is_closing = True
            self._has_work.notify()
        self._thread.join()
        self._way.close()

    def enter(self, sizes: Sizes) -> None:
        """One stream more gives pictures of these sizes."""
        with self._lock:
            if sizes not in self._groups:
                most = self._way.most_places(sizes)
                self._groups[sizes] = Group(sizes, self._clock, most=most)
            self._groups[sizes].streams += 1
            self._has_work.notify()

    def leave(self, sizes: Sizes) -> None:
        """One stream fewer does."""
        with self._lock:
            group = self._groups[sizes]
            group.streams -= 1
            if not group.streams:
                del self._groups[sizes]
            self._has_work.notify()

    def run(self, sizes: Sizes, picture: Picture, deadline_ns: int | None) -> None:
        """On a stream's thread: one picture, as part of a batch. Raises ``EngineError``."""
        with self._lock:
            group = self._groups[sizes]
            batch = self._joined(group, Request(self._clock.now_ns(), deadline_ns))
            place = len(batch.members) - 1
        try:
            try:
                self._way.put(picture, batch, place)
            finally:
                # Also where it failed: the others' pictures are not to wait for this one.
                with self._lock:
                    batch.unfilled -= 1
                    if self._is_news(group, batch):
                        self._has_work.notify()
            batch.done.wait()
            if batch.fault:
                raise EngineError(batch.fault)
            self._way.take(picture, batch, place)
        finally:
            with self._lock:
                batch.unread -= 1
                if group.give_back(batch):
                    self._has_place.notify_all()

    def _joined(self, group: Group, request: Request) -> Batch:
        """The batch that the request is the last member of; waits until there is a place for it."""
        while not (self._is_closing or group.fault):
            if group.places:
                ahead_ns = sum(other.closed_ns for other in self._groups.values())
                begins_ns = max(self._clock.now_ns(), self._free_ns) + ahead_ns
                batch = group.join(request, begins_ns=begins_ns)
                if batch is not None:
                    if group.has_closed:
                        # Also one that this request was not to join.
                        self._has_work.notify()
                    return batch
            self._has_place.wait()
        raise EngineError(group.fault or ended(self.manifest))

    def _is_news(self, group: Group, batch: Batch) -> bool:
        """Whether the engine's thread, which may be waiting, would run the batch earlier than it
        looks again by itself. Each needless waking costs all threads the interpreter's lock."""
        if batch.unfilled or not group.is_filling(batch):
            return not batch.unfilled
        due_ns = group.due_ns(self._wait_ns)
        return due_ns is not None and due_ns < self._awake_ns

    def _serve(self) -> None:
        """On the engine's own thread."""
        try:
            while (work := self._awaited()) is not None:
                group, what = work
                if isinstance(what, int):
                    self._prepare(group, what)
                else:
                    self._run(group, what)
        finally:
            # Nobody is to wait for a thread that is gone, whatever ended it.
            with self._lock:
                self._is_closing = True
                for batch in (one for group in self._groups.values() for one in group.waiting):
                    batch.fault = ended(self.manifest)
                    batch.done.set()
                self._has_place.notify_all()

    def _awaited(self) -> tuple[Group, Batch | int] | None:
        """What is to be done next, once there is something; ``None`` at the end."""
        with self._lock:
            while not self._is_closing:
                work = self._next()
                if work is not None:
                    return work
                dues = [group.due_ns(self._wait_ns) for group in self._groups.values()]
                self._awake_ns = min((due for due in dues if due is not None), default=NEVER_NS)
                pause_s = (self._awake_ns - self._clock.now_ns()) / 1e9
                self._has_work.wait(None if self._awake_ns == NEVER_NS else max(0.0, pause_s))
            return None

    def _next(self) -> tuple[Group, Batch | int] | None:
        """A batch size to prepare, or the batch that waits longest of those to be run now."""
        groups = self._groups.values()
        wanting = next((group for group in groups if self._may_prepare(group)), None)
        if wanting is not None:
            # Asked for here: streams may leave while it is prepared.
            return wanting, wanting.wants
        found = [(group, group.ready(self._wait_ns)) for group in groups]
        ready = [(group, batch) for group, batch in found if batch is not None]
        if not ready:
            return None
        group, batch = min(ready, key=lambda one: one[1].members[0].arrived_ns)
        group.begin(batch)
        self._free_ns = self._clock.now_ns() + group.costs.foreseen_ns(len(batch.members))
        return group, batch

    def _may_prepare(self, group: Group) -> bool:
        """Whether a batch size is wanted, and there is nothing yet or it can be had at once."""
        size = group.wants
        return size > 0 and (not group.places or self._way.is_ready(group.sizes, size))

    @property
    def _wait_ns(self) -> int:
        return self._business.window_ns if self._window_ns is None else self._window_ns

    def _run(self, group: Group, batch: Batch) -> None:
        size = group.costs.size_for(len(batch.members))
        began_ns = self._clock.now_ns()
        batch.fault = ended(self.manifest)
        try:
            self._way.begin(batch, group.sizes, size)
            batch.fault = ""
        except EngineError as error:
            batch.fault = str(error)
        finally:
            with self._lock:
                self.runs[size] += 1
                batch.done.set()
                # Where all pictures failed on their way in, nobody reads it.
                if group.give_back(batch):
                    self._has_place.notify_all()
        if not batch.fault:
            self._is_over(group, size, began_ns)

    def _is_over(self, group: Group, size: int, began_ns: int) -> None:
        """Once a batch is done: what it took. The streams went on when it had been begun."""
        try:
            self._way.end()
        except EngineError as error:
            # A device that was lost: its streams see that by themselves.
            _log.info("%s on %s: %s", self.manifest.name, self.backend, error)
            return
        ended_ns = self._clock.now_ns()
        with self._lock:
            self._business.ran(began_ns, ended_ns)
            group.costs.spent(size, ended_ns - began_ns)

    def _prepare(self, group: Group, size: int) -> None:
        """Tries a batch size of a group; storage for it then takes the place of the old."""
        try:
            batches, costs_ns = self._way.tried(group.sizes, size)
        except EngineError as error:
            with self._lock:
                group.refuse(str(error))
                self._has_place.notify_all()
            if group.places:
                _log.warning(
                    "%s on %s runs at most %d pictures at once: %s",
                    self.manifest.name,
                    self.backend,
                    group.places,
                    error,
                )
            return
        with self._lock:
            group.take(batches, size, costs_ns)
            self._has_place.notify_all()
