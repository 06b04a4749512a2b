"""What takes long to build, built for each size on a thread of its own while something else serves."""

from __future__ import annotations

import atexit
import logging
from collections.abc import Callable, Mapping
from threading import Event, Lock, Thread
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakSet

from streamer.errors import EngineError
from streamer.infer.batching_group import KEPT_SIZES
from streamer.infer.sizes import Sizes
from streamer.model import ModelManifest

_log = logging.getLogger(__name__)

ABANDON_S = 5.0
"""How long ``close`` waits for a build to notice; builders ask after every step they make."""

LEAVE_S = 30.0
"""How long the end of the program waits for that. A thread that comes back from C++ into a Python that is
gone aborts the program, whose output may be whole (PyTorch's issue 38228)."""

_all: WeakSet[Building[Any]] = WeakSet()
"""A build that goes on keeps its own."""


@atexit.register
def _leave_all() -> None:
    for building in tuple(_all):
        building.leave()


Made = TypeVar("Made")


class Building(Generic[Made]):
    """One build at a time; a size that cannot be had is logged once and never asked for again.

    All but the build itself is done by one thread, which asks for sizes and takes what was made.
    """

    def __init__(
        self,
        build: Callable[[Mapping[str, int], Event], Made],
        *,
        discard: Callable[[Made], None],
        left_to: str,
    ) -> None:
        """``build`` makes it for sizes, on another thread, or raises ``EngineError``; the event is set
        when nobody waits for this build any more, and not once it is over. What nobody takes is given
        to ``discard``. ``left_to`` is the log's word for who serves where there is none: a network and
        its backend."""
        self._build = build
        self._discard = discard
        self._left_to = left_to
        self._refused: set[Sizes] = set()
        self._thread: Thread | None = None
        self._abandoned: Event | None = None
        """Of the build that goes on."""
        self._made: tuple[Sizes, Made] | None = None
        self._handing_over = Lock()
        self._is_closed = False
        _all.add(self)

    def ask(self, sizes: Sizes) -> None:
        """Begins with it, unless a build goes on, waits to be taken, or was refused."""
        with self._handing_over:
            is_busy = self._abandoned is not None or self._made is not None
            if self._is_closed or is_busy or sizes in self._refused:
                return
            abandoned = self._abandoned = Event()
        self._thread = Thread(
            target=self._make, args=(sizes, abandoned), name="engines", daemon=True
        )
        self._thread.start()

    def taken(self) -> tuple[Sizes, Made] | None:
        """What was made, once; from here on it is the caller's."""
        with self._handing_over:
            made, self._made = self._made, None
        return made

    def refuse(self, sizes: Sizes, why: str) -> None:
        """Nothing is built for this size any more; from any thread."""
        self._refused.add(sizes)
        if not self._is_closed:
            _log.warning("%s: %s", self._left_to, why)

    def wait(self) -> None:
        """Until a build that was begun is over."""
        if self._thread is not None:
            self._thread.join()

    def close(self) -> None:
        """A build that does not notice in time discards what it makes by itself."""
        with self._handing_over:
            self._is_closed = True
            if self._abandoned is not None:
                self._abandoned.set()
        if self._thread is not None:
            self._thread.join(ABANDON_S)
        waiting = self.taken()
        if waiting is not None:
            self._discard(waiting[1])

    def leave(self) -> None:
        """At the end of the program: waits for a build to notice."""
        with self._handing_over:
            if self._abandoned is not None:
                self._abandoned.set()
        if self._thread is not None:
            self._thread.join(LEAVE_S)

    def _make(self, sizes: Sizes, abandoned: Event) -> None:
        """On its own thread."""
        made: Made | None = None
        try:
            made = self._build(dict(sizes), abandoned)
        except EngineError as error:
            self.refuse(sizes, str(error))
        finally:
            # Also of a build that broke otherwise: the next size has its turn all the same.
            self._hand_over(sizes, made)

    def _hand_over(self, sizes: Sizes, made: Made | None) -> None:
        with self._handing_over:
            self._abandoned = None
            if made is None:
                self._refused.add(sizes)
            elif not self._is_closed:
                self._made = (sizes, made)
                return
        if made is not None:
            self._discard(made)


class Served(Protocol):
    """What all engines have, on the host and on a device."""

    @property
    def manifest(self) -> ModelManifest: ...

    @property
    def backend(self) -> str: ...

    def close(self) -> None: ...


One = TypeVar("One", bound=Served)


class GivingWay(Generic[One, Made]):
    """An engine that serves, and those that were built to take its place, one for each size.

    Belongs to one thread. Where none can be built, that is logged once and the size stays with the
    one that serves.
    """

    def __init__(
        self,
        serving: One,
        build: Callable[[Mapping[str, int], Event], Made],
        *,
        discard: Callable[[Made], None],
    ) -> None:
        """See ``Building``. Closes ``serving`` with itself."""
        self._serving = self._engine = serving
        self._built: dict[Sizes, One] = {}
        self._building = Building(
            build,
            discard=discard,
            left_to=f"{serving.manifest.name} is left to {serving.backend}",
        )

    @property
    def manifest(self) -> ModelManifest:
        """Of the engine that was used last."""
        return self._engine.manifest

    @property
    def backend(self) -> str:
        """Of the engine that was used last."""
        return self._engine.backend

    def wait(self) -> None:
        """Until a build that was begun is over; what it made serves from the next picture on."""
        self._building.wait()

    def close(self) -> None:
        """Closes what runs; a build that does not notice in time closes what it makes by itself."""
        self._building.close()
        for engine in (self._serving, *self._built.values()):
            engine.close()
        self._built.clear()

    def _built_for(self, sizes: Sizes) -> One | None:
        """What was built for a size, which is asked for where nothing is."""
        engine = self._built.pop(sizes, None)
        if engine is None:
            self._building.ask(sizes)
        else:
            # Behind all others: the first one is the one that was not used for longest.
            self._built[sizes] = engine
        return engine

    def _take(self, sizes: Sizes, engine: One) -> None:
        while len(self._built) >= KEPT_SIZES:
            self._built.pop(next(iter(self._built))).close()
        self._built[sizes] = engine
        _log.info("%s now runs on %s", engine.manifest.name, engine.backend)

    def _give_up(self, sizes: Sizes, why: str) -> None:
        """What was built for a size is not asked again."""
        self._engine = self._serving
        self._built.pop(sizes).close()
        self._building.refuse(sizes, why)
