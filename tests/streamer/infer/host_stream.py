"""A device that is this computer: streams that do nothing before they are waited for."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from streamer.errors import EngineError
from streamer.infer.device import DeviceFacts

FACTS = DeviceFacts(name="This computer", capability=(9, 0), cuda="13.0", driver="580.65")

_numbers = count(1000)


class HostStream:
    """Work is a list of functions; a graph is such a list. Addresses are those of host memory."""

    by_handle: ClassVar[dict[int, HostStream]] = {}

    def __init__(self, *, facts: DeviceFacts = FACTS, captures: bool = True) -> None:
        self.facts = facts
        self.handle = next(_numbers)
        self.by_handle[self.handle] = self
        self.live: dict[int, NDArray[np.uint8]] = {}
        """Memory that was handed out and not taken back, of both sides."""
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.replays = 0
        self.is_closed = False
        self._captures = captures
        self._queue: list[Callable[[], None]] = []
        self._is_entered = False

    def enter(self) -> None:
        self._is_entered = True

    def allocate(self, size_bytes: int) -> int:
        return int(self.lock(size_bytes).ctypes.data)

    def free(self, address: int) -> None:
        assert not self._queue, "memory is freed while work is queued"
        del self.live[address]

    def lock(self, size_bytes: int) -> NDArray[np.uint8]:
        assert self._is_entered
        memory = np.zeros(size_bytes, np.uint8)
        self.live[int(memory.ctypes.data)] = memory
        return memory

    def unlock(self, host: NDArray[np.uint8]) -> None:
        self.free(int(host.ctypes.data))

    def upload(self, address: int, host: NDArray[np.uint8]) -> None:
        self.queue(lambda: np.copyto(self.live[address], self.live[host.ctypes.data]))

    def download(self, host: NDArray[np.uint8], address: int) -> None:
        self.queue(lambda: np.copyto(self.live[host.ctypes.data], self.live[address]))

    def memory(self, address: int, size_bytes: int) -> NDArray[np.uint8]:
        """What lies there, for whoever computes on the device."""
        assert len(self.live[address]) == size_bytes
        return self.live[address]

    def wait(self) -> None:
        while self._queue:
            self._queue.pop(0)()

    def capture(self, queue: Callable[[], None]) -> int:
        assert not self._queue
        queue()
        captured, self._queue = self._queue, []
        if not self._captures:
            raise EngineError("this cannot be captured")
        self.graphs[number := next(_numbers)] = captured
        return number

    def replay(self, graph: int) -> None:
        self.replays += 1
        self._queue += self.graphs[graph]

    def drop(self, graph: int) -> None:
        del self.graphs[graph]

    def close(self) -> None:
        assert not self.live
        assert not self.graphs
        self.is_closed = True

    def queue(self, work: Callable[[], Any]) -> None:
        assert self._is_entered
        self._queue.append(work)
