"""An engine on a device that serves while a better one is built, and gives way between two pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Event

from streamer.infer.building import GivingWay
from streamer.infer.device import ResidentEngine, ResidentRun
from streamer.infer.sizes import Sizes, in_order

Build = Callable[[Mapping[str, int], Event], ResidentEngine]
"""An engine that is ready for these sizes and was found right at them, or ``EngineError``. The event is
set when nobody waits for it any more."""


class ResidentSwapping(GivingWay[ResidentEngine, ResidentEngine]):
    """``serving`` until an engine for the size at hand is built; as ``Swapping``, which copies arrays.

    Belongs to one thread, which asks for ``resident`` before each picture: the pictures under way are
    done by whatever they were queued on, so nothing is waited for.
    """

    def __init__(self, serving: ResidentEngine, build: Build) -> None:
        """``build`` is called on another thread. Closes ``serving`` with itself."""
        super().__init__(serving, build, discard=lambda engine: engine.close())
        self._sizes: Sizes = ()
        """Of the picture at hand."""

    def resident(self, sizes: Mapping[str, int]) -> ResidentRun:
        """Of whichever engine is to do the next picture. Raises ``EngineError``."""
        self._sizes = in_order(sizes)
        ready = self._building.taken()
        if ready is not None:
            self._take(*ready)
        self._engine = self._built_for(self._sizes) or self._serving
        return self._engine.resident(sizes)

    def retreat(self, why: str) -> bool:
        """Whether the picture at hand can be done by ``serving`` instead: what was built for its size is
        given up for good."""
        if self._sizes not in self._built:
            return False
        self._give_up(self._sizes, why)
        return True
