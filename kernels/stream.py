"""Work that is queued on a device: streams, the events between them, and graphs of what repeats.

A stream does its work in order while the host goes on; what crosses to another stream does so with
an event. All of it raises ``KernelError``, of a device that was lost at the first call after that.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from kernels.driver import NOT_READY, Device
from kernels.errors import KernelError

_NON_BLOCKING = 1
"""CU_STREAM_NON_BLOCKING: does not wait for the null stream, which others in this process use."""

_DISABLE_TIMING = 2
"""CU_EVENT_DISABLE_TIMING: an event that only orders costs less."""

_BLOCKING_SYNC = 1
"""CU_EVENT_BLOCKING_SYNC: a thread that waits for the event sleeps. It would keep a core busy otherwise,
as it does when it waits for a stream, and the host has much else to do per frame."""

_THREAD_LOCAL = 1
"""CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what other threads allocate does not spoil the capture."""


class Event:
    """A place in a stream's work; recorded again, it stands for the new place."""

    def __init__(self, device: Device, *, has_timing: bool = False) -> None:
        """``has_timing`` lets it take part in ``elapsed_ms``; who waits for it keeps a core busy."""
        self._device = device
        self.handle = ctypes.c_void_p()
        flags = ctypes.c_uint(0 if has_timing else _DISABLE_TIMING | _BLOCKING_SYNC)
        device.call("cuEventCreate", ctypes.byref(self.handle), flags)

    @property
    def has_passed(self) -> bool:
        """Whether the work before it is done; so it is for one that was never recorded."""
        status = self._device.ask("cuEventQuery", self.handle)
        if status == NOT_READY:
            return False
        if status:
            # Asked again so that the driver's name for it is in the error.
            self._device.call("cuEventQuery", self.handle)
        return True

    def record(self) -> None:
        """Behind what is on the null stream, where libraries work that know of no other."""
        self._device.call("cuEventRecord", self.handle, ctypes.c_void_p(0))

    def wait(self) -> None:
        """The calling thread goes on once the work before it is done."""
        self._device.call("cuEventSynchronize", self.handle)

    def elapsed_ms(self, since: Event) -> float:
        """Between two events with timing that have both passed."""
        taken = ctypes.c_float()
        self._device.call("cuEventElapsedTime", ctypes.byref(taken), since.handle, self.handle)
        return taken.value

    def close(self) -> None:
        self._device.call("cuEventDestroy_v2", self.handle)


class Stream:
    """One queue of work of a device; belongs to one thread at a time."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._stream = ctypes.c_void_p()
        self._end = Event(device)
        """What ``wait`` waits for; there may be no memory left for one when somebody has to."""
        try:
            device.call("cuStreamCreate", ctypes.byref(self._stream), ctypes.c_uint(_NON_BLOCKING))
        except KernelError:
            self._end.close()
            raise

    @property
    def handle(self) -> int:
        """The ``CUstream``, which TensorRT, ONNX Runtime and kernels take."""
        return self._stream.value or 0

    def upload(self, address: int, host: int, size_bytes: int) -> None:
        """Queues a copy from page-locked memory to the device."""
        size = ctypes.c_size_t(size_bytes)
        where = ctypes.c_uint64(address), ctypes.c_void_p(host)
        self.device.call("cuMemcpyHtoDAsync_v2", *where, size, self._stream)

    def download(self, host: int, address: int, size_bytes: int) -> None:
        """Queues a copy from the device to page-locked memory."""
        size = ctypes.c_size_t(size_bytes)
        where = ctypes.c_void_p(host), ctypes.c_uint64(address)
        self.device.call("cuMemcpyDtoHAsync_v2", *where, size, self._stream)

    def copy(self, address: int, source: int, size_bytes: int) -> None:
        """Queues a copy within the device."""
        size = ctypes.c_size_t(size_bytes)
        where = ctypes.c_uint64(address), ctypes.c_uint64(source)
        self.device.call("cuMemcpyDtoDAsync_v2", *where, size, self._stream)

    def fill(self, address: int, value: int, size_bytes: int) -> None:
        """Queues the setting of bytes."""
        size = ctypes.c_size_t(size_bytes)
        what = ctypes.c_uint64(address), ctypes.c_ubyte(value)
        self.device.call("cuMemsetD8Async", *what, size, self._stream)

    def record(self, event: Event) -> None:
        """The event passes when all that was queued so far is done."""
        self.device.call("cuEventRecord", event.handle, self._stream)

    def wait_for(self, event: Event) -> None:
        """What is queued from now on is done after the event; the host does not wait."""
        self.device.call("cuStreamWaitEvent", self._stream, event.handle, ctypes.c_uint(0))

    def wait(self) -> None:
        """Until all that was queued is done; the thread sleeps meanwhile."""
        self.record(self._end)
        self._end.wait()

    def capture(self, queue: Callable[[], None]) -> int:
        """A graph of what ``queue`` puts on the stream, which is not done now."""
        captured, runnable = ctypes.c_void_p(), ctypes.c_void_p()
        mode = ctypes.c_int(_THREAD_LOCAL)
        self.device.call("cuStreamBeginCapture_v2", self._stream, mode)
        try:
            try:
                queue()
            finally:
                # What went wrong ends all the same, or the stream could not be used again.
                self.device.call("cuStreamEndCapture", self._stream, ctypes.byref(captured))
            made = ctypes.byref(runnable), captured, ctypes.c_ulonglong(0)
            self.device.call("cuGraphInstantiateWithFlags", *made)
        finally:
            if captured:
                self.device.call("cuGraphDestroy", captured)
        return runnable.value or 0

    def replay(self, graph: int) -> None:
        """Queues all that a graph holds."""
        self.device.call("cuGraphLaunch", ctypes.c_void_p(graph), self._stream)

    def drop(self, graph: int) -> None:
        self.device.call("cuGraphExecDestroy", ctypes.c_void_p(graph))

    def close(self) -> None:
        self._end.close()
        self.device.call("cuStreamDestroy_v2", self._stream)
