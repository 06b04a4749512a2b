"""What an engine needs of a CUDA device: memory on both sides, one stream, and its graphs."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kernels.driver import Device
from kernels.errors import KernelError
from streamer.errors import EngineError

_NON_BLOCKING = 1
"""CU_STREAM_NON_BLOCKING: does not wait for the null stream, which others in this process use."""

_THREAD_LOCAL = 1
"""CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what other threads allocate does not spoil the capture."""

_DRIVER_TEXT = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """What tells one device and its driver from another."""

    name: str
    capability: tuple[int, int]
    cuda: str
    """The highest version that the driver serves, such as ``13.0``."""
    driver: str
    """Of the kernel module; empty where the system does not say."""


class Stream(Protocol):
    """A CUDA stream and what is done on it; addresses and handles are integers.

    Work is queued in order and done later; ``wait`` waits for it. All of it raises ``EngineError``.
    """

    @property
    def handle(self) -> int:
        """The ``CUstream``, which TensorRT and kernels take."""

    @property
    def facts(self) -> DeviceFacts: ...

    def enter(self) -> None:
        """Makes the device current in the calling thread; before anything else there."""

    def allocate(self, size_bytes: int) -> int:
        """Device memory, zeroed; never per frame."""

    def free(self, address: int) -> None: ...

    def lock(self, size_bytes: int) -> NDArray[np.uint8]:
        """Page-locked host memory, which copies run from and to without a stop in between."""

    def unlock(self, host: NDArray[np.uint8]) -> None: ...

    def upload(self, address: int, host: NDArray[np.uint8]) -> None:
        """Queues a copy of page-locked memory to the device."""

    def download(self, host: NDArray[np.uint8], address: int) -> None:
        """Queues a copy from the device to page-locked memory."""

    def wait(self) -> None:
        """Until all that was queued is done."""

    def capture(self, queue: Callable[[], None]) -> int:
        """A graph of what ``queue`` puts on the stream, which is not done now."""

    def replay(self, graph: int) -> None:
        """Queues all that a graph holds."""

    def drop(self, graph: int) -> None: ...

    def close(self) -> None: ...


class DriverStream:
    """A stream of device 0, by the CUDA driver."""

    def __init__(self) -> None:
        try:
            self._device = Device()
        except KernelError as error:
            raise EngineError(str(error)) from error
        self._context = ctypes.c_void_p()
        self._stream = ctypes.c_void_p()
        # The primary context, which TensorRT and ONNX Runtime share.
        self._call("cuCtxGetCurrent", ctypes.byref(self._context))
        self._call("cuStreamCreate", ctypes.byref(self._stream), ctypes.c_uint(_NON_BLOCKING))

    @property
    def handle(self) -> int:
        return self._stream.value or 0

    @property
    def facts(self) -> DeviceFacts:
        name = ctypes.create_string_buffer(128)
        version = ctypes.c_int()
        self._call("cuDeviceGetName", name, ctypes.c_int(len(name)), ctypes.c_int(0))
        self._call("cuDriverGetVersion", ctypes.byref(version))
        return DeviceFacts(
            name=name.value.decode(errors="replace"),
            capability=self._device.capability,
            cuda=f"{version.value // 1000}.{version.value % 1000 // 10}",
            driver=_driver_version(),
        )

    def enter(self) -> None:
        self._call("cuCtxSetCurrent", self._context)

    def allocate(self, size_bytes: int) -> int:
        try:
            address = self._device.allocate(size_bytes)
        except KernelError as error:
            raise EngineError(str(error)) from error
        # It is zeroed on the null stream, for which this one does not wait.
        self._call("cuCtxSynchronize")
        return address

    def free(self, address: int) -> None:
        self._call("cuMemFree_v2", ctypes.c_uint64(address))

    def lock(self, size_bytes: int) -> NDArray[np.uint8]:
        found = ctypes.c_void_p()
        self._call("cuMemAllocHost_v2", ctypes.byref(found), ctypes.c_size_t(size_bytes))
        assert found.value is not None
        return np.ctypeslib.as_array((ctypes.c_ubyte * size_bytes).from_address(found.value))

    def unlock(self, host: NDArray[np.uint8]) -> None:
        self._call("cuMemFreeHost", ctypes.c_void_p(host.ctypes.data))

    def upload(self, address: int, host: NDArray[np.uint8]) -> None:
        where = ctypes.c_uint64(address), ctypes.c_void_p(host.ctypes.data)
        self._call("cuMemcpyHtoDAsync_v2", *where, ctypes.c_size_t(host.nbytes), self._stream)

    def download(self, host: NDArray[np.uint8], address: int) -> None:
        where = ctypes.c_void_p(host.ctypes.data), ctypes.c_uint64(address)
        self._call("cuMemcpyDtoHAsync_v2", *where, ctypes.c_size_t(host.nbytes), self._stream)

    def wait(self) -> None:
        self._call("cuStreamSynchronize", self._stream)

    def capture(self, queue: Callable[[], None]) -> int:
        captured, runnable = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuStreamBeginCapture_v2", self._stream, ctypes.c_int(_THREAD_LOCAL))
        try:
            try:
                queue()
            finally:
                # What went wrong ends all the same, or the stream could not be used again.
                self._call("cuStreamEndCapture", self._stream, ctypes.byref(captured))
            no_flags = ctypes.c_ulonglong(0)
            self._call("cuGraphInstantiateWithFlags", ctypes.byref(runnable), captured, no_flags)
        finally:
            if captured:
                self._call("cuGraphDestroy", captured)
        return runnable.value or 0

    def replay(self, graph: int) -> None:
        self._call("cuGraphLaunch", ctypes.c_void_p(graph), self._stream)

    def drop(self, graph: int) -> None:
        self._call("cuGraphExecDestroy", ctypes.c_void_p(graph))

    def close(self) -> None:
        self._call("cuStreamDestroy_v2", self._stream)
        self._device.close()

    def _call(self, function: str, *arguments: Any) -> None:
        try:
            self._device.call(function, *arguments)
        except KernelError as error:
            raise EngineError(str(error)) from error


@cache
def has_device() -> bool:
    """Whether a CUDA device can be used here; without a driver that is known in microseconds."""
    try:
        ctypes.CDLL("libcuda.so.1")
        with Device():
            return True
    except (OSError, KernelError):
        return False


def _driver_version() -> str:
    """``580.65.06`` out of "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  …"."""
    try:
        words = _DRIVER_TEXT.read_text(encoding="utf-8").split()
    except OSError:
        return ""
    return next((word for word in words if word[:1].isdigit() and "." in word), "")
