"""Memory of a device and page-locked memory of the host: lent, and returned by itself.

Note [Memory of a device]
~~~~~~~~~~~~~~~~~~~~~~~~~
A lease is alive as long as somebody holds it, as in Note [Picture memory] of ``ops/memory.py``; when
the last holder is gone, its block goes back to the pool in whatever thread that happens. Work that
was queued may still read the block then. So every queued use is bracketed by ``reading`` or
``writing``, which leave an event behind on the stream that does it; whoever gets the block next waits
for all of them, a stream without stopping the host. Nothing is freed while a stream runs, and once
every size has come as many times as it is alive at once, nothing is allocated. A pool may be closed
while pictures are still on their way to the encoder: they are freed when the last holder is gone, and
the device is let go of after the last of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from kernels.driver import Device
from kernels.errors import KernelError
from kernels.stream import Event, Stream
from streamer.metrics import Metrics

ALIGNED = 512
"""Bytes; sizes are rounded up, so that those of one kind share their blocks."""

DEPTH = 3
"""Blocks of a size before a new one waits for an old one's readers: one that is filled, one that
is read, and one between them."""

KEPT_SIZES = 12
"""Sizes whose blocks are kept; a camera that changes its picture goes back and forth between few."""


class _Block:
    """Memory and the events of what was queued on it."""

    __slots__ = ("address", "ready", "used_by")

    def __init__(self, device: Device, address: int) -> None:
        self.address = address
        self.ready = Event(device)
        self.used_by: dict[int, Event] = {}
        """By stream: the event after its last reading."""

    @property
    def is_idle(self) -> bool:
        return self.ready.has_passed and all(event.has_passed for event in self.used_by.values())

    def waited_for_by(self, stream: Stream) -> None:
        for event in (self.ready, *self.used_by.values()):
            stream.wait_for(event)

    def wait(self) -> None:
        for event in (self.ready, *self.used_by.values()):
            event.wait()

    def close(self) -> None:
        for event in (self.ready, *self.used_by.values()):
            event.close()


class Lease:
    """A block, until nobody holds this object. See Note [Memory of a device]."""

    __slots__ = ("_block", "_pool", "_shelf", "size_bytes")

    def __init__(self, block: _Block, size_bytes: int, shelf: _Shelf, pool: Pool) -> None:
        self._block = block
        self._shelf = shelf
        self._pool = pool
        self.size_bytes = size_bytes

    @property
    def address(self) -> int:
        return self._block.address

    @property
    def ready(self) -> Event:
        """After the last writing."""
        return self._block.ready

    @contextmanager
    def writing(self, stream: Stream) -> Iterator[int]:
        """What is queued inside writes the block; gives its address."""
        with _recorded(self._block.ready, stream):
            yield self.address

    @contextmanager
    def reading(self, stream: Stream) -> Iterator[int]:
        """What is queued inside reads the block, after its last writing; gives its address."""
        used_by = self._block.used_by
        if stream.handle not in used_by:
            used_by[stream.handle] = Event(stream.device)
        stream.wait_for(self._block.ready)
        with _recorded(used_by[stream.handle], stream):
            yield self.address

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """Of page-locked memory, as bytes: NumPy's views keep the lease."""
        shape = (self.size_bytes,)
        return {"shape": shape, "typestr": "|u1", "data": (self.address, False), "version": 3}

    def __del__(self) -> None:
        self._shelf.free.append(self._block)
        self._pool.returned()


@contextmanager
def _recorded(event: Event, stream: Stream) -> Iterator[None]:
    """The event comes after all that is queued inside, also where that ends with an error in the
    middle: what was queued before it is done all the same."""
    try:
        yield
    except BaseException:
        # What went wrong first is what is told.
        with suppress(KernelError):
            stream.record(event)
        raise
    stream.record(event)


class _Shelf:
    """The blocks of one size."""

    def __init__(self) -> None:
        # A deque's append and popleft are atomic, so leases may come back from any thread.
        self.free: deque[_Block] = deque()
        self.blocks: set[_Block] = set()
        """All there are, lent or free."""


