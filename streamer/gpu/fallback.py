"""A stage on a device until that fails, and then one on the host: the stream goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from threading import Thread
from typing import Any, Protocol

import numpy as np

from streamer.errors import EngineError
from streamer.frame import Frame, Planes
from streamer.infer.reference import PLAIN
from streamer.metrics import Metrics

_log = logging.getLogger(__name__)


class Upscaler(Protocol):
    """What the chain asks of super-resolution, wherever it is done."""

    @property
    def scale(self) -> int: ...

    @property
    def notice(self) -> str:
        """What the user must see of where it is done; empty where that is as asked for."""

    @property
    def engines(self) -> Mapping[str, Any]:
        """By tier; each has a ``manifest`` and a ``backend``."""

    @property
    def tiers(self) -> tuple[str, ...]: ...

    def process(
        self, frame: Frame, *, tier: str, with_comparison: bool, deadline_ns: int | None = None
    ) -> Frame: ...

    def lend(self, *, with_comparison: bool) -> tuple[Planes, Planes | None]: ...

    def warm_up(self, width: int, height: int) -> None: ...

    def close(self) -> None: ...


class FallingBack:
    """Belongs to one thread, as any stage.

    When the device fails, the plain upscale takes over with the very frame at which it did, and
    the networks of the host as soon as they are open, which takes a second or two.
    """

    def __init__(
        self,
        device: Upscaler,
        *,
        plain: Callable[[], Upscaler],
        host: Callable[[], Upscaler],
        metrics: Metrics,
    ) -> None:
        """``plain`` opens the plain upscale at once; ``host`` is called on a thread of its own, and
        what it opens is closed with this."""
        self.notice = ""
        """What the user must see: why the device is not used any more; empty while it is."""
        self._stage = device
        self._tiers = device.tiers
        self._plain = plain
        self._host = host
        self._metrics = metrics
        self._size = (0, 0)
        self._first: Frame | None = None
        """A grey one of the size that decided on the output's."""
        self._opening: Thread | None = None
        self._opened: Upscaler | None = None

    @property
    def scale(self) -> int:
        return self._stage.scale

    @property
    def engines(self) -> Mapping[str, Any]:
        """Of whatever does it now."""
        return self._stage.engines

    @property
    def tiers(self) -> tuple[str, ...]:
        """Those of the device, for good: the ladder is built of them."""
        return self._tiers

    def process(
        self, frame: Frame, *, tier: str, with_comparison: bool, deadline_ns: int | None = None
    ) -> Frame:
        """Never raises for what a device does."""
        self._size = (frame.width, frame.height)
        if self._first is None:
            self._first = replace(frame, planes=_grey(frame.width, frame.height), comparison=None)
        self._take_over()
        if not self.notice:
            try:
                return self._stage.process(
                    frame, tier=tier, with_comparison=with_comparison, deadline_ns=deadline_ns
                )
            except EngineError as error:
                self._fall_back(error)
        tier = tier if tier in self._stage.tiers else PLAIN
        return self._stage.process(
            frame, tier=tier, with_comparison=with_comparison, deadline_ns=deadline_ns
        )

    def lend(self, *, with_comparison: bool) -> tuple[Planes, Planes | None]:
        if not self.notice:
            try:
                return self._stage.lend(with_comparison=with_comparison)
            except EngineError as error:
                self._fall_back(error)
        return self._stage.lend(with_comparison=with_comparison)

    def warm_up(self, width: int, height: int) -> None:
        """A device that fails here, as by lack of memory, is not used at all."""
        self._size = (width, height)
        try:
            self._stage.warm_up(width, height)
        except EngineError as error:
            self._fall_back(error)
            self.wait()
            self._take_over()

    def wait(self) -> None:
        """Until the host's networks are open, where that was begun; they serve from then on."""
        if self._opening is not None:
            self._opening.join()

    def close(self) -> None:
        self.wait()
        for stage in filter(None, (self._stage, self._opened)):
            stage.close()

    def _fall_back(self, error: EngineError) -> None:
        self.notice = f"the GPU is not used any more, the CPU goes on: {error}"
        _log.warning("%s", self.notice)
        self._metrics.count("gpu.fell_back")
        over, self._stage = self._stage, self._plain()
        self._begin(self._stage)
        self._opening = Thread(
            target=self._open, args=(self._size, over), name="engines", daemon=True
        )
        self._opening.start()

    def _open(self, size: tuple[int, int], over: Upscaler) -> None:
        """On its own thread."""
        # Here, as an engine that is being built for the device may be slow to notice.
        with suppress(EngineError):
            over.close()
        try:
            stage = self._host()
            stage.warm_up(*size)
        except EngineError as error:
            _log.warning("pictures are upscaled without a network from here on: %s", error)
            return
        self._opened = stage

    def _take_over(self) -> None:
        """The host's networks, once they are open."""
        if self._opened is not None:
            self._stage.close()
            self._stage, self._opened = self._opened, None
            self._begin(self._stage)

    def _begin(self, stage: Upscaler) -> None:
        """The first picture of a stage decides on the output's size, which stays what it was."""
        if self._first is not None:
            stage.process(self._first, tier=PLAIN, with_comparison=False)


def _grey(width: int, height: int) -> Planes:
    half = (height // 2, width // 2)
    shapes = ((height, width), half, half)
    y, u, v = (np.full(shape, 128, np.uint8) for shape in shapes)
    return y, u, v
