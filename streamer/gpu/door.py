"""The one door to a device for a stream: its context, three streams, memory, and kernels.

Opened in one thread, used in another, which enters first. What goes wrong is an ``EngineError``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from threading import Lock
from weakref import finalize

from kernels.compile import architecture_for, compile_unit, find_toolchain
from kernels.driver import Device, Module
from kernels.errors import KernelError
from kernels.launch import Call
from kernels.stream import Stream
from kernels.units import Unit
from streamer.gpu.memory import Pool
from streamer.infer.device import ours
from streamer.metrics import Metrics

Images = Callable[[Unit], bytes]
"""The machine code of a unit for the device at hand."""


class _Held:
    """Somebody has something to do later."""


def _called(held: _Held, call: Callable[[], None]) -> None:
    call()


class Gpu:
    """What one video stream has of a device.

    Copies run on streams of their own, so that they overlap with what is computed; whatever crosses
    between the three does so with the events of a lease.
    """

    def __init__(
        self, metrics: Metrics, *, device: Device | None = None, images: Images | None = None
    ) -> None:
        """Raises ``EngineError``. ``device`` stays its caller's to close, when nothing that was
        leased is held any more; ``images`` are compiled here where they are not given."""
        self.metrics = metrics
        self._held: set[int] = set()
        """What is to be done later, by identity."""
        self._is_closing = False
        self._once = Lock()
        """Taken by whoever closes."""
        self._modules: dict[str, Module] = {}
        with ours(), ExitStack() as opened:
            self.device = device or opened.enter_context(Device())
            self._images = images or compiled_for(self.device)
            self.memory = self._pool("device", self.device.allocate, self.device.free)
            self.pinned = self._pool("pinned", self.device.lock, self.device.unlock)
            with ExitStack() as begun:
                self.uploads, self.compute, self.downloads = (
                    begun.enter_context(closing(Stream(self.device))) for _ in range(3)
                )
                begun.pop_all()
            self._opened = opened.pop_all()
        self.copying = Lock()
        """Held while copies to the host are queued by whatever thread looks at a picture."""

    def another(self) -> Gpu:
        """A door to the same device for another thread, with streams and memory of its own; made in
        that thread. Raises ``EngineError``."""
        with ours(), ExitStack() as opened:
            device = opened.enter_context(self.device.again())
            made = Gpu(self.metrics, device=device, images=self._images)
            made._opened.push(opened.pop_all())
            return made

    def enter(self) -> None:
        """Makes the device current in the calling thread. Raises ``EngineError`` once it is lost."""
        with ours():
            self.device.enter()

    def launch(self, call: Call, stream: Stream | None = None) -> None:
        """Queues a kernel, on ``compute`` if not told otherwise; compiled and loaded at first use."""
        name = call.unit.name
        if name not in self._modules:
            self._modules[name] = Module(self.device, self._images(call.unit))
        self._modules[name].launch(call, stream=(stream or self.compute).handle)

    def later(self, call: Callable[[], None]) -> Callable[[], None]:
        """The same call, for which the door stays open until whoever holds it is gone."""
        held = _Held()
        self._held.add(id(held))
        finalize(held, self._let_go, id(held))
        return partial(_called, held, call)

    def close(self) -> None:
        """Waits for what is queued and gives back all that nobody holds; the rest follows by itself,
        and the streams when nobody has anything to do ``later``.

        A device that was lost has nothing to give back.
        """
        self._is_closing = True
        if not self._held and self._once.acquire(blocking=False):
            self._close()

    def _let_go(self, held: int) -> None:
        """In whatever thread that is."""
        self._held.discard(held)
        if self._is_closing:
            self.close()

    def _close(self) -> None:
        with suppress(KernelError):
            self.device.enter()
            for stream in (self.uploads, self.compute, self.downloads):
                stream.wait()
                stream.close()
            while self._modules:
                self._modules.popitem()[1].close()
            self.memory.close()
            self.pinned.close()

    def _pool(self, name: str, allocate: Callable[[int], int], free: Callable[[int], None]) -> Pool:
        return Pool(
            name,
            self.device,
            allocate=allocate,
            free=free,
            metrics=self.metrics,
            on_empty=self._emptied,
        )

    def _emptied(self) -> None:
        """Lets go of the device once neither kind of memory is left."""
        if self.memory.is_empty and self.pinned.is_empty:
            self._opened.close()


def compiled_for(device: Device, cache: Path | None = None) -> Images:
    """Units compiled for a device, from the cache of kernels or by the toolkit.

    Raises ``KernelError`` where there is no toolkit, or the device is older than the kernels.
    """
    toolchain = find_toolchain()
    architecture = architecture_for(*device.capability, toolchain.supported)
    return lambda unit: compile_unit(unit, architecture, toolchain=toolchain, cache=cache).image