class Pool:
    """Lends blocks of one kind of memory; leases are asked for by one thread."""

    def __init__(
        self,
        name: str,
        device: Device,
        *,
        allocate: Callable[[int], int],
        free: Callable[[int], None],
        metrics: Metrics,
        on_empty: Callable[[], None],
    ) -> None:
        """``name`` is what the counts are called: ``gpu.<name>.bytes`` is what was ever held at
        once, for nothing is given back while a size is in use. ``on_empty`` is called, in any
        thread, when the pool is closed and the last block is freed; perhaps twice."""
        self.allocations = 0
        """Ever; it stays where it is while pictures of known sizes come."""
        self._name = name
        self._device = device
        self._allocate = allocate
        self._free = free
        self._metrics = metrics
        self._on_empty = on_empty
        self._shelves: dict[int, _Shelf] = {}
        self._is_closed = False

    @property
    def is_empty(self) -> bool:
        """Whether it is closed and holds nothing."""
        return self._is_closed and not self._shelves

    def lease(self, size_bytes: int, stream: Stream) -> Lease:
        """A block that ``stream`` may write from now on; its content is undefined."""
        block, shelf = self._taken(size_bytes)
        block.waited_for_by(stream)
        return Lease(block, size_bytes, shelf, self)

    def lease_for_host(self, size_bytes: int) -> Lease:
        """A block that the calling thread may write at once, for which it waits if it must."""
        block, shelf = self._taken(size_bytes)
        block.wait()
        return Lease(block, size_bytes, shelf, self)

    def reserve(self, size_bytes: int, count: int) -> None:
        """Has at least that many blocks of a size."""
        with ExitStack() as held:
            for _ in range(count):
                block, shelf = self._taken(size_bytes)
                # Also where there is no memory for the last ones: nobody else knows of the others.
                held.callback(shelf.free.append, block)

    def close(self) -> None:
        """Frees what is not lent, and the rest when it comes back."""
        self._is_closed = True
        self._sweep()

    def returned(self) -> None:
        """A lease has put its block back, in whatever thread that was."""
        if self._is_closed:
            # A device that was lost has freed all of it.
            with suppress(KernelError):
                self._device.enter()
                self._sweep()

    def _sweep(self) -> None:
        for size in tuple(self._shelves):
            self._clear(size)
        if not self._shelves:
            self._on_empty()

    def _taken(self, size_bytes: int) -> tuple[_Block, _Shelf]:
        size = -(-max(1, size_bytes) // ALIGNED) * ALIGNED
        shelf = self._shelves.pop(size, None) or _Shelf()
        # Put behind all others: the first one is the one that was not used for longest.
        self._shelves[size] = shelf
        for old in tuple(self._shelves)[:-KEPT_SIZES]:
            self._clear(old)
        try:
            block = shelf.free.popleft()
        except IndexError:
            return self._made(size, shelf), shelf
        if len(shelf.blocks) < DEPTH and not block.is_idle:
            shelf.free.appendleft(block)
            return self._made(size, shelf), shelf
        return block, shelf

    def _made(self, size: int, shelf: _Shelf) -> _Block:
        try:
            address = self._allocate(size)
        except KernelError:
            # Other sizes may hold what this one needs.
            for other in tuple(self._shelves):
                if other != size:
                    self._clear(other)
            address = self._allocate(size)
        try:
            block = _Block(self._device, address)
        except KernelError:
            # Its event takes memory as well, and nobody else knows the address.
            self._free(address)
            raise
        self.allocations += 1
        self._metrics.count(f"gpu.{self._name}.bytes", size)
        shelf.blocks.add(block)
        return block

    def _clear(self, size: int) -> None:
        """Frees the blocks of a size that nobody holds."""
        shelf = self._shelves.get(size)
        if shelf is None:
            # Another thread has, or the garbage collector in between.
            return
        while shelf.free:
            try:
                block = shelf.free.popleft()
            except IndexError:
                # Another thread frees as well.
                break
            block.wait()
            block.close()
            self._free(block.address)
            shelf.blocks.discard(block)
            self._metrics.count(f"gpu.{self._name}.bytes", -size)
        if not shelf.blocks:
            self._shelves.pop(size, None)
